"""Data sets, attributes and rows of HDF5 files that anybody may have written: the storage layer below samples.

    path --open_file--> file --open_dataset--> data set --read_rows, read_slice--> rows

Attribute spellings vary in the wild (bytes, str, "True"); all of them are read. Whatever is damaged is a SampleFormatError.
"""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from trackertraincode.datasets import heap
from trackertraincode.datasets.mapped import MappedRows, map_rows
from trackertraincode.errors import SampleFormatError

ARRAY_BUFFER = "varsize_array_buffer"
BLOCK_ROWS = 1 << 18  # of a table that isn't in chunks, read at once
DEFLATE_LIMIT = 1100  # by how much bytes can shrink at best
OTHER_KINDS = {  # suffix -> what to do with such a file where samples are expected
    ".onnx": "by its name a model: `ttc check-model` and `ttc evaluate` tell of it",
    ".ckpt": "by its name a checkpoint: `ttc evaluate` tells how good it is",
    ".zip": "by its name an archive: `ttc convert` makes samples of one",
    ".csv": "by its name a table: `ttc convert csv` makes samples of one",
}
UNWRITTEN = 1 << 16  # bytes of rows that may be claimed without having been written


def _opened(path: Path) -> h5py.File:
    """Without a lock where there is none to have: some network drives know none, and files are only replaced as a whole."""
    try:
        return h5py.File(path, "r")
    except OSError as error:
        if "lock" not in str(error):
            raise
    return h5py.File(path, "r", locking=False)


def open_file(path: Path) -> h5py.File:
    """Open for reading. Raises SampleFormatError when the file is missing or no HDF5 file."""
    if path.is_dir():
        raise SampleFormatError(f"{path}: is a folder; give the sample file in it, or those of all shards.")
    if not path.is_file():
        raise SampleFormatError(f"{path}: no such file; check the path, or make it with `ttc convert`.")
    try:
        return _opened(path)
    except OSError as error:
        if hint := OTHER_KINDS.get(path.suffix.lower()):
            raise SampleFormatError(f"{path}: isn't a sample file (.h5), but {hint}.") from error
        raise SampleFormatError(
            f"{path}: not a complete HDF5 file ({error}); convert the archive again or copy the file anew."
        ) from error


def open_dataset(path: Path, file: h5py.File, name: str) -> h5py.Dataset | None:
    """A data set of the file itself; None where there is none of that name, or a group.

    Raises SampleFormatError for data that lie in another file, which could be any file of the machine (external links,
    external storage, virtual data sets), and for damage.
    """
    with damage_named(path, f"'{name}'"):
        link = file.get(name, getlink=True)
        if link is None:
            return None
        if isinstance(link, h5py.SoftLink) and _is_own(file, link.path):
            link = h5py.HardLink()  # another name for what the file itself has
        if not isinstance(link, h5py.HardLink):
            raise SampleFormatError(
                f"{path}: '{name}' is a link to {getattr(link, 'filename', 'this file')}, {link.path}; data of other "
                "files and of groups aren't read: copy them into this file."
            )
        if file.get(name, getclass=True) is not h5py.Dataset:
            return None
        dataset = file[name]
        if dataset.external or dataset.is_virtual:
            raise SampleFormatError(
                f"{path}: field '{name}' keeps its rows in other files, which aren't read; copy them into this file."
            )
        _ = dataset.shape, dataset.dtype  # damaged ones raise here
    return dataset if dataset.shape is not None else None


def _is_own(file: h5py.File, target: str) -> bool:
    """Whether a name at the top of the file is a thing of the file; a path through groups may lead to another file."""
    name = target.strip("/")
    return "/" not in name and isinstance(file.get(name, getlink=True), h5py.HardLink)


def names_in(path: Path, file: h5py.File) -> tuple[str, ...]:
    """Names at the top of a file. Raises SampleFormatError when it is damaged there."""
    with damage_named(path, "its table of contents"):
        names = tuple(name if isinstance(name, str) else name.decode(errors="replace") for name in file)
    return names


@contextlib.contextmanager
def damage_named(path: Path, what: str) -> Iterator[None]:
    """h5py raises almost anything for a damaged file."""
    try:
        yield
    except SampleFormatError:
        raise
    except heap.Unread as error:
        raise SampleFormatError(f"{path}: {what} can't be read: {error}.") from error
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise SampleFormatError(
            f"{path}: {what} can't be read ({reason}); the file is damaged: convert the archive again or copy the file "
            "anew."
        ) from error


def name_of(dataset: h5py.Dataset) -> str:
    """Its name in the file."""
    return str(dataset.name).lstrip("/")


_FITTING: set[tuple[Any, ...]] = set()  # data sets whose elements this process found to fit into their file


def check_sizes(path: Path, dataset: h5py.Dataset) -> None:
    """Raise SampleFormatError when a data set claims more rows or bytes than its file can hold.

    Elements of variable length are a length and an address each; wrong lengths would make HDF5 ask for as much memory.
    """
    with damage_named(path, f"field '{name_of(dataset)}'"):
        stat, storage = path.stat(), dataset.id.get_storage_size()
        size = stat.st_size
        claimed = dataset.size * dataset.dtype.itemsize
        if claimed > DEFLATE_LIMIT * storage + UNWRITTEN:
            raise SampleFormatError(
                f"{path}: field '{name_of(dataset)}' claims {dataset.size:,} elements, but the file holds {storage:,} "
                "bytes of it; convert the archive again or copy the file anew."
            )
        places = heap.places_of_lengths(dataset.id.get_type())
        if not places or dataset.id.get_create_plist().get_nfilters():
            return
        known = str(path), dataset.name, stat.st_ino, stat.st_mtime_ns, size
        if known in _FITTING:  # work on rows opens a file again and again, and tables of 10 million rows are large
            return
        total = sum(int(lengths.sum(dtype=np.uint64)) for lengths in _lengths(path, dataset, places))
        if total <= size:
            _FITTING.add(known)
        else:
            raise SampleFormatError(
                f"{path}: field '{name_of(dataset)}' claims {total:,} bytes in a file of {size:,}; convert the archive "
                "again or copy the file anew."
            )


def _lengths(path: Path, dataset: h5py.Dataset, places: Iterable[int]) -> Iterator[np.ndarray]:
    """(n, 1) uint32 lengths, block by block, of a data set (N,) without filters, from the file's bytes."""
    blocks: list[tuple[int, int, int]] = []  # rows, position, bytes
    count, place, length = len(dataset), dataset.id.get_offset() or 0, dataset.id.get_storage_size()
    if dataset.chunks is None:
        stride = length // count if count else 0
        for start in range(0, count, BLOCK_ROWS):  # so that the table is never in memory as a whole
            rows = min(BLOCK_ROWS, count - start)
            blocks.append((rows, place + start * stride if place else 0, rows * stride))
    else:
        rows = dataset.chunks[0]
        dataset.id.chunk_iter(lambda c: blocks.append((min(rows, count - c.chunk_offset[0]), c.byte_offset, c.size)))
    with path.open("rb") as file:
        for rows, position, length in blocks:
            file.seek(position)
            stride = length // (rows if dataset.chunks is None else dataset.chunks[0]) if length else 0
            table = np.frombuffer(file.read(length), np.uint8)
            if position and stride and len(table) >= rows * stride:
                for place in places:
                    yield table[: rows * stride].reshape(rows, stride)[:, place : place + 4].copy().view("<u4")


def text_attribute(dataset: h5py.Dataset | h5py.File, name: str) -> str:
    """An attribute as text, whatever its spelling (str, bytes, array of one, empty); empty where it is absent."""
    path = Path(dataset.file.filename)
    with damage_named(path, f"attribute '{name}' of '{dataset.name}'"):
        heap.check_attribute(path, dataset, name)
        value = dataset.attrs.get(name, "")
    if isinstance(value, h5py.Empty):
        return ""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return text.encode(errors="replace").decode()


def is_array_buffer(dataset: h5py.Dataset) -> bool:
    """Whether rows are records of quantised bytes, as in old files."""
    return text_attribute(dataset, "storage") == ARRAY_BUFFER


def map_dataset(path: Path, data: np.ndarray, dataset: h5py.Dataset) -> MappedRows | None:
    """`map_rows` of all bytes (n,) of the file. Raises SampleFormatError when it is damaged there."""
    with damage_named(path, f"field '{name_of(dataset)}'"):
        mapped = map_rows(data, dataset)
    return mapped


def read_rows(path: Path, dataset: h5py.Dataset, rows: Sequence[int] | np.ndarray) -> list[Any]:
    """Elements by row, in the order of `rows`. Raises SampleFormatError when the file can't be read there.

    Runs of neighbouring rows are read at once, which is several times faster than one by one.
    """
    rows = np.asarray(rows, dtype=np.int64)
    order = np.argsort(rows, kind="stable")
    with damage_named(path, f"field '{name_of(dataset)}'"):
        heap.check_rows(path, dataset, rows)  # at once, which saves most of its time
    result: list[Any] = [None] * len(rows)
    runs = np.split(order, np.flatnonzero(np.diff(rows[order]) > 1) + 1) if len(rows) else []
    for run in runs:
        first, last = int(rows[run[0]]), int(rows[run[-1]])
        block = read_slice(path, dataset, first, last + 1)
        for position in run:
            result[position] = block[int(rows[position]) - first]
    return result


def read_slice(path: Path, dataset: h5py.Dataset, first: int, last: int) -> np.ndarray:
    """(last - first, ...): rows first to last - 1. Raises SampleFormatError when the file is damaged there."""
    with damage_named(path, f"field '{name_of(dataset)}', rows {first} to {last - 1}"):
        heap.check_rows(path, dataset, np.arange(first, last))
        block = dataset[first:last]
    return block
