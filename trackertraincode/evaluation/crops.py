"""Crops for evaluation, made in worker processes: cut out exactly, areas averaged, one reading of the file.

rows, rectangles --Framing.cut, batch by batch--> (B, C, S, S) uint8 --network--> --to_pixels--> pixels of the image
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from trackertraincode.augmentation.extras import plugin_brightness
from trackertraincode.augmentation.units import channels_first, normalize
from trackertraincode.cluster.client import Cluster
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset, opened
from trackertraincode.datasets.hdf5_images import decoding
from trackertraincode.errors import UserError
from trackertraincode.evaluation.framing import Framing
from trackertraincode.geometry.affine2d import scale_of, square_to_box
from trackertraincode.sample.images import decode
from trackertraincode.sample.moving import move
from trackertraincode.sample.sample import LABELS, Prediction
from trackertraincode.workers import MORE_THAN_CORES, Workers, map_in_order, seeing, start_worker

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

    def crops(self, rows: np.ndarray, images: Sequence[bytes], rectangles: np.ndarray) -> Tensor:
        """(B, C, S, S) uint8 of the images of some rows. rectangles: (B, 4). Raises SampleFormatError naming the row."""
        crops = []
        for row, data, rectangle in zip(rows, images, rectangles):
            with decoding(self.path, row):
                crops.append(self.cut(decode(data, color=self.color), rectangle, self.size))
        return channels_first(np.stack(crops))

    def of_file(self, part: tuple[np.ndarray, np.ndarray]) -> Tensor:
        """As `crops`, of rows (n,) and rectangles (n, 4), reading the file."""
        return self.crops(part[0], opened(self.path).images(part[0]), part[1])


class EvaluationCrops(Dataset):
    """Item k is the k-th batch of crops, or the UserError that stands in its way."""

    def __init__(
        self,
        dataset: Hdf5PoseDataset,
        rows: np.ndarray,
        rectangles: Tensor,
        framing: Framing,
        size: int,
        channels: int,
    ) -> None:
        """rectangles: (n, 4) integral, of the rows."""
        self._dataset, self._rows, self._rectangles = dataset, rows, rectangles.numpy()
        self.cutting = Cutting(dataset.path.absolute(), framing.cut, size, channels == 3)
        self._batch = batch_of(size)

    def __len__(self) -> int:
        return -(-len(self._rows) // self._batch)

    def part(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """(B,) rows and (B, 4) rectangles of a batch."""
        part = slice(index * self._batch, (index + 1) * self._batch)
        return self._rows[part], self._rectangles[part]

    def __getitem__(self, index: int) -> Tensor | UserError:
        rows, rectangles = self.part(index)
        try:
            return self.cutting.crops(rows, self._dataset.images(rows), rectangles)
        except UserError as error:
            return error


def iter_crops(crops: EvaluationCrops, workers: Workers) -> Iterator[Tensor]:
    """All batches (B, C, S, S) uint8 in order. Raises the UserError of a batch that can't be made."""
    if isinstance(workers, Cluster):
        whose = seeing(workers, crops.cutting.path)
        yield from map_in_order(crops.cutting.of_file, map(crops.part, range(len(crops))), whose)
        return
    warnings.filterwarnings("ignore", message=MORE_THAN_CORES)
    loader = DataLoader(crops, batch_size=None, num_workers=min(workers, len(crops)), worker_init_fn=start_worker)
    for item in loader:
        if isinstance(item, UserError):
            raise item
        yield item


def to_pixels(prediction: Prediction, shown: Tensor) -> Prediction:
    """From [-1, 1] of each crop to pixels of its image, counted from its corner.

    shown: (B, 4) part of the image that each crop shows; square up to rounding. Deviations of lengths scale with them.
    """
    maps = square_to_box(shown.float())
    known = {name: getattr(prediction, name) for name in LABELS if getattr(prediction, name, None) is not None}
    lengths = {n: v for n in SCALED if (v := getattr(prediction, n)) is not None}
    scaled = {n: v * scale_of(maps).reshape(-1, *[1] * (v.ndim - 1)) for n, v in lengths.items()}
    return replace(prediction, **move(known, maps), **scaled)
