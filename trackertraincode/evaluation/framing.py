"""From a face box to a crop: which pixels are cut out, how they are resized, and what of the image is then seen.

boxes --rectangles--> integral (n, 4) --cut, image by image--> (S, S) crops that show --shown--> (n, 4) of the image
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from trackertraincode.augmentation.warp import cut_and_resize, cut_rectangle
from trackertraincode.geometry.boxes import box_size, square_crop_box

# AFLW2000 loader of 6DRepNet (datasets.py) and its transforms Resize(256), CenterCrop(224); the same as Hopenet's
SIXD_K = 0.2  # how much the box is widened
SIXD_RESIZED, SIXD_CENTER = 256, 224  # pixels: shorter side of the resized rectangle, edge of what is kept of it


@dataclass(frozen=True)
class Framing:
    """One way to make crops."""

    rectangles: Callable[[Tensor, float], Tensor]  # (n, 4) boxes, factor -> (n, 4) whole pixels
    cut: Callable[[np.ndarray, np.ndarray, int], np.ndarray]  # image, (4,) rectangle, S -> (S, S[, 3]) uint8
    shown: Callable[[Tensor], Tensor]  # (n, 4) rectangles -> (n, 4) part of the image that their crops show
    words: str  # for tables; {} is the factor
    default_factor_only: bool = False  # whether the factor is part of the recipe


def sixd_rectangles(boxes: Tensor, k: float) -> Tensor:
    """(n, 4) boxes -> (n, 4) whole pixels: to the left and up by 2k; then right by 2k and down by 0.6k of the new sides."""
    x0, y0, x1, y1 = boxes.double().unbind(-1)
    x0, y0 = x0 - 2 * k * (x1 - x0), y0 - 2 * k * (y1 - y0)
    x1, y1 = x1 + 2 * k * (x1 - x0), y1 + 0.6 * k * (y1 - y0)
    whole = torch.stack([x0, y0, x1, y1], dim=-1).trunc()  # as Python's int()
    return torch.cat([whole[:, :2], torch.maximum(whole[:, 2:], whole[:, :2] + 1)], dim=-1)


def sixd_shown(rectangles: Tensor) -> Tensor:
    """(n, 4) -> (n, 4): the middle that is left of each rectangle."""
    sides = box_size(rectangles)
    resized = (SIXD_RESIZED * sides / sides.amin(-1, keepdim=True)).trunc()
    corner = torch.round((resized - SIXD_CENTER) / 2)
    scale = sides / resized
    return rectangles[:, :2].repeat(1, 2) + torch.cat([corner * scale, (corner + SIXD_CENTER) * scale], dim=-1)


def sixd_cut(image: np.ndarray, rectangle: np.ndarray, size: int) -> np.ndarray:
    """(H, W[, 3]) image -> (S, S[, 3]): the rectangle (4,), black outside of the image, resized to 256 on its shorter
    side; of that the middle 224².
    """
    part = cut_rectangle(image, rectangle)
    height, width = part.shape[:2]
    shorter = min(width, height)
    wide, high = SIXD_RESIZED * width // shorter, SIXD_RESIZED * height // shorter
    resized = cv2.resize(
        part, (wide, high), interpolation=cv2.INTER_AREA if shorter > SIXD_RESIZED else cv2.INTER_LINEAR
    )
    left, top = (round((side - SIXD_CENTER) / 2) for side in (wide, high))
    return cut_and_resize(resized, np.array([left, top, left + SIXD_CENTER, top + SIXD_CENTER]), size)


def _unchanged(rectangles: Tensor) -> Tensor:
    return rectangles


SQUARE = Framing(square_crop_box, cut_and_resize, _unchanged, "× {:g} square")
SIXD = Framing(
    sixd_rectangles,
    sixd_cut,
    sixd_shown,
    f"widened by k = {{:g}}, resized to {SIXD_RESIZED}, centre {SIXD_CENTER}²",
    default_factor_only=True,
)
