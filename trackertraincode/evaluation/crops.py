"""Crops for evaluation, made in worker processes: cut out exactly, areas averaged, one reading of the file.

rows, rectangles --Framing.cut, batch by batch--> (B, C, S, S) uint8 --network--> --to_pixels--> pixels of the image
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch import Tensor

from trackertraincode.augmentation.extras import plugin_brightness
from trackertraincode.augmentation.units import channels_first, normalize
from trackertraincode.datasets.dshdf5pose import opened
from trackertraincode.datasets.hdf5_images import decoding
from trackertraincode.evaluation.framing import Framing
from trackertraincode.geometry.affine2d import scale_of, square_to_box
from trackertraincode.sample.images import decode
from trackertraincode.sample.moving import move
from trackertraincode.sample.sample import LABELS, Prediction
from trackertraincode.workers import Workers, map_in_order, seeing

BATCH = 64  # crops, fewer where they are large
BATCH_PIXELS = BATCH * 256**2
SCALED = ("head_tril", "face_box_scale", "landmarks_scale")  # lengths besides the labels

PREPROCESSING: dict[str, Callable[[Tensor], Tensor]] = {  # pixels (B, C, S, S) -> network input
    "training": normalize,
    "opentrack": plugin_brightness,
}


def batch_of(size: int) -> int:
    """How many crops of size² pixels a network gets at once."""
    return max(1, min(BATCH, BATCH_PIXELS // size**2))


@dataclass(frozen=True)
class Cutting:
    """How crops of a file's images are made; can be pickled."""

    path: Path
    cut: Callable[[np.ndarray, np.ndarray, int], np.ndarray]  # of the framing
    size: int
    color: bool

    def crops(self, part: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """Rows (B,) and rectangles (B, 4) -> (B, S, S[, 3]) uint8. Raises SampleFormatError naming the row."""
        rows, rectangles = part
        crops = []
        for row, data, rectangle in zip(rows, opened(self.path).images(rows), rectangles):
            with decoding(self.path, row):
                crops.append(self.cut(decode(data, color=self.color), rectangle, self.size))
        return np.stack(crops)


def iter_crops(
    path: Path, rows: np.ndarray, rectangles: Tensor, framing: Framing, *, size: int, channels: int, workers: Workers
) -> Iterator[Tensor]:
    """Batches (B, C, S, S) uint8 of a file's rows (n,) in order. rectangles: (n, 4) integral, of the rows.

    Raises SampleFormatError naming the row that can't be cut out, WorkerError when a worker process dies.
    """
    opened.cache_clear()  # of what was at this path before
    cutting = Cutting(path.absolute(), framing.cut, size, channels == 3)
    parts = [slice(start, start + batch_of(size)) for start in range(0, len(rows), batch_of(size))]
    made = ((rows[part], rectangles[part].numpy()) for part in parts)
    for crops in map_in_order(cutting.crops, made, seeing(workers, cutting.path)):
        yield channels_first(crops)


def to_pixels(prediction: Prediction, shown: Tensor) -> Prediction:
    """From [-1, 1] of each crop to pixels of its image, counted from its corner.

    shown: (B, 4) part of the image that each crop shows; square up to rounding. Deviations of lengths scale with them.
    """
    maps = square_to_box(shown.float())
    known = {name: getattr(prediction, name) for name in LABELS if getattr(prediction, name, None) is not None}
    lengths = {n: v for n in SCALED if (v := getattr(prediction, n)) is not None}
    scaled = {n: v * scale_of(maps).reshape(-1, *[1] * (v.ndim - 1)) for n, v in lengths.items()}
    return replace(prediction, **move(known, maps), **scaled)
