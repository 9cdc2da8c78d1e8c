"""Samples to files of the sample format, as a stream: Sample --write--> NAME.tmp --close--> NAME."""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np

from trackertraincode.datasets import hdf5_images, hdf5_writing
from trackertraincode.datasets.sample_file import NO_INDEX
from trackertraincode.errors import SampleFormatError
from trackertraincode.files import whole_file
from trackertraincode.sample.fields import SEQUENCE_STARTS, Kind
from trackertraincode.sample.images import encode_jpeg, encode_png, sniff
from trackertraincode.sample.moving import to_centres
from trackertraincode.sample.sample import BY_ATTRIBUTE, FIELDS, Sample

FORMAT_VERSION = 2  # 1: files of the published tools, which carry no version


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
        source: what made the file; stored as JSON when the file is closed, so that it may change until then.
        face_model: of `shape` coefficients, required with them.
        optional: attributes that some samples lack; neither images nor flags, which have no value for "absent".
        """
        never = (Kind.IMAGE, Kind.SEGMENTATION, Kind.FLAG)
        if any(FIELDS[BY_ATTRIBUTE[attribute]].kind in never for attribute in optional):
            raise ValueError(f"optional={tuple(optional)}: images and flags can't be absent in some rows only")
        self.path = Path(path)
        self.count = 0
        self._source = source
        self._face_model = face_model
        self._optional = tuple(optional)
        self._compress = compress
        self._columns: dict[str, hdf5_writing.RowAppender] = {}
        self._starts: list[int] = []
        self._last_sequence: str | None = None
        with ExitStack() as whole:
            self._disk = whole.enter_context(hdf5_writing.PatientFile(whole.enter_context(whole_file(self.path))))
            self._file = whole.enter_context(h5py.File(self._disk, "w"))
            self._file.attrs["format_version"] = FORMAT_VERSION
            self._whole = whole.pop_all()

    def __enter__(self) -> "PoseWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
            return
        self._whole.__exit__(kind, error, trace)

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
        if self.count and (sample.sequence is None) != (not self._starts):
            raise SampleFormatError(
                f"{self.path}: sample '{sample.name}' is {'in no' if self._starts else 'in a'} sequence, unlike the "
                "samples before it; either all samples of a file are in sequences or none is."
            )
        for attribute, row in rows.items():
            self._columns[attribute].append(row)
        self._disk.check()
        if sample.sequence is not None and (sample.sequence != self._last_sequence or self.count == 0):
            self._starts.append(self.count)
            self._last_sequence = sample.sequence
        self.count += 1

    def close(self) -> None:
        """Finish the file and give it its name."""
        with self._whole:
            for column in self._columns.values():
                column.flush()
            if self._starts:
                hdf5_writing.write_array(self._file, SEQUENCE_STARTS, [*self._starts, self.count])
            self._file.attrs["source"] = json.dumps(self._source)
            self._file.close()
            self._disk.check()

    def _create_columns(self, sample: Sample) -> None:
        for name, field in FIELDS.items():
            if getattr(sample, field.attribute) is None and field.attribute not in self._optional:
                continue
            encoded = field.kind in (Kind.IMAGE, Kind.SEGMENTATION)
            dtype = h5py.vlen_dtype(np.uint8) if encoded else np.dtype(field.dtype)
            column = hdf5_writing.RowAppender(self._file, name, field.shape, dtype, self._compress)
            if field.category is not None:
                column.dataset.attrs["category"] = field.category
            if encoded:
                column.dataset.attrs["storage"] = hdf5_images.IMAGE_BUFFER
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
            return np.full(field.shape, NO_INDEX if field.kind is Kind.INDEX else np.nan, field.dtype)
        value = to_centres({attribute: value})[attribute]
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
    """Files as they are; arrays as JPEG (images) or PNG (label images)."""
    if isinstance(value, np.ndarray):
        value = encode_jpeg(value) if kind is Kind.IMAGE else encode_png(value)
    if value is None or sniff(value) is None:
        raise SampleFormatError(f"{path}: sample '{name}' has no {kind.value} that is a JPEG or PNG file.")
    return np.frombuffer(value, np.uint8)
