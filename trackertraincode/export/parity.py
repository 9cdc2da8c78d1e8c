"""How far the answers of a file lie from those of the network it was made of."""

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trackertraincode.geometry.rotation import quat_geodesic_angle
from trackertraincode.models.onnx_model import OnnxPoseModel
from trackertraincode.sample.sample import Prediction

PLACES = ("head", "face_box", "landmarks")  # in [-1, 1] of the crop
BATCH = 64


@dataclass(frozen=True)
class Limit:
    """The largest 95th percentiles."""

    rotation: float  # radians
    position: float  # share of the crop's edge


LIMITS = {
    "int8": Limit(2e-2, 2e-2),
    "fp16": Limit(5e-3, 5e-3),  # ten bits of float16 and some tens of layers
}


@dataclass(frozen=True)
class Parity:
    """Differences between file and network."""

    mean_degrees: float  # of rotations, as the others
    p95_degrees: float
    max_degrees: float
    p95_position: float  # share of the crop's edge: head, box, landmarks, the worst number of each crop
    crops: int

    def within(self, limit: Limit) -> bool:
        """Whether both 95th percentiles are; not-a-number never is."""
        return self.p95_degrees <= math.degrees(limit.rotation) and self.p95_position <= limit.position

    def __str__(self) -> str:
        return (
            f"{self.mean_degrees:.3f}° on average, {self.p95_degrees:.3f}° and {100 * self.p95_position:.2f} % of the crop "
            f"at the 95th percentile, {self.max_degrees:.3f}° at most ({self.crops} crops)"
        )


def measure_parity(model: Any, crops: Tensor, expected: Prediction) -> Parity:
    """Compare a ModelProto on crops (n, C, S, S) with what its network answers.

    Each number is that of the worse of exact computation and the fused kernels of this CPU. Raises ModelFileError when
    an output isn't finite.
    """
    import onnx

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        onnx.save_model(model, file)
        found = [compare(expected, predict(OnnxPoseModel(file, exact=exact), crops)) for exact in (True, False)]
    return worst_of(found)


def worst_of(found: Sequence[Parity]) -> Parity:
    """The largest of each number, whichever of these it is of; not-a-number where one is."""
    return Parity(*(np.max([getattr(parity, field.name) for parity in found]).item() for field in fields(Parity)))


def predict(model: OnnxPoseModel, crops: Tensor) -> Prediction:
    """Answers of a file to crops (n, C, S, S)."""
    return Prediction(**{name: torch.from_numpy(values) for name, values in model.run(crops.numpy()).items()})


def compare(expected: Prediction, found: Prediction) -> Parity:
    """Two predictions for the same crops."""
    angles = torch.rad2deg(quat_geodesic_angle(expected.rotation.double(), found.rotation.double()))
    moved = []
    for name in PLACES:
        a, b = getattr(expected, name), getattr(found, name)
        if a is not None and b is not None:
            moved.append((a - b).abs().flatten(1).amax(-1) / 2)  # the crop's edge is 2 long
    worst = torch.stack(moved).amax(0).double()
    return Parity(
        mean_degrees=angles.mean().item(),
        p95_degrees=torch.quantile(angles, 0.95).item(),
        max_degrees=angles.max().item(),
        p95_position=torch.quantile(worst, 0.95).item(),
        crops=len(angles),
    )
