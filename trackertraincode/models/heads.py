"""Heads: one linear layer each, from features (B, F) to a part of the prediction, and the face model on top of them.

features --QuaternionHead or SixDHead--> quaternion --+
         --HeadCenterHead--> x, y, radius ------------+--FaceModelLandmarks--> 68 landmarks
         --ShapeHead--> 50 coefficients --------------+
         --BoxHead--> x0, y0, x1, y1
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trackertraincode.facemodel.head_model import COEFFICIENT_COUNT
from trackertraincode.facemodel.landmarks68 import COUNT, EYE_CORNERS
from trackertraincode.geometry.rotation import (
    matrix_to_quat,
    quat_multiply,
    quat_normalize,
    quat_rotate,
    sixd_rows_to_matrix,
)

INITIAL_REAL_BIAS = 0.1  # of quaternions, before elu + 1; a real part of only 0.1 after it made the first epoch diverge
INITIAL_SIZE_BIAS = 0.5  # before elu + 1
START_NEAR_BIAS = 0.1  # factor of usual initial weights where the start shall be near the bias


def positive(x: Tensor) -> Tensor:
    """elu(x) + 1, in (0, inf); any shape."""
    return F.elu(x) + 1.0


def _linear(features: int, bias: list[float]) -> nn.Linear:
    """A layer that starts near its bias."""
    layer = nn.Linear(features, len(bias))
    with torch.no_grad():
        layer.weight *= START_NEAR_BIAS
        layer.bias.copy_(torch.tensor(bias))
    return layer


class QuaternionHead(nn.Module):
    """Four numbers, the real one positive, then normalised; starts near the identity."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.linear = _linear(features, [0.0, 0.0, 0.0, INITIAL_REAL_BIAS])

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(B, F) -> unit quaternions (B, 4) and what they were before normalising."""
        x = self.linear(features)
        raw = torch.cat([x[:, :3], positive(x[:, 3:])], dim=-1)
        return quat_normalize(raw), raw


class SixDHead(nn.Module):
    """OpNet's six numbers, the matrix' first two rows; starts near the identity."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.linear = _linear(features, [1.0, 0.0, 0.0, 0.0, 1.0, 0.0])

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(B, F) -> unit quaternions (B, 4) and the six numbers (B, 6)."""
        raw = self.linear(features)
        return matrix_to_quat(sixd_rows_to_matrix(raw)), raw


ROTATION_HEADS: dict[str, type[QuaternionHead] | type[SixDHead]] = {"quaternion": QuaternionHead, "sixd": SixDHead}


class HeadCenterHead(nn.Module):
    """Centre and positive radius of the head."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.linear = _linear(features, [0.0, 0.0, INITIAL_SIZE_BIAS])

    def forward(self, features: Tensor) -> Tensor:
        """(B, F) -> (B, 3)."""
        x = self.linear(features)
        return torch.cat([x[:, :2], positive(x[:, 2:])], dim=-1)


class BoxHead(nn.Module):
    """Centre and positive half size of the face box."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.linear = _linear(features, [0.0, 0.0, INITIAL_SIZE_BIAS, INITIAL_SIZE_BIAS])

    def forward(self, features: Tensor) -> Tensor:
        """(B, F) -> (B, 4) x0, y0, x1, y1."""
        x = self.linear(features)
        center, half = x[:, :2], positive(x[:, 2:])
        return torch.cat([center - half, center + half], dim=-1)


class ShapeHead(nn.Module):
    """Coefficients of the face model; starts at the mean face."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.linear = _linear(features, [0.0] * COEFFICIENT_COUNT)

    def forward(self, features: Tensor) -> Tensor:
        """(B, F) -> (B, 50)."""
        return self.linear(features)


class FaceModelLandmarks(nn.Module):
    """The face model's 68 landmarks under pose and shape; the model's numbers are saved with the network."""

    mean: Tensor
    basis: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(COUNT, 3))
        self.register_buffer("basis", torch.zeros(COEFFICIENT_COUNT, COUNT, 3))

    def forward(self, rotation: Tensor, head: Tensor, shape: Tensor) -> Tensor:
        """(B, 4), (B, 3), (B, 50) -> (B, 68, 3) by weak perspective; depth counts from the eye corners."""
        local = self.mean + (shape @ self.basis.flatten(1)).unflatten(-1, (COUNT, 3))
        points = quat_rotate(rotation[:, None], local) * head[:, None, 2:]
        # By slice: a list of indices would be sent to the device at each step.
        corners = points[:, EYE_CORNERS.start : EYE_CORNERS.stop : EYE_CORNERS.step, 2]
        depth = points[..., 2:] - corners.mean(-1)[:, None, None]
        return torch.cat([points[..., :2] + head[:, None, :2], depth], dim=-1)


class DatasetOffsets(nn.Module):
    """How each data set's idea of head centre, zero pitch and size differs from that of the first one.

    Own parameters for pitch (radians), up and forward (head radii) and size (logarithm of a factor). The first set is
    the reference and the one used at inference.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self.offsets = nn.Parameter(torch.zeros(count - 1, 4))

    def forward(self, rotation: Tensor, head: Tensor, dataset: Tensor) -> tuple[Tensor, Tensor]:
        """rotation (B, 4), head (B, 3), dataset (B,) long -> both as the data set labels them."""
        return offset_pose(rotation, head, torch.cat([self.offsets.new_zeros(1, 4), self.offsets])[dataset])


def offset_pose(rotation: Tensor, head: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    """rotation (B, 4), head (B, 3), offsets (B, 4) or (1, 4) as of `DatasetOffsets` -> both, moved."""
    pitch, up, forward, size = offsets.expand(len(head), 4).unbind(-1)
    zero = torch.zeros_like(pitch)
    shift = quat_rotate(rotation, torch.stack([zero, -up, -forward], dim=-1)) * head[:, 2:]
    turn = torch.stack([torch.sin(pitch / 2), zero, zero, torch.cos(pitch / 2)], dim=-1)
    moved = torch.cat([head[:, :2] + shift[:, :2], head[:, 2:] * size[:, None].exp()], dim=-1)
    return quat_multiply(rotation, turn), moved


# Of trained labels beyond pose, box, shape and landmarks: fields of Prediction -> features F to module (B, F) -> (B, …).
MORE_HEADS: dict[str, Callable[[int], nn.Module]] = {}
