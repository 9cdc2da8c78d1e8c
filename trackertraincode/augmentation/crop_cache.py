"""Faces decoded once: 8 bit crops with margin of all rows of a data set, so that epochs neither read nor decode images.

    images --cache_files.build--> NAME.crops --open--> CropCache --crop(row), plan_kept, warp_kept--> what the network sees

Crops are squares of a multiple of the box, cut off at the image's border, and reduced by area to `Kept.side` pixels per
side of the box, which is about what the network sees. What comes out is within a grey level, on average, of what comes from
the image.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from trackertraincode.augmentation.crop import GeometryOptions
from trackertraincode.augmentation.presets import Preset
from trackertraincode.augmentation.warp import Warp
from trackertraincode.geometry import affine2d

SIDES = {"full": 160, "small": 118}  # pixels per side of the box, for crops of 129 pixels
MARGIN, LARGEST_FACTOR = 2.2, 1.3  # edge of the square / longer side of the box, and that of the largest usual crop
HALVED_BELOW = 0.56  # scale under which means of 2 × 2 pixels are looked at
SMALLEST = 4  # pixels of an edge
ENTRY = np.dtype([("offset", "<i8"), ("size", "<i4", 2), ("scale", "<f4", 2), ("corner", "<f4", 2)])


@dataclass(frozen=True)
class Kept:
    """How crops are kept."""

    side: int  # pixels per longer side of the box, at most
    margin: float  # edge of the square / longer side of the box
    color: bool
    roi_override: str  # how boxes are chosen

    @classmethod
    def of(cls, preset: Preset, quality: str) -> "Kept":
        """For crops of a preset. quality: key of SIDES."""
        side = round(SIDES[quality] * preset.size / 129)
        return cls(side, margin_of(preset.geometry or GeometryOptions()), preset.color, preset.roi_override)

    @property
    def most_bytes(self) -> int:
        """Of a face, at most: the whole square is in the image."""
        return math.ceil(self.margin * self.side) ** 2 * (3 if self.color else 1)


def margin_of(geometry: GeometryOptions) -> float:
    """Edge of the square that nearly all crops are in / longer side of the box."""
    if geometry.looseness is not None:
        return 1.0 + 4.0 * geometry.looseness[1]  # these crops reach far above the face
    largest = geometry.factor_range[1] if geometry.factor_range is not None else LARGEST_FACTOR
    return MARGIN * max(1.0, largest / LARGEST_FACTOR)


class CropCache:
    """Crops of all rows of a data set."""

    def __init__(self, blob: Tensor, table: np.ndarray, *, color: bool, file: Path | None = None) -> None:
        """
        blob: (bytes,) uint8, one crop after the other; table: (rows,) ENTRY: where a crop begins, width and height,
        size in crop pixels of an image pixel, image pixel of its corner; width 0 where the image or box isn't usable.
        file: that the blob is a map of.
        """
        self.blob, self.table, self.color, self._file = blob, table, color, file
        self._pixels = blob.numpy()

    def __reduce__(self) -> Any:
        """For worker processes that are started afresh: they map the file again, or share the memory."""
        return _again, (self.blob if self._file is None else len(self.blob), self.table, self.color, self._file)

    def has(self, rows: np.ndarray) -> np.ndarray:
        """(n,) bool: which rows have a crop."""
        return np.asarray(self.table["size"][rows, 0] > 0)

    def crop(self, row: int) -> np.ndarray:
        """(h, w[, 3]) uint8 of a row that has one."""
        entry = self.table[row]
        width, height = entry["size"].tolist()
        shape, start = (height, width, 3) if self.color else (height, width), int(entry["offset"])
        return self._pixels[start : start + math.prod(shape)].reshape(shape)

    def maps(self, rows: np.ndarray, maps: Tensor) -> Tensor:
        """(n, 2, 3) maps of image pixels -> (n, 2, 3) float64 of pixels of the crops."""
        corner, scale = (torch.from_numpy(self.table[name][rows].astype(np.float64)) for name in ("corner", "scale"))
        return kept_maps(maps.to(torch.float64), corner, scale)


def map_blob(file: Path, size: int) -> Tensor:
    """The first (size,) bytes of a file, uint8; their pages are shared by all processes."""
    return (
        torch.from_file(str(file), shared=False, size=size, dtype=torch.uint8)
        if size
        else torch.empty(0, dtype=torch.uint8)
    )


def _again(blob: Tensor | int, table: np.ndarray, color: bool, file: Path | None) -> CropCache:
    mapped = map_blob(file, blob) if file is not None and isinstance(blob, int) else blob
    assert isinstance(mapped, Tensor)
    return CropCache(mapped, table, color=color, file=file)


def kept_maps(maps: Tensor, corner: Tensor, scale: Tensor) -> Tensor:
    """(n, 2, 3) maps of image pixels, (n, 2) corners and scales of crops -> (n, 2, 3) maps of pixels of the crops."""
    linear = maps[..., :2]
    moved = (linear * corner[:, None]).sum(-1, keepdim=True) + maps[..., 2:]
    return torch.cat([linear / scale.clamp_min(1e-6)[:, None], moved], dim=-1)


def plan_kept(maps: Tensor) -> list[Warp]:
    """(n, 2, 3) float64 maps of pixels of kept crops to those of the network's."""
    halve = affine2d.scale_of(maps) < HALVED_BELOW
    factor = torch.where(halve, 2.0, 1.0).to(maps.dtype)[:, None, None]
    matrices = affine2d.to_cv2(torch.cat([maps[..., :2] * factor, maps[..., 2:]], dim=-1))
    return [Warp(2 if small else 1, False, matrix) for small, matrix in zip(halve.tolist(), matrices)]


def warp_kept(crop: np.ndarray, warp: Warp, size: int, out: np.ndarray | None = None) -> np.ndarray:
    """(h, w[, 3]) uint8 -> (size, size[, 3]) uint8, bilinear; black outside. out: where it goes, if there is a place."""
    source = halved(crop) if warp.reduce == 2 else crop
    return cv2.warpAffine(source, warp.matrix, (size, size), dst=out, flags=cv2.INTER_LINEAR)


def halved(crop: np.ndarray) -> np.ndarray:
    """(h, w[, 3]) -> means of 2 × 2 pixels; an odd last row or column is left out."""
    height, width = (n // 2 * 2 for n in crop.shape[:2])
    return cv2.resize(crop[:height, :width], (width // 2, height // 2), interpolation=cv2.INTER_AREA)


def keep(image: np.ndarray, box: np.ndarray, kept: Kept) -> tuple[np.ndarray, Any] | None:
    """(H, W[, 3]) uint8 and box (4,) -> the crop and its ENTRY but for the offset; None where nothing is to be seen."""
    if not np.isfinite(box).all() or (box[2:] <= box[:2]).any():
        return None
    longer, center = float((box[2:] - box[:2]).max()), (box[:2] + box[2:]) / 2
    size = np.array(image.shape[1::-1])
    low = np.clip(np.floor(center - kept.margin / 2 * longer), 0, size).astype(int)
    high = np.clip(np.ceil(center + kept.margin / 2 * longer), 0, size).astype(int)
    if (high - low < SMALLEST).any():
        return None
    part = image[low[1] : high[1], low[0] : high[0]]
    wanted = np.maximum(np.rint((high - low) * min(1.0, kept.side / longer)), SMALLEST).astype(int)
    if (wanted != high - low).any():
        part = cv2.resize(part, wanted.tolist(), interpolation=cv2.INTER_AREA)
    return part, (0, wanted, wanted / (high - low), low)
