"""Where labels lie: the one place that moves them, and the one that knows how files count pixels.

    stored labels --from_centres--> labels from the image's corner --move(maps)--> labels of a crop, or normalised

In memory everything counts from the corner of the image, as affine maps do. Files and most archives count the points
and heads of a sample from the centre of the first pixel instead, and boxes from the corner.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trackertraincode.facemodel.head_model import mirror_order
from trackertraincode.facemodel.landmarks68 import FLIP_ORDER
from trackertraincode.geometry import affine2d
from trackertraincode.geometry.constants import constant
from trackertraincode.geometry.pixels import HALF_PIXEL
from trackertraincode.sample.fields import Kind
from trackertraincode.sample.sample import LABELS

MOVE: dict[Kind, Callable[[Tensor, Tensor], Tensor]] = {  # maps (..., 2, 3), values; other kinds stay as they are
    Kind.POINTS: affine2d.move_points,
    Kind.BOX: affine2d.move_box,
    Kind.HEAD: affine2d.move_head,
    Kind.ROTATION: affine2d.move_rotation,
}
_FLIP_ORDER = tuple(FLIP_ORDER.tolist())
CENTRE_COUNTED = (Kind.POINTS, Kind.HEAD)


def move(labels: Mapping[str, Tensor], maps: Tensor, face_model: str | None = None) -> dict[str, Tensor]:
    """Every label moved by its kind; a mirroring map also renames landmarks and coefficients.

    labels: attribute -> (..., shape of one row), from the image's corner; maps: (..., 2, 3). face_model: of `shape`.
    """
    mirrored, device = affine2d.mirrors(maps), maps.device
    moved = {}
    for name, value in labels.items():
        kind = LABELS[name].kind
        result = MOVE[kind](maps, value) if kind in MOVE else value
        if kind is Kind.POINTS:
            result = torch.where(
                mirrored[..., None, None], result[..., constant(_FLIP_ORDER, device, torch.long), :], result
            )
        elif kind is Kind.COEFFICIENTS:
            result = torch.where(
                mirrored[..., None], result[..., constant(_order(face_model), device, torch.long)], result
            )
        moved[name] = result
    return moved


def from_centres(labels: Mapping[str, Any]) -> dict[str, Any]:
    """Labels as files and archives count them -> from the image's corner. Arrays keep their type; None stays."""
    return _shifted(labels, HALF_PIXEL)


def to_centres(labels: Mapping[str, Any]) -> dict[str, Any]:
    """The way back. Exact in float64 for what was float32 before `from_centres`."""
    return _shifted(labels, -HALF_PIXEL)


def _shifted(labels: Mapping[str, Any], offset: float) -> dict[str, Any]:
    shifted = dict(labels)
    for name, value in labels.items():
        if value is not None and name in LABELS and LABELS[name].kind in CENTRE_COUNTED:
            shifted[name] = np.array(value)
            with np.errstate(invalid="ignore"):  # signalling NaN, in damaged files
                shifted[name][..., :2] += offset
    return shifted


@lru_cache
def _order(face_model: str | None) -> tuple[int, ...]:
    """(50,) for a mirrored face."""
    return tuple(mirror_order(face_model or "").tolist())
