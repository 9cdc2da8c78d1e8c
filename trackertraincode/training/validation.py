"""Validation errors of one epoch, as sums, so that batches and processes simply add up."""

import math

import lightning as L
import torch
from torch import Tensor

from trackertraincode.evaluation.metrics import wrapped_difference
from trackertraincode.geometry.euler import matrix_to_aflw
from trackertraincode.geometry.rotation import quat_geodesic_angle, quat_to_matrix
from trackertraincode.sample.sample import Batch, Prediction

POSE_ERRORS = ("pitch", "yaw", "roll", "geodesic")  # degrees
HEAD_ERRORS = ("xy_rmse", "size_rmse")  # half crops; "xy" and "size" are losses


class ValidationErrors:
    """Adds up losses and pose errors where they are, so that no device waits; `result` gives their means."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}  # (2,): total, count

    def add(self, prediction: Prediction, batch: Batch, losses: dict[str, Tensor]) -> None:
        """B rows. losses: means () over the batch."""
        every = torch.ones(len(batch), dtype=torch.bool, device=batch.image.device)
        for name, value in losses.items():
            self._add(name, value.expand(len(batch)), every)
        errors = pose_errors(prediction.rotation, batch.rotation)
        for name, values in zip(POSE_ERRORS, errors.unbind(-1)):
            self._add(name, values, batch.present("rotation"))
        squared, present = (prediction.head - batch.head).square(), batch.present("head")
        for name, values in zip(HEAD_ERRORS, (squared[:, :2].sum(-1), squared[:, 2])):
            self._add(name, values, present)

    def result(self, module: L.LightningModule) -> dict[str, float]:
        """Means over all processes: losses, degrees, `mae` of the three angles; roots of HEAD_ERRORS."""
        names = sorted(self._sums)
        totals = torch.stack([self._sums[name] for name in names]) if names else torch.zeros(0, 2)
        if module.trainer.world_size > 1:
            totals = torch.as_tensor(module.trainer.strategy.reduce(totals.to(module.device), reduce_op="sum"))
        means = {name: total / count for name, (total, count) in zip(names, totals.tolist()) if count > 0}
        for name in HEAD_ERRORS:
            if name in means:
                means[name] = math.sqrt(means[name])
        if "pitch" in means:
            means["mae"] = (means["pitch"] + means["yaw"] + means["roll"]) / 3.0
        return means

    def _add(self, name: str, values: Tensor, rows: Tensor) -> None:
        """values: (B,), of which those of `rows` (B,) bool count; the others may be NaN."""
        dtype = torch.float32 if values.device.type == "mps" else torch.float64
        added = torch.stack([torch.where(rows, values, 0.0).to(dtype).sum(), rows.sum().to(dtype)])
        self._sums[name] = self._sums[name] + added if name in self._sums else added


def pose_errors(predicted: Tensor, true: Tensor) -> Tensor:
    """(B, 4) unit quaternions -> (B, 4) absolute errors of pitch, yaw and roll, and the angle between them; degrees."""
    angles = wrapped_difference(*(matrix_to_aflw(quat_to_matrix(quats)) for quats in (predicted, true)))
    return torch.rad2deg(torch.cat([angles, quat_geodesic_angle(predicted, true)[:, None]], dim=-1))
