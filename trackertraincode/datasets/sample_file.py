"""An open file of samples: which HDF5 data sets mean what, and their rows as checked arrays. Known names decide.

    NAME.h5 --SampleFile--> .label(name, rows): (n, ...) float32, bool or int64    .images(rows)    .starts    .source

What a file can get wrong is an error here, for all tools alike. Nothing of another file is ever read through it.
"""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from trackertraincode.datasets import dshdf5, hdf5_images
from trackertraincode.datasets.mapped import MappedRows, map_file
from trackertraincode.errors import SampleFormatError
from trackertraincode.sample.fields import SEQUENCE_STARTS, Kind
from trackertraincode.sample.moving import CENTRE_COUNTED, from_centres
from trackertraincode.sample.sample import BY_ATTRIBUTE, FIELDS, LABELS, LEGACY_NAMES

DEFAULT_FACE_MODEL = "bfm_noneck_v3"  # of coefficients without the attribute
QUATERNION_TOLERANCE = 0.01  # on the norm; half precision files are off by 0.001
CHECKED_ROWS = 1 << 16  # that are looked at together
NO_INDEX = -1  # stored for a missing number of the person
LARGEST_INDEX = 2**63 - 1  # of int64

Rows = Sequence[int] | np.ndarray


class SampleFile:
    """A context manager. Opening finds and checks the images; labels are checked when they are asked for."""

    def __init__(self, path: Path) -> None:
        """Raises SampleFormatError when the file can't be opened or has no images."""
        self.path = path
        self._file = dshdf5.open_file(path)
        self._mapped: dict[str, MappedRows | None] = {}
        try:
            self._names = dshdf5.names_in(path, self._file)
            self._datasets = self._find()
            self._count = len(self._datasets["image"])
            self._starts_stored = dshdf5.open_dataset(path, self._file, SEQUENCE_STARTS)
            self._bytes, self._raw = map_file(path), path.open("rb", buffering=0)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> "SampleFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return self._count

    def close(self) -> None:
        """Close the file."""
        self._mapped, self._bytes = {}, self._bytes[:0].copy()
        self._raw.close()
        self._file.close()

    def _find(self) -> dict[str, h5py.Dataset]:
        """Data sets by attribute, images included. Names that the format doesn't know are left alone."""
        found: dict[str, h5py.Dataset] = {}
        for name in self._names:
            field = FIELDS.get(LEGACY_NAMES.get(name, name))
            dataset = None if field is None else dshdf5.open_dataset(self.path, self._file, name)
            if field is None or dataset is None:
                continue
            if field.attribute in found:
                both = f"'{dshdf5.name_of(found[field.attribute])}' and '{name}'"
                raise SampleFormatError(f"{self.path}: fields {both} mean the same; keep one of them.")
            found[field.attribute] = dataset
        if "image" not in found:
            known = ", ".join(self._names) or "none at all"
            raise SampleFormatError(f"{self.path}: no field 'images' (there are: {known}); convert the archive again.")
        images = found["image"]
        if images.ndim != 1:
            raise SampleFormatError(
                f"{self.path}: field '{dshdf5.name_of(images)}' has shape {images.shape}, expected (N,), one encoded "
                "image per row; convert the archive again."
            )
        for attribute in ("image", "segmentation"):
            if attribute in found:
                dshdf5.check_sizes(self.path, found[attribute])
                hdf5_images.image_storage(found[attribute])  # a damaged attribute says so here, once
        return found

    def mapped(self, attribute: str) -> MappedRows | None:
        """Rows of a label as they are stored, or references to images, for all processes; None where HDF5 must read them."""
        if attribute not in self._mapped:
            dataset = self._datasets[attribute]
            if attribute in LABELS:
                plain = dataset.dtype.kind in "fiu" and not dshdf5.is_array_buffer(dataset)
            else:
                plain = hdf5_images.image_storage(dataset) == hdf5_images.IMAGE_BUFFER
            self._mapped[attribute] = dshdf5.map_dataset(self.path, self._bytes, dataset) if plain else None
        return self._mapped[attribute]

    def shares(self, attribute: str) -> bool:
        """Whether rows of a label come from the file's pages, which all processes share, so that nobody need keep them."""
        return self.mapped(attribute) is not None

    @property
    def fields(self) -> tuple[str, ...]:
        """Attributes that the file has, images included."""
        return tuple(self._datasets)

    @property
    def labels(self) -> tuple[str, ...]:
        """Attributes that are arrays of numbers."""
        return tuple(attribute for attribute in self._datasets if attribute in LABELS)

    @cached_property
    def unknown(self) -> tuple[str, ...]:
        """What is in the file without being part of the format."""
        return tuple(n for n in self._names if n != SEQUENCE_STARTS and LEGACY_NAMES.get(n, n) not in FIELDS)

    @cached_property
    def face_model(self) -> str:
        """Name of the model that the file's coefficients belong to."""
        stated = dshdf5.text_attribute(self._datasets["shape"], "face_model") if "shape" in self._datasets else ""
        return stated or DEFAULT_FACE_MODEL

    @cached_property
    def source(self) -> dict[str, Any]:
        """Provenance of a new file; the text as `description` where it isn't a JSON object, nothing for old files."""
        text = dshdf5.text_attribute(self._file, "source")
        try:
            content = json.loads(text) if text else {}
        except (ValueError, RecursionError):
            content = None
        return content if isinstance(content, dict) else {"description": text}

    @cached_property
    def starts(self) -> np.ndarray | None:
        """(S + 1,) int64 rows where sequences start, the number of rows last; None without sequences.

        Raises SampleFormatError when they don't rise from 0 to the number of rows.
        """
        stored = self._starts_stored
        if stored is None and SEQUENCE_STARTS not in self._names:
            return None
        starts, found = np.empty(0, np.int64), "no data set"
        if stored is not None:
            found = f"{stored.dtype} {stored.shape}"
            if stored.ndim == 1 and stored.dtype.kind in "iu":
                dshdf5.check_sizes(self.path, stored)
                starts = dshdf5.read_slice(self.path, stored, 0, len(stored)).astype(np.int64)
                found = f"{starts[:3].tolist()} … {starts[-1:].tolist()}"
        if len(starts) < 1 or starts[0] != 0 or starts[-1] != len(self) or (np.diff(starts) < 0).any():
            raise SampleFormatError(
                f"{self.path}: field '{SEQUENCE_STARTS}' must be whole numbers that rise from 0 to the number of "
                f"rows, {len(self)}; found {found}. Convert the archive again."
            )
        return starts

    def name(self, attribute: str) -> str:
        """HDF5 name of a field of the file."""
        return dshdf5.name_of(self._datasets[attribute])

    def layout(self, attribute: str) -> str:
        """In words: shape and type of a label, storage of images."""
        dataset = self._datasets[attribute]
        if attribute not in LABELS:
            return hdf5_images.image_storage(dataset)
        return f"{' × '.join(str(n) for n in LABELS[attribute].shape)} {dataset.dtype}".strip()

    def check(self, attribute: str) -> None:
        """Raises SampleFormatError when a field's shape or type isn't that of the format for this many images."""
        dataset, field = self._datasets[attribute], FIELDS[BY_ATTRIBUTE[attribute]]
        bare = attribute not in LABELS or dshdf5.is_array_buffer(dataset)  # one object per row
        expected = (len(self),) if bare else (len(self), *field.shape)
        if bare and dataset.ndim == 1 and dataset.shape != expected:
            raise SampleFormatError(
                f"{self.path}: {self.name(attribute)}: {len(dataset)} rows, expected {len(self)}; convert the archive again."
            )
        if dataset.shape != expected:
            raise SampleFormatError(
                f"{self.path}: field '{self.name(attribute)}' has shape {dataset.shape}, expected {expected} "
                f"({len(self)} images); convert the archive again."
            )
        if bare:
            dshdf5.check_sizes(self.path, dataset)
        elif dataset.dtype.kind not in "fiub":
            raise SampleFormatError(
                f"{self.path}: field '{self.name(attribute)}' has type {dataset.dtype}, expected {field.dtype} "
                "numbers; convert the archive again."
            )

    def raw(self, attribute: str, rows: Rows | None = None, exact: bool = False) -> np.ndarray:
        """(n, ...): rows (None: all) of a label that `check` found right, as float32, bool or int64; values aren't looked at.

        They count from the image's corner. exact: in float64 where that moves them, so that the writer gives back the
        very same bits. Raises SampleFormatError when the file can't be read there.
        """
        values = self._stored(attribute, range(len(self)) if rows is None else rows)
        if exact and LABELS[attribute].kind in CENTRE_COUNTED:
            values = values.astype(np.float64)
        return from_centres({attribute: values})[attribute]

    def _stored(self, attribute: str, rows: Rows) -> np.ndarray:
        """As the file counts, (n, ...) float32, bool or int64."""
        field, dataset, mapped = LABELS[attribute], self._datasets[attribute], self.mapped(attribute)
        kind = {Kind.FLAG: np.bool_, Kind.INDEX: np.int64}.get(field.kind, np.float32)
        if mapped is not None and not isinstance(rows, range):
            return mapped[np.asarray(rows, dtype=np.int64)].astype(kind, copy=False)
        if not dshdf5.is_array_buffer(dataset):
            if isinstance(rows, range) and rows.step == 1:
                return dshdf5.read_slice(self.path, dataset, rows.start, rows.stop).astype(kind)
            return np.asarray(dshdf5.read_rows(self.path, dataset, rows)).astype(kind).reshape(len(rows), *field.shape)
        values: np.ndarray = np.zeros((len(rows), *field.shape), kind)
        for place, (row, record) in enumerate(zip(rows, dshdf5.read_rows(self.path, dataset, rows))):
            value = hdf5_images.decode_array_record(self.path, self.name(attribute), int(row), record)
            if value.shape != field.shape:
                raise SampleFormatError(
                    f"{self.path}: field '{self.name(attribute)}', row {row} has shape {value.shape}, expected "
                    f"{field.shape}; convert the archive again."
                )
            values[place] = value
        return values

    def label(self, attribute: str, rows: Rows | None = None, exact: bool = False) -> np.ndarray:
        """(n, ...) as `raw`; rotations are checked, and those that half precision rounded are made unit again.

        Raises SampleFormatError when a quaternion isn't unit; rows without rotation are NaN.
        """
        values = self.raw(attribute, rows, exact)
        if LABELS[attribute].kind is not Kind.ROTATION:
            return values
        norms = np.linalg.norm(values.astype(np.float64), axis=1)
        wrong = np.flatnonzero(bad_quaternions(values))
        if len(wrong):
            row = wrong[0] if rows is None else rows[wrong[0]]
            raise SampleFormatError(
                f"{self.path}: field '{self.name(attribute)}', row {row} (of {len(wrong)} bad rows) has norm "
                f"{norms[wrong[0]]:.3f}, expected 1. Quaternions are unit (i, j, k, w); convert this file again with "
                "the current `ttc convert`."
            )
        rounded = np.abs(norms - 1.0) > 1e-6  # NaN compares false; others stay exactly as they were stored
        values[rounded] = (values[rounded] / norms[rounded, None]).astype(np.float32)
        return values

    def check_rotations(self) -> None:
        """Raises SampleFormatError when a quaternion isn't unit; holds a part of them in memory at once."""
        for attribute in (a for a in self.labels if LABELS[a].kind is Kind.ROTATION):
            for start in range(0, len(self), CHECKED_ROWS):
                self.label(attribute, range(start, min(start + CHECKED_ROWS, len(self))))

    def images(self, rows: Rows, attribute: str = "image") -> list[bytes]:
        """Encoded images, or with "segmentation" label images, of the given rows, in their order.

        Raises SampleFormatError naming file, field and row when one is missing or no JPEG or PNG.
        """
        references = self.mapped(attribute)
        if references is None:
            return hdf5_images.read_images(self.path, self._datasets[attribute], rows)
        wanted = np.asarray(rows, dtype=np.int64)
        return hdf5_images.read_stored_images(
            self.path, self.name(attribute), self._raw, self._bytes, references, wanted
        )

    def image_files(self) -> list[Path]:
        """The rows' images that are there, in their order; none where the images are in this file."""
        return hdf5_images.image_files(self.path, self._datasets["image"])


def bad_quaternions(values: np.ndarray) -> np.ndarray:
    """(n, 4) -> (n,) bool: neither of unit length nor all NaN."""
    norms = np.linalg.norm(values.astype(np.float64), axis=1)
    return ~((np.abs(norms - 1.0) < QUATERNION_TOLERANCE) | np.isnan(values).all(1))


def is_absent(attribute: str, value: np.ndarray) -> bool:
    """Whether one row (...) of a label says that this sample lacks it."""
    return bool(absent_rows(attribute, value[None])[0])


def absent_rows(attribute: str, values: np.ndarray) -> np.ndarray:
    """(n, ...) -> (n,) bool: which rows of a label say that their sample lacks it."""
    if LABELS[attribute].kind is Kind.INDEX:
        return values == NO_INDEX
    if values.dtype.kind != "f":
        return np.zeros(len(values), bool)
    return np.isnan(values).reshape(len(values), -1).all(1)
