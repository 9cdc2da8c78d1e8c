"""Rows into data sets of a new HDF5 file, chunk by chunk, through a file in which no write fails at a bad moment."""

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

CHUNK_ROWS = 256


class PatientFile(io.FileIO):
    """A new file for HDF5, which crashes where a write fails, at the latest when it is closed: here none fails.

    The first error, Ctrl-C during a write included, waits for `check`; what is written after it is kept in memory.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "x+")
        self._error: BaseException | None = None
        self._unwritten: list[tuple[int, bytes]] = []  # place, data

    def check(self) -> None:
        """Raise what a write has raised."""
        if self._error is not None:
            raise self._error

    def write(self, data: Any) -> int:
        place, left = self.tell(), memoryview(data).cast("B")
        whole = left
        try:
            while left and self._error is None:
                left = left[super().write(left) :]
        except BaseException as error:
            self._error = error
        if self._error is not None:
            self._unwritten.append((place, bytes(whole)))
        return len(whole)

    def readinto(self, buffer: Any) -> int:
        start, view = self.tell(), memoryview(buffer).cast("B")
        super().readinto(view)
        for place, data in self._unwritten:
            first, last = max(start, place), min(start + len(view), place + len(data))
            if first < last:
                view[first - start : last - start] = data[first - place : last - place]
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size) if self._error is None else 0
        except BaseException as error:
            self._error = error
            return 0


class RowAppender:
    """Appends rows to one chunked, growing data set through a buffer of `CHUNK_ROWS` rows."""

    def __init__(self, file: h5py.File, name: str, shape: tuple[int, ...], dtype: Any, compress: bool) -> None:
        variable = h5py.check_vlen_dtype(np.dtype(dtype)) if not isinstance(dtype, str) else None
        options: dict[str, Any] = {"compression": "gzip"} if compress and variable is None else {}
        self.dataset = file.create_dataset(
            name, (0, *shape), maxshape=(None, *shape), chunks=(CHUNK_ROWS, *shape), dtype=dtype, **options
        )
        self._variable = variable is not None
        self._rows: list[np.ndarray] = []

    def append(self, row: np.ndarray) -> None:
        """row: (...) as the data set has them, or of any length (n,) where that varies."""
        self._rows.append(row)
        if len(self._rows) == CHUNK_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write what is buffered."""
        if not self._rows:
            return
        start = len(self.dataset)
        self.dataset.resize(start + len(self._rows), axis=0)
        if self._variable:
            self._write_variable(start)
        else:
            self.dataset[start:] = np.stack(self._rows)
        self._rows = []

    def _write_variable(self, start: int) -> None:
        """Rows of different lengths at once; indexing would take rows of equal length for one table."""
        rows = np.empty(len(self._rows), dtype=self.dataset.dtype)
        for index, row in enumerate(self._rows):
            rows[index] = row
        place = self.dataset.id.get_space()
        place.select_hyperslab((start,), rows.shape)
        self.dataset.id.write(h5py.h5s.create_simple(rows.shape), place, rows, h5py.h5t.py_create(self.dataset.dtype))


def write_array(file: h5py.File, name: str, values: Iterable[int]) -> None:
    """A small integer data set, whole."""
    file.create_dataset(name, data=np.asarray(list(values), dtype=np.int64))
