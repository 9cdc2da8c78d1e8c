"""One training step, one validation step, the optimiser: what Lightning needs of a pose network.

Batch --augment (device part)--> Batch --network--> Prediction --objective--> loss and its parts
                                                        +--ValidationErrors--> means of an epoch
"""

from dataclasses import replace

import lightning as L
import numpy as np
import torch
from torch import Tensor, nn

from trackertraincode.augmentation.loader import checked
from trackertraincode.errors import UserError
from trackertraincode.models.pose_network import PoseNetwork
from trackertraincode.sample.packed import PackedBatch
from trackertraincode.sample.sample import Batch, Prediction, blank_batch
from trackertraincode.training.callbacks.batch_norm import batch_norms
from trackertraincode.training.device_augmentation import DeviceAugmentation
from trackertraincode.training.distributed import freeze_unused
from trackertraincode.training.objective import Objective
from trackertraincode.training.optimisation import OptimisationOptions, make_optimizer
from trackertraincode.training.recorded import Losses, TrainingLosses, recorded
from trackertraincode.training.schedule import PERIODS, period_of, rampup
from trackertraincode.training.trainer import AUTOCAST, MachineOptions, wants_channels_last
from trackertraincode.training.validation import ValidationErrors


class PoseTraining(L.LightningModule):
    """Trains `network`. Learning rates, loss weights and random numbers depend on seed and step alone.

    Attributes for the callbacks: `record` (numbers of the last epoch), `validation` (those of its validation; empty
    where there was none).
    """

    def __init__(
        self, network: PoseNetwork, objective: Objective, augment: DeviceAugmentation, options: OptimisationOptions,
        machine: MachineOptions,
    ) -> None:  # fmt: skip
        super().__init__()
        self.network, self.objective, self.augment = network, objective, augment
        self.batchsize = options.batchsize
        self._ramp: Tensor
        self.record: dict[str, float] = {}
        self.validation: dict[str, float] = {}
        half = machine.arithmetic != "32"
        self._losses = losses = losses_of(network, objective, half=half)
        if machine.world_size > 1:
            freeze_unused(network, losses_of(network, objective.without_teachers(), half=half))
        self._train_losses: Losses = torch.compile(losses) if machine.compile else losses
        self._recorded: TrainingLosses | None = None
        self.register_buffer("_ramp", torch.ones(()), persistent=False)
        self._options, self._machine = options, machine
        self._channels_last = wants_channels_last(machine, network)
        self._sums: dict[str, Tensor] = {}
        self._steps = 0
        self._errors = ValidationErrors()
        self._peak_lrs: list[float] = []
        for layer in batch_norms(network) if options.freeze_batchnorm else []:
            layer.requires_grad_(False)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        fp16 = self._machine.arithmetic == "fp16"  # whose infinite gradients are left out, on MPS by others only
        optimizer = make_optimizer(self.network, self._options, fused=not (fp16 and self._machine.device_type == "mps"))
        self._peak_lrs = [group["lr"] for group in optimizer.param_groups]
        return optimizer

    def configure_gradient_clipping(
        self, optimizer: torch.optim.Optimizer, gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:  # fmt: skip
        """Lightning refuses to clip for fused optimisers, which would unscale the gradients of fp16 after that.

        Others make the host wait in fp16, to ask whether all gradients are finite.
        """
        if gradient_clip_val:
            scaler = getattr(self.trainer.precision_plugin, "scaler", None)
            if scaler is not None and optimizer.defaults["fused"]:
                scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(self.network.parameters(), gradient_clip_val)

    def on_train_start(self) -> None:
        """On a GPU that trains alone, record network and losses, before threads are busy with batches."""
        if not is_recorded(self._machine, self.device, self.objective):
            return
        self.network.train()
        self._freeze_statistics()
        config = self.network.config
        shape = (self.batchsize, config.channels, config.input_size, config.input_size)
        batch = self._formatted(self.augment(blank_batch(shape, self.device), True))
        half = AUTOCAST[self._machine.arithmetic]
        self._recorded = recorded(self._train_losses, self.network, batch, self._ramp, half)

    def on_train_epoch_start(self) -> None:
        torch.manual_seed(seed_of(self._machine.seed, self.current_epoch, self.global_rank))  # dropout
        self._sums, self._steps, self.validation = {}, 0, {}
        self._freeze_statistics()

    @property
    def steps(self) -> int:
        """Of the whole run."""
        return int(self.trainer.num_training_batches) * self._options.epochs

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        factor = self._options.lr_factor(period_of(self.global_step, self.steps))
        for group, peak in zip(self.trainer.optimizers[0].param_groups, self._peak_lrs):
            group["lr"] = peak * factor

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor | dict[str, Tensor]]:
        batch, ramp = self._formatted(self.augment(batch, True)), self._ramp_at(self.global_step)
        if self._recorded is not None:
            loss, parts = self._recorded(batch, ramp)
        else:
            _, loss, parts = self._train_losses(batch, ramp)
        parts = {name: value.detach() for name, value in parts.items()}
        for name, value in {"loss": loss.detach(), **parts}.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._steps += 1
        return {"loss": loss, "parts": parts}

    def on_before_batch_transfer(self, batch: PackedBatch | UserError, dataloader_idx: int) -> PackedBatch:
        """Raises the UserError that a worker met."""
        return checked(batch)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        batch = self._formatted(self.augment(batch, False))
        last = max(0, self.global_step - 1)  # the step whose weights are validated
        prediction, loss, parts = self._losses(batch, self._ramp_at(last))
        self._errors.add(prediction, batch, {"loss": loss, **parts})

    def on_validation_epoch_start(self) -> None:
        self._errors = ValidationErrors()

    def on_validation_epoch_end(self) -> None:
        self.validation = self._errors.result(self)

    @torch.no_grad()
    def predict(self, batch: Batch) -> Prediction:
        """For pixels as they come from the loader, in evaluation mode."""
        self.network.eval()
        batch = self.augment(batch, False)
        prediction: Prediction = self.network(batch.image, dataset=batch.dataset)
        self.network.train()
        return prediction

    def train_means(self) -> dict[str, float]:
        """Loss and its terms, mean over the steps of this epoch and over all processes."""
        names = list(self._sums)
        values = torch.stack([self._sums[name].float() for name in names]) / self._steps
        if self.trainer.world_size > 1:
            values = self.trainer.strategy.reduce(values, reduce_op="mean")  # type: ignore[assignment]
        return dict(zip(names, values.tolist()))

    def _formatted(self, batch: Batch) -> Batch:
        """With the image's numbers in the order that the network computes fastest with."""
        if not self._channels_last:
            return batch
        return replace(batch, image=batch.image.contiguous(memory_format=torch.channels_last))

    def _ramp_at(self, step: int) -> Tensor:
        """Factor () of ramped losses, set on the device: a number would be compiled anew at each change."""
        return self._ramp.fill_(rampup(period_of(step, self.steps), PERIODS))

    def _freeze_statistics(self) -> None:
        for layer in batch_norms(self.network) if self._options.freeze_batchnorm else []:
            layer.eval()


def is_recorded(machine: MachineOptions, device: torch.device, objective: Objective) -> bool:
    """Whether network and losses of a training are recorded."""
    return device.type == "cuda" and machine.cuda_graph and machine.world_size == 1 and objective.on_device


def losses_of(network: nn.Module, objective: Objective, *, half: bool) -> Losses:
    """Network and objective as one function, which compiles to one graph: batch, ramp () -> prediction, loss, its parts.

    half: whether the network computes in half precision; losses are computed in float32 all the same.
    """

    def losses(batch: Batch, ramp: Tensor) -> tuple[Prediction, Tensor, dict[str, Tensor]]:
        prediction: Prediction = network(batch.image, dataset=batch.dataset)
        if half:
            prediction = prediction._map(Tensor.float)
        return prediction, *objective(prediction, batch, ramp)

    return losses


def seed_of(*numbers: int) -> int:
    """One seed from several numbers, well mixed, so that neighbours are unrelated."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
