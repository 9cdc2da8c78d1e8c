"""Averages of weights: SWA over the last third of training, and a moving average over steps (EMA).

Both keep a copy of the network by `torch.optim.swa_utils`, outside the Lightning module, and their own state in its
checkpoints. Batch-norm statistics aren't averaged: `refresh_batch_norm` measures them anew at the end (published code
averages them, which isn't what the averaged weights produce).
"""

from collections.abc import Iterable
from typing import Any

import lightning as L
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

from trackertraincode.training.schedule import PERIODS, in_swa_phase, period_of


class WeightAverage(L.Callback):
    """An average of the weights of `module.network`. `name` is that of its checkpoint."""

    def __init__(self, name: str, network: nn.Module, decay: float | None = None) -> None:
        """decay: of a moving average; None is the plain mean."""
        self.name = name
        average = get_ema_multi_avg_fn(decay) if decay is not None else None
        self.average = AveragedModel(network, multi_avg_fn=average)

    @property
    def state_key(self) -> str:
        return f"average/{self.name}"

    @property
    def started(self) -> bool:
        """Whether any weights are in the average."""
        return int(self.average.n_averaged) > 0

    @property
    def network(self) -> nn.Module:
        """The averaged network."""
        return self.average.module

    def state_dict(self) -> dict[str, Any]:
        return self.average.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.average.load_state_dict(state_dict)

    def on_fit_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        self.average.to(trainer.strategy.root_device)

    def _add(self, pl_module: Any) -> None:
        network = pl_module.network
        assert isinstance(network, nn.Module)
        self.average.update_parameters(network)


class StochasticWeightAverage(WeightAverage):
    """Mean of the weights after each period of the schedule past 2/3 of training."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__("swa", network)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        done = trainer.global_step
        before, reached = (period_of(step, pl_module.steps) for step in (done - 1, done))
        if reached > before and in_swa_phase(reached - 1, PERIODS):
            self._add(pl_module)


class ExponentialMovingAverage(WeightAverage):
    """Moving average over all steps."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__("ema", network, decay)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self._add(pl_module)


def refresh_batch_norm(network: nn.Module, images: Iterable[Tensor]) -> None:
    """Set running means and variances to those of `images`, batches (B, C, S, S) as in training."""
    update_bn(images, network)
