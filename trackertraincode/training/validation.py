"""Validation errors of one epoch, as sums, so that batches and processes simply add up."""

import math

import lightning as L
import torch
from torch import Tensor

from trackertraincode.geometry.euler import matrix_to_aflw
from trackertraincode.geometry.rotation import quat_geodesic_angle, quat_to_matrix
from trackertraincode.sample.sample import Batch, Prediction

POSE_ERRORS = ("pitch", "yaw", "roll", "geodesic")  # degrees


class ValidationErrors:
    """Adds up losses and pose errors; `result` gives their means."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._counts: dict[str, float] = {}

    def add(self, prediction: Prediction, batch: Batch, losses: dict[str, Tensor]) -> None:
        """B rows. losses: means () over the batch."""
        for name, value in losses.items():
            self._add(name, float(value) * len(batch), len(batch))
        rows = batch.present("rotation")
        errors = pose_errors(prediction.rotation[rows], batch.rotation[rows]).sum(0)
        for name, value in zip(POSE_ERRORS, errors.tolist()):
            self._add(name, value, int(rows.sum()))
        rows = batch.present("head")
        squared = (prediction.head[rows] - batch.head[rows]).square()
        self._add("xy", float(squared[:, :2].sum()), int(rows.sum()))
        self._add("size", float(squared[:, 2].sum()), int(rows.sum()))

    def result(self, module: L.LightningModule) -> dict[str, float]:
        """Means over all processes: losses, degrees, `mae` of the three angles; `xy` and `size` as RMSE in half crops."""
        names = sorted(self._sums)
        totals = torch.tensor([[self._sums[n], self._counts[n]] for n in names], dtype=torch.float64).reshape(-1, 2)
        if module.trainer.world_size > 1:
            shared = totals.to(module.device, torch.float32 if module.device.type == "mps" else torch.float64)
            totals = torch.as_tensor(module.trainer.strategy.reduce(shared, reduce_op="sum")).cpu().double()
        means = {name: total / count for name, (total, count) in zip(names, totals.tolist()) if count > 0}
        for name in ("xy", "size"):
            if name in means:
                means[name] = math.sqrt(means[name])
        if "pitch" in means:
            means["mae"] = (means["pitch"] + means["yaw"] + means["roll"]) / 3.0
        return means

    def _add(self, name: str, total: float, count: int) -> None:
        self._sums[name] = self._sums.get(name, 0.0) + total
        self._counts[name] = self._counts.get(name, 0.0) + count


def pose_errors(predicted: Tensor, true: Tensor) -> Tensor:
    """(B, 4) unit quaternions -> (B, 4) absolute errors of pitch, yaw and roll, and the angle between them; degrees."""
    angles = matrix_to_aflw(quat_to_matrix(predicted)) - matrix_to_aflw(quat_to_matrix(true))
    wrapped = torch.remainder(angles + torch.pi, 2 * torch.pi) - torch.pi
    return torch.rad2deg(torch.cat([wrapped.abs(), quat_geodesic_angle(predicted, true)[:, None]], dim=-1))
