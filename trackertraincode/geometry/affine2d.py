"""2-D affine maps that move images, points, boxes, heads and rotations together.

    map (..., 2, 3): source pixels -> destination pixels, both with the image corner at (0, 0)
    move_points / move_box / move_head / move_rotation apply one map to labels, `to_cv2` gives it to cv2.warpAffine.

Labels of a head follow maps that are similarities (turn, scale, shift, mirror); of others they take the nearest one.
"""

import numpy as np
import torch
from torch import Tensor

from trackertraincode.geometry.boxes import bounding_box, box_center, box_size
from trackertraincode.geometry.constants import constant
from trackertraincode.geometry.pixels import HALF_PIXEL
from trackertraincode.geometry.rotation import in_plane_quat, quat_multiply


def translation(offset: Tensor) -> Tensor:
    """(..., 2) pixels -> (..., 2, 3)."""
    linear = torch.eye(2, dtype=offset.dtype, device=offset.device).expand(*offset.shape[:-1], 2, 2)
    return torch.cat([linear, offset[..., None]], dim=-1)


def scaling(factor: Tensor) -> Tensor:
    """(..., 2) factors of x and y -> (..., 2, 3), about the corner of the image."""
    return torch.cat([torch.diag_embed(factor), torch.zeros_like(factor)[..., None]], dim=-1)


def rotation(angle: Tensor, center: Tensor | None = None) -> Tensor:
    """(...,) radians -> (..., 2, 3), about `center` (..., 2) or the corner; positive is clockwise as seen (y down)."""
    c, s = torch.cos(angle), torch.sin(angle)
    zero = torch.zeros_like(c)
    turn = torch.stack([torch.stack([c, -s, zero], dim=-1), torch.stack([s, c, zero], dim=-1)], dim=-2)
    if center is None:
        return turn
    return compose(translation(center), compose(turn, translation(-center)))


def mirror(width: Tensor) -> Tensor:
    """(...,) image widths -> (..., 2, 3): x becomes width - x."""
    one, zero = torch.ones_like(width), torch.zeros_like(width)
    return torch.stack([torch.stack([-one, zero, width], dim=-1), torch.stack([zero, one, zero], dim=-1)], dim=-2)


def box_to_square(box: Tensor, size: float) -> Tensor:
    """(..., 4) boxes -> (..., 2, 3) maps of their corners to the corners of [0, size] × [0, size]."""
    factor = size / (box[..., 2:] - box[..., :2])
    return compose(scaling(factor), translation(-box[..., :2]))


def square_to_box(box: Tensor) -> Tensor:
    """(..., 4) boxes -> (..., 2, 3) maps of [-1, 1] × [-1, 1] to them."""
    return torch.cat([torch.diag_embed(box_size(box) / 2), box_center(box)[..., None]], dim=-1)


def pixels_to_normalized(size: float, device: torch.device | str = "cpu") -> Tensor:
    """(2, 3): [0, size] pixels of a crop -> [-1, 1]."""
    return constant((2.0 / size, 0.0, -1.0, 0.0, 2.0 / size, -1.0), torch.device(device)).reshape(2, 3)


def compose(after: Tensor, before: Tensor) -> Tensor:
    """(..., 2, 3): first `before`, then `after`."""
    linear = after[..., :2]
    moved = linear @ before
    return torch.cat([moved[..., :2], moved[..., 2:] + after[..., 2:]], dim=-1)


def invert(affine: Tensor) -> Tensor:
    """(..., 2, 3) -> the inverse map."""
    (a, b), (c, d) = (row.unbind(-1) for row in affine[..., :2].unbind(-2))
    cofactors = torch.stack([torch.stack([d, -b], dim=-1), torch.stack([-c, a], dim=-1)], dim=-2)
    linear = cofactors / _determinant(affine)[..., None, None]  # torch.linalg.inv makes a GPU wait
    return torch.cat([linear, -linear @ affine[..., 2:]], dim=-1)


def scale_of(affine: Tensor) -> Tensor:
    """(...,) sqrt of |det|: by how much lengths grow."""
    return _determinant(affine).abs().sqrt()


def move_points(affine: Tensor, points: Tensor) -> Tensor:
    """Points (..., N, 2) or (..., N, 3); z grows with lengths and keeps its sign."""
    xy = points[..., :2] @ affine[..., :2].transpose(-1, -2) + affine[..., 2][..., None, :]
    if points.shape[-1] == 2:
        return xy
    return torch.cat([xy, points[..., 2:] * scale_of(affine)[..., None, None]], dim=-1)


def move_box(affine: Tensor, box: Tensor) -> Tensor:
    """(..., 4) -> (..., 4), the bounding box of the moved corners."""
    x0, y0, x1, y1 = box.unbind(-1)
    corners = torch.stack([x0, y0, x1, y0, x1, y1, x0, y1], dim=-1).unflatten(-1, (4, 2))
    return bounding_box(move_points(affine, corners))


def move_head(affine: Tensor, head: Tensor) -> Tensor:
    """(..., 3): x, y, radius in pixels."""
    xy = move_points(affine, head[..., None, :2]).squeeze(-2)
    return torch.cat([xy, head[..., 2:] * scale_of(affine)[..., None]], dim=-1)


def move_rotation(affine: Tensor, quat: Tensor) -> Tensor:
    """(..., 4): the in-plane turn is premultiplied; a mirroring map negates j and k first (x is mirrored)."""
    linear = affine[..., :2]
    mirrored = _determinant(affine) < 0
    flip = torch.where(
        mirrored[..., None], constant((1.0, -1.0, -1.0, 1.0), quat.device, quat.dtype), torch.ones_like(quat)
    )
    # A mirroring map is a turn after x -> -x, so undo that on its first column before reading the angle.
    sign = torch.where(mirrored, -1.0, 1.0).to(linear.dtype)
    cosine = sign * linear[..., 0, 0] + linear[..., 1, 1]
    sine = sign * linear[..., 1, 0] - linear[..., 0, 1]
    return quat_multiply(in_plane_quat(cosine, sine), quat * flip)


def mirrors(affine: Tensor) -> Tensor:
    """(...,) bool: whether left and right change places, so that the 68 landmarks must be renamed too."""
    return _determinant(affine) < 0


def to_cv2(affine: Tensor) -> np.ndarray:
    """(..., 2, 3) -> float64 array for cv2.warpAffine, which counts from pixel centres: x' + 0.5 = A (x + 0.5)."""
    matrix = affine.detach().cpu().to(torch.float64).numpy().copy()
    matrix[..., 2] += matrix[..., :2].sum(-1) * HALF_PIXEL - HALF_PIXEL
    return matrix


def _determinant(affine: Tensor) -> Tensor:
    """(..., 2, 3) -> (...,)."""
    return affine[..., 0, 0] * affine[..., 1, 1] - affine[..., 0, 1] * affine[..., 1, 0]
