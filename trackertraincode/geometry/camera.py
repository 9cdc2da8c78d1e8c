"""Projection: weak perspective of the pose labels, pinhole cameras, and the turn between both views of a rotation."""

import math

import torch
from torch import Tensor

from trackertraincode.geometry.rotation import quat_rotate

HEAD_RADIUS_MM = 100.0  # one local unit of a face model (conventions of the sample format)


def project_weak_perspective(points: Tensor, quat: Tensor, head: Tensor) -> Tensor:
    """Head-local points (..., N, 3) -> (..., N, 3) pixels: R · p · s + (x, y, 0).

    quat: (..., 4) unit; head: (..., 3) x, y, s in pixels. z stays relative to the head origin.
    """
    turned = quat_rotate(quat[..., None, :], points) * head[..., None, 2:]
    offset = torch.cat([head[..., :2], torch.zeros_like(head[..., :1])], dim=-1)
    return turned + offset[..., None, :]


def focal_length(width: float, horizontal_fov: float) -> float:
    """Pixels; width of the image in pixels, field of view in radians. Both image axes share it."""
    return 0.5 * width / math.tan(0.5 * horizontal_fov)


def viewing_ray_rotation(center: Tensor, width: float, height: float, horizontal_fov: float) -> Tensor:
    """(..., 2) pixels -> (..., 3, 3), the turn from "relative to the viewing ray" to "relative to the camera".

    Its z axis points along the ray through `center`, its x axis is horizontal. Premultiply a crop's rotation by it.
    At 640 × 480 and 57 degrees, 100 px off centre along either axis turn by 9.63 degrees.
    """
    f = focal_length(width, horizontal_fov)
    x = center[..., 0] - 0.5 * width
    y = center[..., 1] - 0.5 * height
    ez = torch.stack([x, y, torch.full_like(x, f)], dim=-1)
    ez = ez / ez.norm(dim=-1, keepdim=True)
    ex = torch.stack([ez[..., 2], torch.zeros_like(x), -ez[..., 0]], dim=-1)
    ex = ex / ex.norm(dim=-1, keepdim=True)
    return torch.stack([ex, torch.linalg.cross(ez, ex), ez], dim=-1)
