"""Boxes (..., 4): x0, y0, x1, y1 in pixels."""

import torch
from torch import Tensor

CROP_FACTOR = 1.1  # crop edge / longer box side, as most protocols and OpenTrack have it
CROP_FACTORS = (0.8, 0.95, CROP_FACTOR, 1.3, 1.6)  # whose effect on a model is looked at


def bounding_box(points: Tensor) -> Tensor:
    """(..., N, 2 or more) -> (..., 4), the bounding box of the points' x and y."""
    xy = points[..., :2]
    return torch.cat([xy.amin(-2), xy.amax(-2)], dim=-1)


def box_size(box: Tensor) -> Tensor:
    """(..., 4) -> (..., 2) width and height."""
    return box[..., 2:] - box[..., :2]


def box_center(box: Tensor) -> Tensor:
    """(..., 4) -> (..., 2)."""
    return (box[..., :2] + box[..., 2:]) / 2


def box_area(box: Tensor) -> Tensor:
    """(..., 4) -> (...,); 0 for a box whose edges are swapped."""
    return box_size(box).clamp_min(0).prod(-1)


def box_iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union (...,) of (..., 4) and (..., 4); 0 where both are empty."""
    low = torch.maximum(a[..., :2], b[..., :2])
    high = torch.minimum(a[..., 2:], b[..., 2:])
    intersection = (high - low).clamp_min(0).prod(-1)
    union = box_area(a) + box_area(b) - intersection
    return intersection / union.clamp_min(torch.finfo(union.dtype).tiny)


def box_from_center(center: Tensor, size: Tensor) -> Tensor:
    """Centre (..., 2) and size (..., 2) -> (..., 4)."""
    return torch.cat([center - size / 2, center + size / 2], dim=-1)


def square_crop_box(box: Tensor, factor: float | Tensor, shift: Tensor | None = None) -> Tensor:
    """The integral square (..., 4) around a box; its edge is the longer box side × factor.

    factor: number or (...,). shift: (..., 2) pixels added to the centre. x0, y0 and the edge are each rounded once and
    x1 = x0 + edge, so the crop is exactly square; the edge is at least one pixel.
    """
    edge = box_size(box).amax(-1, keepdim=True) * torch.as_tensor(factor, dtype=box.dtype)[..., None]
    center = box_center(box) if shift is None else box_center(box) + shift
    corner = torch.round(center - edge / 2)
    edge = torch.round(edge).clamp_min(1)
    return torch.cat([corner, corner + edge], dim=-1)
