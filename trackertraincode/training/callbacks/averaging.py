"""Averages of weights: SWA over the last third of training, and a moving average over steps (EMA).

Both keep a copy of the network outside the Lightning module, and their own state in its checkpoints. Batch-norm statistics
aren't averaged: `refresh_batch_norm` measures them anew at the end (published code averages them, which isn't what the
averaged weights produce). torch's AveragedModel would make a GPU wait at each step, for its counter.
"""

from collections.abc import Iterable
from copy import deepcopy
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from trackertraincode.training.schedule import PERIODS, in_swa_phase, period_of


class WeightAverage(L.Callback):
    """An average of the weights of `module.network`. `name` is that of its checkpoint."""

    def __init__(self, name: str, network: nn.Module, decay: float | None = None) -> None:
        """decay: of a moving average; None is the plain mean."""
        self.name, self.network = name, deepcopy(network)
        self._decay, self._count = decay, 0

    @property
    def state_key(self) -> str:
        return f"average/{self.name}"

    @property
    def started(self) -> bool:
        """Whether any weights are in the average."""
        return self._count > 0

    def state_dict(self) -> dict[str, Any]:
        return {"network": self.network.state_dict(), "count": self._count}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.network.load_state_dict(state_dict["network"])
        self._count = state_dict["count"]

    def on_fit_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        self.network.to(trainer.strategy.root_device)

    @torch.no_grad()
    def add(self, network: nn.Module) -> None:
        """The first weights as they are; then mean += (weights - mean) * share. Other buffers are the latest."""
        share = 1.0 if not self.started else 1.0 / (self._count + 1) if self._decay is None else 1.0 - self._decay
        torch._foreach_lerp_(list(self.network.parameters()), list(network.parameters()), share)
        for own, latest in zip(self.network.buffers(), network.buffers()):
            own.copy_(latest)
        self._count += 1


class StochasticWeightAverage(WeightAverage):
    """Mean of the weights after each period of the schedule past 2/3 of training."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__("swa", network)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        done = trainer.global_step
        before, reached = (period_of(step, pl_module.steps) for step in (done - 1, done))
        if reached > before and in_swa_phase(reached - 1, PERIODS):
            self.add(pl_module.network)


class ExponentialMovingAverage(WeightAverage):
    """Moving average over all steps."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__("ema", network, decay)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.add(pl_module.network)


def refresh_batch_norm(network: nn.Module, images: Iterable[Tensor]) -> None:
    """Set running means and variances to those of `images`, batches (B, C, S, S) as in training."""
    update_bn(images, network)
