"""Which data sets of an HDF5 file mean what, and their rows as checked arrays. Known names decide.

file --fields_of--> attribute -> data set name --check_label, read_label--> (n, ...) float32, bool or int64
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from trackertraincode.datasets import dshdf5
from trackertraincode.errors import SampleFormatError
from trackertraincode.sample.fields import SEQUENCE_STARTS, Kind
from trackertraincode.sample.moving import CENTRE_COUNTED, from_centres
from trackertraincode.sample.sample import FIELDS, LABELS, LEGACY_NAMES

DEFAULT_FACE_MODEL = "bfm_noneck_v3"  # of coefficients without the attribute
QUATERNION_TOLERANCE = 0.01  # on the norm; half precision files are off by 0.001
NO_INDEX = -1  # stored for a missing number of the person


def fields_of(path: Path, file: h5py.File) -> dict[str, str]:
    """attribute -> data set name, pictures included. Names that the format doesn't know are left alone.

    Raises SampleFormatError when there are no pictures or two data sets mean the same.
    """
    found: dict[str, str] = {}
    for name in file:
        field = FIELDS.get(LEGACY_NAMES.get(name, name))
        if field is None or not isinstance(file[name], h5py.Dataset):
            continue
        if field.attribute in found:
            both = f"'{found[field.attribute]}' and '{name}'"
            raise SampleFormatError(f"{path}: data sets {both} mean the same; keep one of them.")
        found[field.attribute] = name
    if "image" not in found:
        known = ", ".join(file) or "none at all"
        raise SampleFormatError(f"{path}: no data set 'images' (there are: {known}); convert the archive again.")
    if file[found["image"]].ndim != 1:
        raise SampleFormatError(
            f"{path}: data set '{found['image']}' has shape {file[found['image']].shape}, expected (N,), one encoded "
            "picture per row; convert the archive again."
        )
    return found


def check_label(path: Path, dataset: h5py.Dataset, attribute: str, count: int) -> None:
    """Raises SampleFormatError when a label's shape or type isn't that of the format for `count` pictures."""
    field = LABELS[attribute]
    name = dataset.name.lstrip("/")
    quantised = dshdf5.is_array_buffer(dataset)
    expected = (count,) if quantised else (count, *field.shape)
    if dataset.shape != expected:
        raise SampleFormatError(
            f"{path}: data set '{name}' has shape {dataset.shape}, expected {expected} "
            f"({count} pictures); convert the archive again."
        )
    if not quantised and dataset.dtype.kind not in "fiub":
        raise SampleFormatError(
            f"{path}: data set '{name}' has type {dataset.dtype}, expected {field.dtype} numbers; convert the archive "
            "again."
        )


def read_raw(
    path: Path, dataset: h5py.Dataset, attribute: str, rows: Sequence[int] | np.ndarray | None, exact: bool = False
) -> np.ndarray:
    """Rows (None: all) of a label whose layout is right, as float32, bool or int64; values aren't looked at.

    They count from the image's corner. exact: in float64 where that moves them, so that the writer gives back the
    very same bits. Raises SampleFormatError when the file can't be read there.
    """
    values = _stored(path, dataset, attribute, rows)
    if exact and LABELS[attribute].kind in CENTRE_COUNTED:
        values = values.astype(np.float64)
    return from_centres({attribute: values})[attribute]


def _stored(path: Path, dataset: h5py.Dataset, attribute: str, rows: Sequence[int] | np.ndarray | None) -> np.ndarray:
    """As the file counts, (n, ...) float32, bool or int64."""
    field = LABELS[attribute]
    name = dataset.name.lstrip("/")
    kind = {Kind.FLAG: np.bool_, Kind.INDEX: np.int64}.get(field.kind, np.float32)
    if dshdf5.is_array_buffer(dataset):
        numbers = np.arange(len(dataset)) if rows is None else np.asarray(rows, dtype=np.int64)
        values: np.ndarray = np.zeros((len(numbers), *field.shape), kind)
        for place, (row, record) in enumerate(zip(numbers, dshdf5.read_rows(path, dataset, numbers))):
            value = dshdf5.decode_array_record(path, name, int(row), record)
            if value.shape != field.shape:
                raise SampleFormatError(
                    f"{path}: data set '{name}', row {row} has shape {value.shape}, expected {field.shape}; convert "
                    "the archive again."
                )
            values[place] = value
        return values
    if rows is None:
        return dshdf5.read_slice(path, dataset, 0, len(dataset)).astype(kind)
    return np.asarray(dshdf5.read_rows(path, dataset, rows)).astype(kind).reshape(len(rows), *field.shape)


def read_label(
    path: Path,
    dataset: h5py.Dataset,
    attribute: str,
    rows: Sequence[int] | np.ndarray | None = None,
    exact: bool = False,
) -> np.ndarray:
    """As `read_raw`; rotations are checked, and those that half precision rounded are made unit again.

    Raises SampleFormatError when a quaternion isn't unit; rows without rotation are NaN.
    """
    values = read_raw(path, dataset, attribute, rows, exact)
    if LABELS[attribute].kind is not Kind.ROTATION:
        return values
    norms = np.linalg.norm(values.astype(np.float64), axis=1)
    wrong = np.flatnonzero(bad_quaternions(values))
    if len(wrong):
        row = wrong[0] if rows is None else rows[wrong[0]]
        raise SampleFormatError(
            f"{path}: data set '{dataset.name.lstrip('/')}', row {row} (of {len(wrong)} bad rows) has norm "
            f"{norms[wrong[0]]:.3f}, expected 1. Quaternions are unit (i, j, k, w); convert this file again with the "
            "current scripts/dsprocess_*.py."
        )
    rounded = np.abs(norms - 1.0) > 1e-6  # NaN compares false; others stay exactly as they were stored
    values[rounded] = (values[rounded] / norms[rounded, None]).astype(np.float32)
    return values


def bad_quaternions(values: np.ndarray) -> np.ndarray:
    """(n, 4) -> (n,) bool: neither of unit length nor all NaN."""
    norms = np.linalg.norm(values.astype(np.float64), axis=1)
    return ~((np.abs(norms - 1.0) < QUATERNION_TOLERANCE) | np.isnan(values).all(1))


def read_starts(path: Path, file: h5py.File, count: int) -> np.ndarray | None:
    """(S + 1,) int64 rows where sequences start, the number of rows last; None without sequences.

    Raises SampleFormatError when they don't rise from 0 to `count`.
    """
    if SEQUENCE_STARTS not in file:
        return None
    stored = file[SEQUENCE_STARTS]
    whole = stored.ndim == 1 and stored.dtype.kind in "iu"
    starts = np.asarray(stored[...], dtype=np.int64) if whole else np.empty(0, np.int64)
    if len(starts) < 1 or starts[0] != 0 or starts[-1] != count or (np.diff(starts) < 0).any():
        found = f"{starts[:3].tolist()} … {starts[-1:].tolist()}" if whole else f"{stored.dtype} {stored.shape}"
        raise SampleFormatError(
            f"{path}: data set '{SEQUENCE_STARTS}' must be whole numbers that rise from 0 to the number of rows, "
            f"{count}; found {found}. Convert the archive again."
        )
    return starts


def is_absent(attribute: str, value: np.ndarray) -> bool:
    """Whether one row of a label says that this sample lacks it."""
    if LABELS[attribute].kind is Kind.INDEX:
        return bool(value == NO_INDEX)
    return value.dtype.kind == "f" and bool(np.isnan(value).all())


def unknown_names(file: h5py.File) -> tuple[str, ...]:
    """What is in a file without being part of the format."""
    return tuple(n for n in file if n != SEQUENCE_STARTS and LEGACY_NAMES.get(n, n) not in FIELDS)


def face_model_of(file: h5py.File, names: dict[str, str]) -> str:
    """Name of the model that the file's coefficients belong to."""
    stated = dshdf5.text_attribute(file[names["shape"]], "face_model") if "shape" in names else ""
    return stated or DEFAULT_FACE_MODEL


def source_of(file: h5py.File) -> dict[str, Any]:
    """Provenance of a new file; the text as `description` where it isn't JSON, nothing for old files."""
    text = dshdf5.text_attribute(file, "source")
    try:
        return dict(json.loads(text)) if text else {}
    except (ValueError, TypeError):
        return {"description": text}
