"""Files of pose samples: read them row by row or in batches, write them as a stream.

    Sample --PoseWriter.write--> NAME.tmp --close--> NAME.h5 --Hdf5PoseDataset--> labels in memory, pictures by row

Field names, shapes and types are those of `sample.fields.FIELDS`.
"""

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, overload

import h5py
import numpy as np

from trackertraincode.datasets import dshdf5
from trackertraincode.errors import SampleFormatError
from trackertraincode.sample.fields import BY_ATTRIBUTE, FIELDS, LABELS, LEGACY_NAMES, SEQUENCE_STARTS, Kind
from trackertraincode.sample.images import encode_jpeg, encode_png, sniff
from trackertraincode.sample.sample import Sample

FORMAT_VERSION = 2  # 1: files of the published tools, which carry no version
DEFAULT_FACE_MODEL = "bfm_noneck_v3"  # of coefficients without the attribute
QUATERNION_TOLERANCE = 0.01  # on the norm; half precision files are off by 0.001


class FieldCategory:
    """Values of the HDF5 attribute `category`."""

    general = ""
    quat = "q"
    xys = "xys"
    roi = "roi"
    points = "pts"
    image = "img"
    semseg = "seg"


class Hdf5PoseDataset:
    """All samples of one file. Labels are read once, into memory; pictures when they are asked for.

    Works with `torch.utils.data`: it can be pickled, and each process opens the file for itself.
    """

    def __init__(self, path: str | Path, labels: Sequence[str] | None = None) -> None:
        """
        labels: attributes to read (`sample.fields.LABELS`), None for all that the file has.
        Raises SampleFormatError when the file is missing, damaged, or breaks the format.
        """
        self.path = Path(path)
        self._file: h5py.File | None = None
        self.labels: dict[str, np.ndarray] = {}  # attribute -> (N, ...) float32, bool or int64
        self.sequence_starts: np.ndarray | None = None  # (S + 1,)
        self.face_model = DEFAULT_FACE_MODEL
        with dshdf5.open_file(self.path) as file:
            self._names = _fields_of(self.path, file)
            if "image" not in self._names:
                raise SampleFormatError(f"{self.path}: no data set 'images'; convert the archive again.")
            self._count = len(file[self._names["image"]])
            self.source = _source_of(file)
            for attribute, name in self._names.items():
                if attribute in LABELS and (labels is None or attribute in labels):
                    self.labels[attribute] = _read_label(self.path, file[name], attribute, self._count)
            if "shape" in self._names:
                self.face_model = dshdf5.text_attribute(file[self._names["shape"]], "face_model") or DEFAULT_FACE_MODEL
            if SEQUENCE_STARTS in file:
                self.sequence_starts = _check_starts(self.path, file[SEQUENCE_STARTS][...], self._count)

    def __len__(self) -> int:
        return self._count

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None}

    def __enter__(self) -> "Hdf5PoseDataset":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; it opens again when a picture is asked for."""
        if self._file is not None:
            self._file.close()
            self._file = None

    @property
    def fields(self) -> tuple[str, ...]:
        """Attributes that the file has, pictures included."""
        return tuple(self._names)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        if isinstance(index, slice):
            return self.samples(range(*index.indices(len(self))))
        if not -len(self) <= index < len(self):
            raise IndexError(f"row {index} of {self.path}, which has {len(self)} rows")
        return self.samples([index % len(self)])[0]

    def __getitems__(self, rows: Sequence[int]) -> list[Sample]:
        return self.samples(rows)

    def __iter__(self) -> Iterator[Sample]:
        for start in range(0, len(self), dshdf5.CHUNK_ROWS):
            yield from self.samples(range(start, min(start + dshdf5.CHUNK_ROWS, len(self))))

    def images(self, rows: Sequence[int] | np.ndarray) -> list[bytes]:
        """Encoded pictures of the given rows, in their order."""
        return dshdf5.read_images(self.path, self._open()[self._names["image"]], rows)

    def segmentations(self, rows: Sequence[int] | np.ndarray) -> list[bytes]:
        """Label images as PNG files."""
        return dshdf5.read_images(self.path, self._open()[self._names["segmentation"]], rows)

    def batch(self, rows: Sequence[int] | np.ndarray) -> tuple[list[bytes], dict[str, np.ndarray]]:
        """Pictures and labels of the given rows; labels by attribute, each (B, ...)."""
        rows = np.asarray(rows, dtype=np.int64)
        return self.images(rows), {name: values[rows] for name, values in self.labels.items()}

    def samples(self, rows: Sequence[int]) -> list[Sample]:
        """The given rows as samples. Absent labels are None."""
        images = self.images(rows)
        masks: Sequence[bytes | None] = [None] * len(rows)
        if "segmentation" in self._names:
            masks = self.segmentations(rows)
        return [
            Sample(image=image, segmentation=mask, name=f"row {row}", sequence=self._sequence_of(row), **self._row(row))
            for row, image, mask in zip(rows, images, masks)
        ]

    def _row(self, row: int) -> dict[str, Any]:
        return {name: values[row] for name, values in self.labels.items() if not _is_absent(values[row])}

    def _sequence_of(self, row: int) -> str | None:
        if self.sequence_starts is None:
            return None
        return str(int(np.searchsorted(self.sequence_starts, row, side="right")) - 1)

    def _open(self) -> h5py.File:
        if self._file is None:
            self._file = dshdf5.open_file(self.path)
        return self._file


def _is_absent(value: np.ndarray) -> bool:
    return value.dtype.kind == "f" and bool(np.isnan(value).all())


def _source_of(file: h5py.File) -> dict[str, Any]:
    text = dshdf5.text_attribute(file, "source")
    try:
        return dict(json.loads(text)) if text else {}
    except (ValueError, TypeError):
        return {"description": text}


def _fields_of(path: Path, file: h5py.File) -> dict[str, str]:
    """attribute -> data set name. A known name decides; else the category does, where it is unambiguous."""
    found: dict[str, str] = {}
    for name in file:
        field = FIELDS.get(LEGACY_NAMES.get(name, name))
        if field is None or not isinstance(file[name], h5py.Dataset):
            continue
        if field.attribute in found:
            both = f"'{found[field.attribute]}' and '{name}'"
            raise SampleFormatError(f"{path}: data sets {both} mean the same; keep one of them.")
        found[field.attribute] = name
    return found


def _read_label(path: Path, dataset: h5py.Dataset, attribute: str, count: int) -> np.ndarray:
    """The whole label as float32 (numbers), bool (flags) or int64 (indices), checked."""
    field = LABELS[attribute]
    name = dataset.name.lstrip("/")
    if dataset.shape != (count, *field.shape):
        raise SampleFormatError(
            f"{path}: data set '{name}' has shape {dataset.shape}, expected {(count, *field.shape)} "
            f"({count} pictures); convert the archive again."
        )
    if dataset.dtype.kind not in "fiub":
        raise SampleFormatError(f"{path}: data set '{name}' has type {dataset.dtype}, expected {field.dtype} numbers.")
    kind = {Kind.FLAG: np.bool_, Kind.INDEX: np.int64}.get(field.kind, np.float32)
    values = dataset[...].astype(kind)
    if field.kind is Kind.ROTATION:
        _check_quaternions(path, name, values)
    return values


def _check_quaternions(path: Path, name: str, values: np.ndarray) -> None:
    """Unit length, or all NaN for a row without the label; half precision rounding is taken out."""
    norms = np.linalg.norm(values, axis=1)
    wrong = np.flatnonzero(~((np.abs(norms - 1.0) < QUATERNION_TOLERANCE) | np.isnan(values).all(1)))
    if len(wrong):
        raise SampleFormatError(
            f"{path}: data set '{name}', row {wrong[0]} (of {len(wrong)} bad rows) has norm {norms[wrong[0]]:.3f}, "
            "expected 1. Quaternions are unit (i, j, k, w); convert this file again with the current "
            "scripts/dsprocess_*.py."
        )
    if np.abs(norms - 1.0).max(initial=0.0, where=np.isfinite(norms)) > 1e-6:
        values /= norms[:, None]


def _check_starts(path: Path, starts: np.ndarray, count: int) -> np.ndarray:
    starts = np.asarray(starts, dtype=np.int64)
    if len(starts) < 1 or starts[0] != 0 or starts[-1] != count or (np.diff(starts) < 0).any():
        raise SampleFormatError(
            f"{path}: '{SEQUENCE_STARTS}' must rise from 0 to the number of rows, {count}; found {starts[:3]}… to "
            f"{starts[-1:]}. Convert the archive again."
        )
    return starts


class PoseWriter:
    """Writes samples, one after the other, to NAME.tmp, and renames it when it is complete.

        with PoseWriter(path, source={"converter": "dsprocess_x.py"}) as writer:
            for sample in samples:
                writer.write(sample)

    Which fields a file has is decided by its first sample, plus `optional` ones whose missing rows become NaN. Memory
    doesn't grow with the number of samples. After an exception there is neither NAME nor NAME.tmp.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        source: dict[str, Any],
        face_model: str | None = None,
        optional: Sequence[str] = (),
        compress: bool = False,
    ) -> None:
        """
        source: what made the file; stored as JSON. face_model: of `shape` coefficients, required with them.
        optional: attributes that some samples lack.
        """
        self.path = Path(path)
        self.count = 0
        self._temporary = self.path.with_name(self.path.name + ".tmp")
        self._face_model = face_model
        self._optional = tuple(optional)
        self._compress = compress
        self._columns: dict[str, dshdf5.RowAppender] = {}
        self._starts: list[int] = []
        self._last_sequence: str | None = None
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = h5py.File(self._temporary, "w")
        self._file.attrs["format_version"] = FORMAT_VERSION
        self._file.attrs["source"] = json.dumps(source)

    def __enter__(self) -> "PoseWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def write(self, sample: Sample) -> None:
        """Append one sample. Raises SampleFormatError when its fields or shapes aren't those of the file."""
        if self.count == 0:
            self._create_columns(sample)
        rows = {attribute: self._row_of(sample, attribute) for attribute in self._columns}
        extra = [a for a in BY_ATTRIBUTE if a not in self._columns and getattr(sample, a) is not None]
        if extra:
            raise SampleFormatError(
                f"{self.path}: sample '{sample.name}' has {extra[0]}, which the samples before it lack; "
                "a label that only some samples have must be named as optional."
            )
        for attribute, row in rows.items():
            self._columns[attribute].append(row)
        if sample.sequence is not None and (sample.sequence != self._last_sequence or self.count == 0):
            self._starts.append(self.count)
            self._last_sequence = sample.sequence
        self.count += 1

    def close(self) -> None:
        """Finish the file and give it its name."""
        try:
            for column in self._columns.values():
                column.flush()
            if self._starts:
                dshdf5.write_array(self._file, SEQUENCE_STARTS, [*self._starts, self.count])
            self._file.close()
            self._temporary.replace(self.path)
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        """Throw away what was written."""
        with contextlib.suppress(Exception):  # closing flushes, which fails again on a full disk
            self._file.close()
        self._temporary.unlink(missing_ok=True)

    def _create_columns(self, sample: Sample) -> None:
        for name, field in FIELDS.items():
            if getattr(sample, field.attribute) is None and field.attribute not in self._optional:
                continue
            encoded = field.kind in (Kind.IMAGE, Kind.SEGMENTATION)
            dtype = h5py.vlen_dtype(np.uint8) if encoded else np.dtype(field.dtype)
            column = dshdf5.RowAppender(self._file, name, field.shape, dtype, self._compress)
            if field.category is not None:
                column.dataset.attrs["category"] = field.category
            if encoded:
                column.dataset.attrs["storage"] = dshdf5.IMAGE_BUFFER
                column.dataset.attrs["lossy"] = field.kind is Kind.IMAGE and _is_lossy(sample.image)
            if field.kind is Kind.COEFFICIENTS:
                if self._face_model is None:
                    raise SampleFormatError(f"{self.path}: shape coefficients need the name of their face model.")
                column.dataset.attrs["face_model"] = self._face_model
            self._columns[field.attribute] = column

    def _row_of(self, sample: Sample, attribute: str) -> np.ndarray:
        field = FIELDS[BY_ATTRIBUTE[attribute]]
        value = getattr(sample, attribute)
        if field.kind in (Kind.IMAGE, Kind.SEGMENTATION):
            return _encoded(value, self.path, sample.name, field.kind)
        if value is None and attribute in self._optional:
            return np.full(field.shape, -1 if field.kind is Kind.INDEX else np.nan, field.dtype)
        row = np.asarray(value, dtype=object if value is None else field.dtype)
        if value is None or row.shape != field.shape:
            found = "nothing" if value is None else f"shape {row.shape}"
            raise SampleFormatError(
                f"{self.path}: sample '{sample.name}' has {found} for {attribute}, expected shape {field.shape}."
            )
        return row


def _is_lossy(image: bytes | np.ndarray) -> bool:
    return not isinstance(image, bytes) or sniff(image) == "jpeg"


def _encoded(value: bytes | np.ndarray | None, path: Path, name: str, kind: Kind) -> np.ndarray:
    """Files as they are; arrays as JPEG (pictures) or PNG (label images)."""
    if isinstance(value, np.ndarray):
        value = encode_jpeg(value) if kind is Kind.IMAGE else encode_png(value)
    if value is None or sniff(value) is None:
        raise SampleFormatError(f"{path}: sample '{name}' has no {kind.value} that is a JPEG or PNG file.")
    return np.frombuffer(value, np.uint8)
