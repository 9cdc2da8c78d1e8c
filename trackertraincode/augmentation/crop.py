"""Which square of an image the network sees, as an affine map per image; `sample.moving` moves labels by it.

All randomness of the geometry is drawn once (`draw_geometry`), everything after it is a pure function.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from trackertraincode.geometry import affine2d
from trackertraincode.geometry.boxes import bounding_box, box_center, box_from_center, box_size
from trackertraincode.geometry.constants import constant
from trackertraincode.geometry.rotation import quat_rotate
from trackertraincode.options import check, option

ORIGINAL = "original"  # of --roi-override: the stored boxes
FACTORS = {ORIGINAL: 1.1, "extent_to_forehead": 1.1, "landmarks": 1.2}  # crop edge / longer box side
FOREHEAD = (0.0, -0.6, -0.1)  # top of the face mesh in the head's frame, head radii
LOOSE_KEPT = 224 / 240  # edge of its random crop / shorter side of the resized image


@dataclass(frozen=True)
class Geometry:
    """Random numbers of B crops."""

    factor: Tensor | None  # (B,) crop edge / longer box side; None: `looseness` tells the size
    shift: Tensor  # (B, 2) in [-1, 1] of the wiggle room
    angle: Tensor  # (B,) radians, in the image plane
    mirror: Tensor  # (B,) bool
    quarter_turns: Tensor  # (B,) -1, 0 or 1
    looseness: Tensor | None = None  # (B,) 6DRepNet's k

    def select(self, rows: slice | np.ndarray) -> "Geometry":
        """Some of the B crops. rows: (n,) numbers, (B,) bool, or a slice."""
        return replace(self, **{name: value[rows] for name, value in vars(self).items() if value is not None})


@dataclass(frozen=True, kw_only=True)
class GeometryOptions:
    """How crops vary; the defaults are the published recipe's. Raises ConfigError where a value can't be."""

    factor: float = 1.1  # mean of crop edge / longer box side
    rotation: float = 30.0  # degrees
    continuous_rotation: bool = False
    factor_std: float = option(0.1, "jitter of crop edge / longer box side", least=0.0)
    factor_limit: float = option(0.5, "and its largest", least=0.0, most=1.0)
    factor_range: tuple[float, float] | None = option(None, "evenly between these two instead", above=0.0)
    looseness: tuple[float, float] | None = option(None, "6DRepNet's k, evenly between these two, instead", least=0.0)
    shift_std: float = option(0.5, "shift in units of the wiggle room", least=0.0)
    mirror: float = option(0.5, "probability of mirroring", least=0.0, most=1.0)
    quarter_turn: float = option(0.01, "probability of a quarter turn", least=0.0, most=1.0)

    def __post_init__(self) -> None:
        check(self)


def draw_geometry(count: int, options: GeometryOptions, rng: np.random.Generator) -> Geometry:
    """The only random lines of the geometry."""
    limits = options.looseness or options.factor_range
    if limits is not None:
        size = rng.uniform(*limits, count)
    else:
        limit = options.factor_limit
        size = options.factor + np.clip(rng.normal(0.0, options.factor_std, count), -limit, limit)
    shift = np.clip(rng.normal(0.0, options.shift_std, (count, 2)), -1.0, 1.0)
    if options.looseness is not None:
        shift = rng.uniform(-1.0, 1.0, (count, 2))
    if options.continuous_rotation:
        degrees = rng.uniform(-options.rotation, options.rotation, count)
    else:
        degrees = rng.choice([-1.0, 1.0], count) * options.rotation * (rng.random(count) < 1 / 3)
    quarter = rng.choice([-1, 1], count) * (rng.random(count) < options.quarter_turn)
    sizes = torch.from_numpy(size).float()
    return Geometry(
        sizes if options.looseness is None else None,
        torch.from_numpy(shift).float(),
        torch.from_numpy(np.radians(degrees)).float(),
        torch.from_numpy(rng.random(count) < options.mirror),
        torch.from_numpy(quarter).float(),
        sizes if options.looseness is not None else None,
    )


def centered_geometry(count: int, factor: float, device: torch.device | str = "cpu") -> Geometry:
    """Nothing random: for validation."""
    zero = torch.zeros(count, device=device)
    return Geometry(zero + factor, torch.zeros(count, 2, device=device), zero, zero.bool(), zero)


def crop_boxes(labels: dict[str, Tensor], roi_override: str) -> Tensor:
    """(B, 4) boxes that crops are made around, from labels whose absent rows are NaN.

    Rows without what `roi_override` wants fall back to the landmarks, then to the stored box, then to the other way
    round. What has neither stays NaN.
    """
    points, head, stored = labels["landmarks"][..., :2], labels["head"], labels["face_box"]
    if roi_override == ORIGINAL and bool(torch.isfinite(stored).all()):
        return stored
    around = _first_known(bounding_box(points), bounding_box(labels["landmarks_2d"]))
    if roi_override == ORIGINAL:
        return _first_known(stored, around)
    if roi_override == "landmarks":
        return _first_known(around, stored)
    top = quat_rotate(labels["rotation"], constant(FOREHEAD, head.device).expand(len(head), 3))
    forehead = head[:, :2] + top[:, :2] * head[:, 2:]
    return _first_known(bounding_box(torch.cat([points, forehead[:, None]], dim=1)), around, stored)


def trained_boxes(moved: dict[str, Tensor], roi_override: str) -> Tensor:
    """(B, 4) boxes to learn, of labels in the crop: the stored ones, or where crops are made otherwise, such ones.

    Of landmarks as they lie in the crop, so that sets whose stored boxes are of several kinds teach one.
    """
    return moved["face_box"] if roi_override == ORIGINAL else crop_boxes(moved, roi_override)


def _first_known(*boxes: Tensor) -> Tensor:
    """(B, 4): of each row the first box that isn't NaN."""
    result = boxes[0]
    for box in boxes[1:]:
        result = torch.where(torch.isfinite(result).all(-1, keepdim=True), result, box)
    return result


def crop_squares(box: Tensor, geometry: Geometry) -> Tensor:
    """(B, 4) boxes -> (B, 4) squares to cut out."""
    if geometry.looseness is not None:
        return _loose_squares(box, geometry.looseness, geometry.shift)
    assert geometry.factor is not None, "crops have a factor or a looseness"
    sides = box_size(box).clamp_min(1.0)
    edge = sides.amax(-1) * geometry.factor
    wiggle = 0.5 * (edge[:, None] - sides).abs() + 0.3 * torch.minimum(edge[:, None], sides)
    center = box_center(box) + geometry.shift * wiggle
    return box_from_center(center, edge[:, None].expand(-1, 2))


def _loose_squares(box: Tensor, k: Tensor, shift: Tensor) -> Tensor:
    """6DRepNet's crops: the box grown by 0.6 k left, right and below and by 2 k above, and a random place in it.

    box: (B, 4), k: (B,), shift: (B, 2) in [-1, 1] -> (B, 4).
    """
    sides = box_size(box).clamp_min(1.0)
    grow = torch.stack(
        [-0.6 * k * sides[:, 0], -2.0 * k * sides[:, 1], 0.6 * k * sides[:, 0], 0.6 * k * sides[:, 1]], -1
    )
    grown = box + grow
    size = box_size(grown)
    edge = size.amin(-1, keepdim=True) * LOOSE_KEPT
    center = box_center(grown) + shift * (size - edge) / 2
    return box_from_center(center, edge.expand(-1, 2))


def crop_maps(square: Tensor, geometry: Geometry, size: int) -> Tensor:
    """(B, 4) squares -> (B, 2, 3) maps from image pixels to crop pixels [0, size], turns and mirrors included."""
    maps = affine2d.box_to_square(square, float(size))
    middle = torch.full_like(square[:, :2], size / 2)
    turn = affine2d.rotation(geometry.angle + geometry.quarter_turns * (torch.pi / 2), middle)
    flip = affine2d.mirror(torch.full_like(square[:, 0], float(size)))
    maps = torch.where(geometry.mirror[:, None, None], affine2d.compose(flip, maps), maps)
    return affine2d.compose(turn, maps)
