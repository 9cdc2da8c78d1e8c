"""One training step, one validation step, the optimiser: what Lightning needs of a pose network.

Batch --augment (device part)--> Batch --network--> Prediction --objective--> loss and its parts
                                                        +--evaluation.metrics--> validation errors
"""

from collections.abc import Callable
from typing import Any

import lightning as L
import numpy as np
import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from trackertraincode.augmentation.loader import checked
from trackertraincode.errors import UserError
from trackertraincode.models.pose_network import PoseNetwork
from trackertraincode.sample.sample import Batch, Prediction
from trackertraincode.training.config import TrainConfig
from trackertraincode.training.distributed import BATCH_NORM
from trackertraincode.training.schedule import SCHEDULES
from trackertraincode.training.validation import ValidationErrors

Objective = Callable[[Prediction, Batch, int], tuple[Tensor, dict[str, Tensor]]]  # third: epoch; loss, weighted terms
Augment = Callable[[Batch, bool], Batch]  # pixels -> network input; second: whether to change intensities

UNCERTAINTY_LR, TRANSFORMER_LR = 0.1, 0.01  # factors of the learning rate (published recipe)


class PoseTraining(L.LightningModule):
    """Trains `network`. Learning rates, loss weights and random numbers depend on seed, epoch and step alone.

    Attributes for the callbacks: `record` (numbers of the last epoch), `validation` (those of its validation).
    """

    def __init__(
        self, network: PoseNetwork, forward: nn.Module, objective: Objective, config: TrainConfig, augment: Augment
    ) -> None:
        """forward: the network, or its compiled form."""
        super().__init__()
        self.network = network
        self._forward = [forward]  # in a list: its parameters are the network's and must not appear twice
        self.config = config
        self.record: dict[str, float] = {}
        self.validation: dict[str, float] = {}
        self._objective = objective
        self._augment = augment
        self._sums: dict[str, Tensor] = {}
        self._steps = 0
        self._errors = ValidationErrors()
        self._peak_lrs: list[float] = []
        self._frozen = [m for m in network.modules() if isinstance(m, BATCH_NORM)] if config.freeze_batchnorm else []
        for layer in self._frozen:
            layer.requires_grad_(False)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        groups = parameter_groups(self.network, self.config)
        self._peak_lrs = [group["lr"] for group in groups]
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[self.config.optimizer]
        # Lightning can't clip the gradients of a fused optimiser that unscales them itself.
        return kind(groups, fused=self.config.precision != "fp16")

    def on_train_epoch_start(self) -> None:
        epoch, epochs = self.current_epoch, self.config.epochs
        factor = SCHEDULES[self.config.schedule](epoch, epochs)
        for group, peak in zip(self.trainer.optimizers[0].param_groups, self._peak_lrs):
            group["lr"] = peak * factor
        torch.manual_seed(seed_of(self.config.seed, epoch, self.global_rank))  # dropout
        self._sums, self._steps = {}, 0
        for layer in self._frozen:
            layer.eval()

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor | dict[str, Tensor]]:
        batch = self._augment(batch, True)
        loss, parts = self._objective(self._predict(batch), batch, self.current_epoch)
        parts = {name: value.detach() for name, value in parts.items()}
        for name, value in {"loss": loss.detach(), **parts}.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._steps += 1
        return {"loss": loss, "parts": parts}

    def on_before_batch_transfer(self, batch: Batch | UserError, dataloader_idx: int) -> Batch:
        """Raises the UserError that a worker met."""
        return checked(batch)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        batch = self._augment(batch, False)
        prediction = self._predict(batch)
        loss, parts = self._objective(prediction, batch, self.current_epoch)
        self._errors.add(prediction, batch, {"loss": loss, **parts})

    def on_validation_epoch_start(self) -> None:
        self._errors = ValidationErrors()

    def on_validation_epoch_end(self) -> None:
        self.validation = self._errors.result(self)

    @torch.no_grad()
    def predict(self, batch: Batch) -> Prediction:
        """For pixels as they come from the loader, in evaluation mode."""
        self.network.eval()
        prediction = self._predict(self._augment(batch, False))
        self.network.train()
        return prediction

    def train_means(self) -> dict[str, float]:
        """Loss and its terms, mean over the steps of this epoch and over all processes."""
        names = list(self._sums)
        values = torch.stack([self._sums[name].float() for name in names]) / self._steps
        if self.trainer.world_size > 1:
            values = self.trainer.strategy.reduce(values, reduce_op="mean")  # type: ignore[assignment]
        return dict(zip(names, values.tolist()))

    def _predict(self, batch: Batch) -> Prediction:
        """Losses are computed in float32, whatever the network computes in."""
        image = batch.image
        if self.config.channels_last:
            image = image.contiguous(memory_format=torch.channels_last)
        prediction: Prediction = self._forward[0](image, dataset=batch.dataset)
        return prediction if self.config.precision == "32" else prediction._map(Tensor.float)


def seed_of(*numbers: int) -> int:
    """One seed from several numbers, well mixed, so that neighbours are unrelated."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


def parameter_groups(network: PoseNetwork, config: TrainConfig) -> list[dict[str, Any]]:
    """Learning rates: uncertainty × 0.1, transformer layers × 0.01 with weight decay, all others × 1."""
    uncertain = {id(p) for p in network.uncertainty_parameters()}
    transformer = {id(p) for m in network.modules() if isinstance(m, Block) for p in m.parameters()}
    chosen: dict[str, list[nn.Parameter]] = {"all": [], "uncertainty": [], "transformer": []}
    for parameter in (p for p in network.parameters() if p.requires_grad):
        kind = "transformer" if id(parameter) in transformer else "uncertainty" if id(parameter) in uncertain else "all"
        chosen[kind].append(parameter)
    decay = config.weight_decay if config.optimizer == "adamw" else 0.0
    lr = config.peak_lr
    groups: list[dict[str, Any]] = [
        {"params": chosen["all"], "lr": lr, "weight_decay": decay},
        {"params": chosen["uncertainty"], "lr": lr * UNCERTAINTY_LR, "weight_decay": 0.0},
        {"params": chosen["transformer"], "lr": lr * TRANSFORMER_LR, "weight_decay": config.weight_decay},
    ]
    return [group for group in groups if group["params"]]
