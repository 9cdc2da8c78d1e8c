"""Rows of HDF5 data sets straight from the file's pages, which all processes share: nothing is copied at opening.

    data set without filters --map_rows--> where each block of rows begins --MappedRows[rows]--> (n, ...) as they are stored

HDF5 says where the blocks are; everything that these places claim is compared with the file's size first.
"""

import mmap
from pathlib import Path

import h5py
import numpy as np

from trackertraincode.datasets.heap import REFERENCE, places_of_lengths

LARGEST = 1 << 62  # bytes of a file; places that HDF5 doesn't know are beyond


class MappedRows:
    """Rows (N, ...) of one data set, copied out of a memory map when they are asked for."""

    def __init__(self, items: np.ndarray, starts: np.ndarray, per_block: int, shape: tuple[int, ...]) -> None:
        """
        items: (bytes of the file / size of one item,); starts: (blocks,) places in it; per_block: rows; shape: (N, ...).
        """
        self._items, self._starts, self._per_block, self.shape = items, starts, per_block, shape
        self._width = int(np.prod(shape[1:], dtype=np.int64))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """(n,) rows, each at least 0 -> (n, ...)."""
        block, inside = np.divmod(rows, self._per_block)
        first = self._starts[block] + inside * self._width
        return self._items[first[:, None] + np.arange(self._width)].reshape(len(rows), *self.shape[1:])


def map_file(path: Path) -> np.ndarray:
    """All bytes of a file, (n,) uint8, read-only. Rows are asked for in any order, so neighbours aren't read ahead."""
    if not path.stat().st_size:
        return np.empty(0, np.uint8)
    with path.open("rb") as file:
        pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if hasattr(mmap, "MADV_RANDOM"):
        pages.madvise(mmap.MADV_RANDOM)
    return np.frombuffer(pages, np.uint8)


def map_rows(data: np.ndarray, dataset: h5py.Dataset) -> MappedRows | None:
    """Rows of numbers, or of references to the heap as REFERENCE; None where only HDF5 can read them.

    data: all bytes (n,) of the file. HDF5 is needed for packed rows, rows that were never written, and other kinds of
    numbers.
    """
    dtype, plan = _stored_type(dataset), dataset.id.get_create_plist()
    if dtype is None or plan.get_nfilters() or not dataset.ndim or dataset.file.userblock_size:
        return None
    item, shape = dtype.itemsize, dataset.shape
    if dtype == REFERENCE:  # its items are bytes, wherever they begin
        item, dtype, shape = 1, np.dtype(np.uint8), (*shape, REFERENCE.itemsize)
    per_block = len(dataset) if dataset.chunks is None else dataset.chunks[0]
    places = _blocks(dataset, plan, per_block)
    length = per_block * item * int(np.prod(shape[1:], dtype=np.int64))
    if places is None or not length or ((places < 0) | (places > len(data) - length) | (places % item > 0)).any():
        return None  # where something is wrong, HDF5 says what
    return MappedRows(data[: len(data) // item * item].view(dtype), places // item, per_block, shape)


def _stored_type(dataset: h5py.Dataset) -> np.dtype | None:
    """Of numbers that NumPy knows bit by bit, or REFERENCE."""
    stored = dataset.id.get_type()
    if isinstance(stored, h5py.h5t.TypeVlenID) and places_of_lengths(stored) == {0: 1}:
        return REFERENCE
    dtype = dataset.dtype
    known = dtype.kind in "fiu" and dtype.names is None and h5py.h5t.py_create(dtype) == stored
    return dtype if known else None


def _blocks(dataset: h5py.Dataset, plan: h5py.h5p.PropDCID, per_block: int) -> np.ndarray | None:
    """(blocks,) int64 bytes where they begin; None where rows aren't all stored one after the other."""
    if dataset.chunks is None:
        place = dataset.id.get_offset() if plan.get_layout() == h5py.h5d.CONTIGUOUS else None
        return None if place is None or place >= LARGEST else np.array([place], np.int64)
    if dataset.chunks[1:] != dataset.shape[1:]:
        return None
    places = np.full(-(-len(dataset) // per_block), -1, np.int64)

    def note(chunk: h5py.h5d.StoreInfo) -> None:
        if chunk.chunk_offset[0] < len(dataset) and chunk.byte_offset < LARGEST:
            places[chunk.chunk_offset[0] // per_block] = chunk.byte_offset

    dataset.id.chunk_iter(note)
    return places
