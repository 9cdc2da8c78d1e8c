"""The list `file.pkl` of 300W-LP that pipelines for RepVGG and EfficientNet-Lite train on, beside the images it names.

image (path without .jpg)     yaw, pitch, roll; radians     x_min, y_min, x_max, y_max of the crop; pixels

The crops are boxes of the landmarks, widened by a random share when the list was made.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from trackertraincode.conversion.archive import naming, open_archive
from trackertraincode.conversion.frame_pickle import read_frame_pickle
from trackertraincode.conversion.run import Source, gathered
from trackertraincode.errors import ArchiveError
from trackertraincode.geometry.euler import aflw_to_matrix
from trackertraincode.geometry.rotation import matrix_to_quat
from trackertraincode.sample.images import check_image
from trackertraincode.sample.sample import Sample

ANGLES, BOX = ("pitch", "yaw", "roll"), ("x_min", "y_min", "x_max", "y_max")


@dataclass(frozen=True)
class Item:
    """One row of the list."""

    row: int
    image: str
    angles: tuple[float, ...]  # pitch, yaw, roll; radians
    box: tuple[float, ...]

    @property
    def file(self) -> str:
        return f"{self.image}.jpg"

    def __str__(self) -> str:
        return f"row {self.row}: {self.image}"

    @property
    def sequence(self) -> str:
        """The image that this one was turned from."""
        return re.sub(r"_\d+$", "", self.image)


def make_source(path: Path) -> Source:
    """List the rows, those of one original image together. Raises ArchiveError when it isn't such a list."""
    path = path / "file.pkl" if path.is_dir() else path
    columns = read_frame_pickle(path)
    for name in ("image", *ANGLES, *BOX):
        if name not in columns:
            raise ArchiveError(f"{path}: no column '{name}' (found: {', '.join(map(str, columns))[:200]}).")
        if columns[name].dtype.kind != ("O" if name == "image" else "f"):
            raise ArchiveError(f"{path}: column '{name}' has type {columns[name].dtype}.")
    angles, boxes = (np.stack([columns[name] for name in names], axis=1).tolist() for names in (ANGLES, BOX))
    items = [
        Item(i, *row) for i, row in enumerate(zip(columns["image"].tolist(), map(tuple, angles), map(tuple, boxes)))
    ]
    return Source(
        items=gathered(items, lambda item: item.sequence),
        convert=partial(convert_item, path),
        beside=partial(_images, path, items),
    )


def _images(path: Path, items: Sequence[Item]) -> Iterator[Path]:
    """Those of the rows, beside the list."""
    archive = open_archive(path.parent)
    return filter(None, (archive.file(item.file) for item in items))


def convert_item(path: Path, item: Item) -> list[Sample]:
    """One row -> one sample. Raises ArchiveError naming the row, or the image."""
    if not np.isfinite(item.angles).all() or max(map(abs, item.angles)) > 2 * np.pi:
        raise ArchiveError(f"{path}: {item} has pitch, yaw, roll {item.angles}, expected radians.")
    image = open_archive(path.parent).read(item.file)
    with naming(item.file):
        size = check_image(image)
    x0, y0, x1, y1 = item.box
    if not (x0 < min(x1, size.width) and y0 < min(y1, size.height) and x1 > 0 and y1 > 0):
        raise ArchiveError(f"{path}: {item} has the box {item.box}, which is empty or outside of {size}.")
    matrix = aflw_to_matrix(torch.tensor(item.angles, dtype=torch.float64))
    return [
        Sample(
            image=image,
            name=item.file,
            sequence=item.sequence,
            rotation=matrix_to_quat(matrix).numpy(),
            face_box=np.array(item.box),
        )
    ]
