"""Files of pose samples: read them row by row or in batches, write them as a stream.

    Sample --PoseWriter.write--> NAME.tmp --close--> NAME.h5 --Hdf5PoseDataset--> labels and images by row

Field names, shapes and types are those of `sample.sample.FIELDS`.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, overload

import numpy as np
from torch.utils.data import Dataset

from trackertraincode.datasets.pose_writer import PoseWriter
from trackertraincode.datasets.sample_file import is_absent
from trackertraincode.datasets.shards import Samples, open_samples
from trackertraincode.errors import SampleFormatError
from trackertraincode.sample.sample import BY_ATTRIBUTE, LABELS, Sample

__all__ = ["FieldCategory", "Hdf5PoseDataset", "PoseWriter"]

STREAM_ROWS = 64  # samples that are in memory at once when a file is read from end to end


class FieldCategory:
    """Values of the HDF5 attribute `category`."""

    general = ""
    quat = "q"
    xys = "xys"
    roi = "roi"
    points = "pts"
    image = "img"
    semseg = "seg"


class Labels(Mapping[str, np.ndarray]):
    """Labels of a file by attribute, each (N, ...) float32, bool or int64, read whole when it is first asked for."""

    def __init__(self, path: Path, names: Sequence[str], kept: dict[str, np.ndarray]) -> None:
        """kept: those that are in memory."""
        self._path, self._names, self.kept = path, tuple(names), kept

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._names:
            raise KeyError(name)
        if name not in self.kept:
            with open_samples(self._path) as file:
                self.kept[name] = file.label(name)
        return self.kept[name]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class Hdf5PoseDataset(Dataset[Sample]):
    """All samples of one file, or of all whose names match a pattern. Labels and images are read when they are asked for.

    Works with `torch.utils.data`: it can be pickled, and each process opens the file for itself.
    """

    def __init__(self, path: str | Path, labels: Sequence[str] | None = None) -> None:
        """
        labels: attributes to read (of `sample.sample.LABELS`, or "segmentation"); None for all that the file has.
        Raises SampleFormatError when the file is missing, damaged, or breaks the format.
        """
        self.path = Path(path)
        self._file: Samples | None = None
        self._process = 0  # that opened the file
        known = [attribute for attribute in BY_ATTRIBUTE if attribute != "image"]
        for name in labels or ():
            if name not in known:
                raise SampleFormatError(f"{self.path}: no label is called '{name}'; choose among {', '.join(known)}.")
        with open_samples(self.path) as file:
            self._count = len(file)
            self.fields = file.fields  # attributes that the file has, images included
            self.source = file.source
            self.face_model = file.face_model
            self.sequence_starts = file.starts  # (S + 1,) or None
            for attribute in self.fields:
                file.check(attribute)
            self._wanted = [a for a in self.fields if labels is None or a in labels]
            names = [a for a in self._wanted if a in LABELS]
            self.labels = Labels(self.path, names, {a: file.label(a) for a in names if not file.shares(a)})
            if "rotation" in names:
                file.check_rotations()

    def __len__(self) -> int:
        return self._count

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None}

    def __enter__(self) -> "Hdf5PoseDataset":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; it opens again when an image is asked for."""
        if self._file is not None:
            self._file.close()
            self._file = None

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        if isinstance(index, slice):
            return self.samples(range(*index.indices(len(self))))
        if not -len(self) <= index < len(self):
            raise IndexError(f"row {index} of {self.path}, which has {len(self)} rows")
        return self.samples([int(index) % len(self)])[0]

    def __getitems__(self, rows: Sequence[int]) -> list[Sample]:
        return self.samples(rows)

    def __iter__(self) -> Iterator[Sample]:
        for start in range(0, len(self), STREAM_ROWS):
            yield from self.samples(range(start, min(start + STREAM_ROWS, len(self))))

    def images(self, rows: Sequence[int] | np.ndarray) -> list[bytes]:
        """Encoded images of the given rows, in their order."""
        return self._open().images(rows)

    def image_files(self) -> list[Path]:
        """The rows' images that are there, in their order; none where the images are in the HDF5 file."""
        return self._open().image_files()

    def segmentations(self, rows: Sequence[int] | np.ndarray) -> list[bytes]:
        """Label images as PNG files."""
        return self._open().images(rows, "segmentation")

    def batch(self, rows: Sequence[int] | np.ndarray) -> tuple[list[bytes], dict[str, np.ndarray]]:
        """Images and labels of the given rows; labels by attribute, each (B, ...)."""
        rows = np.asarray(rows, dtype=np.int64)
        return self.images(rows), {name: self.label(name, rows) for name in self.labels}

    def label(self, name: str, rows: np.ndarray) -> np.ndarray:
        """(n, ...) of (n,) rows, float32, bool or int64: from the file's pages, which processes share, where that goes."""
        return self.labels.kept[name][rows] if name in self.labels.kept else self._open().label(name, rows)

    def samples(self, rows: Sequence[int]) -> list[Sample]:
        """The given rows as samples. Absent labels are None."""
        return self._samples(rows, {name: self.label(name, np.asarray(rows, np.int64)) for name in self.labels})

    def stream(self, rows: Sequence[int] | None = None, exact: bool = False) -> Iterator[Sample]:
        """The given rows (None: all) with every label of the file, all read from disk as they are needed.

        For files of any size: with `labels=()`, memory holds `STREAM_ROWS` samples. exact: points and heads in float64,
        so that writing them again gives the very same bits.
        """
        rows = range(len(self)) if rows is None else rows
        for start in range(0, len(rows), STREAM_ROWS):
            part, file = rows[start : start + STREAM_ROWS], self._open()
            yield from self._samples(part, {a: file.label(a, part, exact) for a in file.labels}, whole=True)

    def _samples(self, rows: Sequence[int], labels: dict[str, np.ndarray], whole: bool = False) -> list[Sample]:
        """labels: of these rows. whole: with the label image, whatever was asked for."""
        images = self.images(rows)
        masks: Sequence[bytes | None] = [None] * len(rows)
        if "segmentation" in (self.fields if whole else self._wanted):
            masks = self.segmentations(rows)
        return [
            Sample(
                image=image,
                segmentation=mask,
                name=f"row {row}",
                sequence=self._sequence_of(row),
                **{name: _plain(values[i]) for name, values in labels.items() if not is_absent(name, values[i])},
            )
            for i, (row, image, mask) in enumerate(zip(rows, images, masks))
        ]

    def _sequence_of(self, row: int) -> str | None:
        if self.sequence_starts is None:
            return None
        return str(int(np.searchsorted(self.sequence_starts, row, side="right")) - 1)

    def _open(self) -> Samples:
        """The file, opened by this very process: a handle that a fork brought along shares its position."""
        if self._file is None or self._process != os.getpid():
            self.close()
            self._file, self._process = open_samples(self.path), os.getpid()
        return self._file


@lru_cache(maxsize=2)
def opened(path: Path) -> Hdf5PoseDataset:
    """For images and streams, once per process."""
    return Hdf5PoseDataset(path, labels=())


def _plain(value: np.ndarray) -> Any:
    """Flags and numbers of persons as Python's own."""
    return value.item() if value.ndim == 0 else value
