"""Images into crops: decode as small as is useful, warp once, average areas when scaling down."""

from typing import Literal, NamedTuple

import cv2
import numpy as np
import torch

from trackertraincode.geometry import affine2d
from trackertraincode.sample.images import CropError, decode
from trackertraincode.sample.places import LARGEST_BOX

# Scale (crop pixels per image pixel) up to which decoding at 1/2, 1/4, 1/8 of the size loses nothing visible: the
# remaining scale is still 0.5 to 0.7 of what the crop needs, twice supersampled.
_REDUCTIONS: tuple[tuple[float, Literal[1, 2, 4, 8]], ...] = ((0.09, 8), (0.18, 4), (0.36, 2))
LARGEST_CROP = 2 * LARGEST_BOX  # longer sides of the image: of boxes that `ttc check` accepts, widened to their double
SMALL_CROP = 1024  # pixels; smaller ones are cut of any image


class Warp(NamedTuple):
    """How one encoded image becomes a crop."""

    reduce: Literal[1, 2, 4, 8]  # by which the image is divided while it is decoded
    doubled: bool  # whether the map leads to twice the size of the crop
    matrix: np.ndarray  # (2, 3) float64, for cv2.warpAffine


def plan_warps(maps: torch.Tensor) -> list[Warp]:
    """(B, 2, 3) maps of image pixels to crop pixels. All factors are powers of two, so nothing is rounded."""
    scales = affine2d.scale_of(maps).tolist()
    reductions: list[Literal[1, 2, 4, 8]] = [
        next((factor for limit, factor in _REDUCTIONS if scale <= limit), 1) for scale in scales
    ]
    factors = torch.tensor([1.0 if scale >= 1.0 else 2.0 for scale in scales], dtype=torch.float64)
    matrices = maps.to(torch.float64) * factors[:, None, None]
    matrices[..., :2] *= torch.tensor(reductions, dtype=torch.float64)[:, None, None]
    return [Warp(r, s < 1.0, m) for r, s, m in zip(reductions, scales, affine2d.to_cv2(matrices))]


def warp_planned(
    data: bytes, warp: Warp, size: int, *, color: bool = False, out: np.ndarray | None = None
) -> np.ndarray:
    """Encoded image -> crop (size, size[, 3]) uint8; black outside of the image. warp: one of `plan_warps`.

    Scaling up is bilinear; scaling down is a bilinear warp to twice the size and an exact 2 × 2 mean. out: where the crop
    goes, if there is a place for it. Raises ImageDecodeError when the image doesn't decode.
    """
    image = decode(data, color=color, reduce=warp.reduce)
    if not warp.doubled:
        return cv2.warpAffine(image, warp.matrix, (size, size), dst=out, flags=cv2.INTER_LINEAR)
    large = cv2.warpAffine(image, warp.matrix, (2 * size, 2 * size), flags=cv2.INTER_LINEAR)
    return cv2.resize(large, (size, size), dst=out, interpolation=cv2.INTER_AREA)


def cut_rectangle(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Integral rectangle (4,) x0, y0, x1, y1 of an image -> (y1 - y0, x1 - x0[, 3]), black outside of the image.

    Raises CropError for one that is much larger than the image, or outside of it.
    """
    x0, y0, x1, y1 = (int(v) for v in box)
    height, width = image.shape[:2]
    if max(x1 - x0, y1 - y0) > max(LARGEST_CROP * max(height, width), SMALL_CROP):
        raise CropError(
            f"its crop would have {x1 - x0} × {y1 - y0} pixels, and the image has {width} × {height}: its box or the "
            "factor by which boxes are widened is too large"
        )
    inside = image[max(y0, 0) : max(min(y1, height), 0), max(x0, 0) : max(min(x1, width), 0)]
    if not inside.size:
        raise CropError(
            f"its crop, {[x0, y0, x1, y1]}, shows nothing of the image, which has {width} × {height} pixels"
        )
    crop = np.zeros((y1 - y0, x1 - x0, *image.shape[2:]), image.dtype)
    top, left = max(-y0, 0), max(-x0, 0)
    crop[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
    return crop


def cut_and_resize(image: np.ndarray, box: np.ndarray, size: int) -> np.ndarray:
    """Integral square (4,) of an image, black outside -> (size, size[, 3]); areas are averaged exactly.

    The reference for evaluation: no interpolation when scaling down. Raises CropError, as `cut_rectangle`.
    """
    crop = cut_rectangle(image, box)
    if crop.shape[0] == size:
        return crop
    method = cv2.INTER_AREA if crop.shape[0] > size else cv2.INTER_LINEAR
    return cv2.resize(crop, (size, size), interpolation=method)
