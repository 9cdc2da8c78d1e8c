"""The loss of a batch: labels, their weights and ramp, teachers."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from trackertraincode.errors import ConfigError
from trackertraincode.losses.objective import LOSSES, ROTATION_LOSSES, Term, make_terms, total_loss
from trackertraincode.losses.shape_prior import ShapePrior, prior_path
from trackertraincode.models.pose_network import NetworkConfig
from trackertraincode.options import check, option, table
from trackertraincode.sample.sample import Batch, Prediction
from trackertraincode.training.teachers import Teachers


@dataclass(frozen=True, kw_only=True)
class LossOptions:
    """What is minimised. Raises ConfigError where a value can't be."""

    rampup_nll_losses: bool = option(False, "raise the weight of the likelihoods from a tenth of the run on")
    rotation_loss: str = option("auto", "auto: the usual one of the rotation's form", choices=tuple(ROTATION_LOSSES))
    roi_train: bool = option(True, "train the face box")
    consistency: float = option(
        0.0,
        "weight of a loss that makes the poses of two views of a face agree: its crop as it is, and a little moved, turned "
        "and scaled in other light with noise; both are trained, so a step takes about twice as long; 0: off",
        least=0.0,
    )
    teachers: str = option("", "ONNX models to learn from besides the labels, joined by +", metavar="FILE[+FILE...]")
    teacher_weight: float = option(0.5, "weight of the teachers' losses", least=0.0)
    loss_weights: dict[str, float] = table("loss_weights", dict.fromkeys(LOSSES, float))  # in place of the table's

    def __post_init__(self) -> None:
        check(self)
        for name, weight in self.loss_weights.items():
            if not (weight >= 0 and math.isfinite(weight)):
                raise ConfigError(f"[loss_weights] {name}={weight}: expected a number at least 0.")

    @property
    def teacher_files(self) -> tuple[Path, ...]:
        """Files in `teachers`."""
        return tuple(Path(name.strip()) for name in self.teachers.split("+") if name.strip())


class Objective(nn.Module):
    """Loss of a batch and its weighted parts, in float32 also inside of autocast."""

    def __init__(
        self, terms: Mapping[str, Term], *, prior: nn.Module | None = None, teachers: Teachers | None = None,
        teacher_weight: float = 0.0,
    ) -> None:  # fmt: skip
        """prior: a module that a term uses, to move it between devices."""
        super().__init__()
        self._terms, self.prior = terms, prior
        self._teachers, self._teacher_weight = teachers, teacher_weight

    @property
    def on_device(self) -> bool:
        """Whether all of it is computed where the batch is; teachers answer on the CPU."""
        return self._teachers is None

    def without_teachers(self) -> "Objective":
        """The same for labels alone; teachers answer these too, so no other parameter depends on them."""
        return Objective(self._terms, prior=self.prior)

    def forward(
        self, prediction: Prediction, batch: Batch, ramp: Tensor | float = 1.0
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """B rows -> the loss () and its weighted parts ()."""
        with torch.autocast(prediction.rotation.device.type, enabled=False):
            total, parts = total_loss(prediction, batch, self._terms, ramp)
            if self._teachers is not None:
                parts["teachers"] = self._teacher_weight * self._teachers.loss(prediction, batch)
                total = total + parts["teachers"]
        return total, parts


def make_objective(options: LossOptions, network: NetworkConfig) -> Objective:
    """Raises ModelFileError, ConfigError for teachers that don't fit the network."""
    path = prior_path(network.face_model) if network.landmarks else None
    prior = ShapePrior.load(path) if path is not None else None
    terms = make_terms(
        rotation=options.rotation_loss,
        likelihood=network.uncertainty,
        ramped=options.rampup_nll_losses,
        consistency=options.consistency,
        shape_prior=prior,
        weights=options.loss_weights,
    )
    terms = {name: term for name, term in terms.items() if options.roi_train or term.label != "face_box"}
    teachers = Teachers(options.teacher_files, network, terms) if options.teacher_files else None
    return Objective(
        terms,
        prior=prior,
        teachers=teachers,
        teacher_weight=options.teacher_weight,
    )
