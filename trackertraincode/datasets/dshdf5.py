"""How arrays and encoded images lie in HDF5: the storage layer below samples.

    images  varsize_image_buffer   one encoded file per row
            image_filename         paths relative to the HDF5 file's folder, or to a folder named like the file
            varsize_array_buffer   (old files) a record of shape, min, max and quantised bytes
    labels  plain float arrays

Attribute spellings vary in the wild (bytes, str, "True"); everything here reads all of them and writes one.
"""

import contextlib
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np

from trackertraincode.datasets import heap
from trackertraincode.datasets.mapped import MappedRows, map_rows
from trackertraincode.errors import SampleFormatError
from trackertraincode.sample.images import encode_png, sniff

IMAGE_BUFFER = "varsize_image_buffer"
IMAGE_FILENAME = "image_filename"
ARRAY_BUFFER = "varsize_array_buffer"
IMAGE_EXTENSIONS = ("", ".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG")
CHUNK_ROWS = 256
BLOCK_ROWS = 1 << 18  # of a table that isn't in chunks, read at once
DEFLATE_LIMIT = 1100  # by how much bytes can shrink at best
SHOWN = 200  # letters of a wrong name
UNWRITTEN = 1 << 16  # bytes of rows that may be claimed without having been written


def open_file(path: Path) -> h5py.File:
    """Open for reading. Raises SampleFormatError when the file is missing or no HDF5 file."""
    if path.is_dir():
        raise SampleFormatError(f"{path}: is a folder; give the sample file in it, or those of all shards.")
    if not path.is_file():
        raise SampleFormatError(f"{path}: no such file; make it with the scripts/dsprocess_*.py of its data set.")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise SampleFormatError(
            f"{path}: not a complete HDF5 file ({error}); convert the archive again or copy the file anew."
        ) from error


def open_dataset(path: Path, file: h5py.File, name: str) -> h5py.Dataset | None:
    """A data set of the file itself; None where there is none of that name, or a group.

    Raises SampleFormatError for data that lie in another file, which could be any file of the machine (external links,
    external storage, virtual data sets), and for damage.
    """
    with _named(path, f"'{name}'"):
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
                f"{path}: data set '{name}' keeps its rows in other files, which aren't read; copy them into this file."
            )
        assert dataset.shape is None or dataset.dtype is not None  # a damaged one says so here
    return dataset if dataset.shape is not None else None


def _is_own(file: h5py.File, target: str) -> bool:
    """Whether a name at the top of the file is a thing of the file; a path through groups may lead to another file."""
    name = target.strip("/")
    return "/" not in name and isinstance(file.get(name, getlink=True), h5py.HardLink)


def names_in(path: Path, file: h5py.File) -> tuple[str, ...]:
    """Names at the top of a file. Raises SampleFormatError when it is damaged there."""
    with _named(path, "its table of contents"):
        names = tuple(name if isinstance(name, str) else name.decode(errors="replace") for name in file)
    return names


@contextlib.contextmanager
def _named(path: Path, what: str) -> Iterator[None]:
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


def check_sizes(path: Path, dataset: h5py.Dataset) -> None:
    """Raise SampleFormatError when a data set claims more rows or bytes than its file can hold.

    Elements of variable length are a length and an address each; wrong lengths would make HDF5 ask for as much memory.
    """
    with _named(path, f"data set '{name_of(dataset)}'"):
        size, storage = path.stat().st_size, dataset.id.get_storage_size()
        claimed = dataset.size * dataset.dtype.itemsize
        if claimed > DEFLATE_LIMIT * storage + UNWRITTEN:
            raise SampleFormatError(
                f"{path}: data set '{name_of(dataset)}' claims {dataset.size:,} elements, but the file holds {storage:,} "
                "bytes of it; convert the archive again or copy the file anew."
            )
        places = heap.places_of_lengths(dataset.id.get_type())
        if not places or dataset.id.get_create_plist().get_nfilters():
            return
        total = sum(int(lengths.sum(dtype=np.uint64)) for lengths in _lengths(path, dataset, places))
        if total > size:
            raise SampleFormatError(
                f"{path}: data set '{name_of(dataset)}' claims {total:,} bytes in a file of {size:,}; convert the archive "
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
    with _named(path, f"attribute '{name}' of '{dataset.name}'"):
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


def image_storage(dataset: h5py.Dataset) -> str:
    """The storage kind; where the attribute is missing, the element type decides."""
    kind = text_attribute(dataset, "storage")
    if kind:
        return kind
    return IMAGE_FILENAME if h5py.check_string_dtype(dataset.dtype) is not None else IMAGE_BUFFER


def read_images(path: Path, dataset: h5py.Dataset, rows: Sequence[int] | np.ndarray) -> list[bytes]:
    """Encoded files of the given rows, in their order.

    Raises SampleFormatError naming file, data set and row when an image is missing or no JPEG or PNG.
    """
    kind = image_storage(dataset)
    indices = np.asarray(rows, dtype=np.int64)
    name = name_of(dataset)
    if kind not in (IMAGE_BUFFER, IMAGE_FILENAME, ARRAY_BUFFER):
        raise SampleFormatError(
            f"{path}: data set '{name}' has storage '{kind}', expected {IMAGE_BUFFER}, {IMAGE_FILENAME} or "
            f"{ARRAY_BUFFER}; convert the archive again."
        )
    images = []
    for row, element in zip(indices.tolist(), read_rows(path, dataset, indices)):
        if kind == IMAGE_FILENAME:
            images.append(_read_image_file(path, name, row, element))
        elif kind == ARRAY_BUFFER:
            images.append(_image_of_record(path, name, row, element))
        else:
            images.append(element.tobytes() if isinstance(element, np.ndarray) else b"")
    return _images_only(path, name, indices, images)


def map_dataset(path: Path, data: np.ndarray, dataset: h5py.Dataset) -> MappedRows | None:
    """`map_rows` of all bytes of the file. Raises SampleFormatError when it is damaged there."""
    with _named(path, f"data set '{name_of(dataset)}'"):
        mapped = map_rows(data, dataset)
    return mapped


def read_stored_images(
    path: Path, name: str, file: BinaryIO, pages: np.ndarray, references: MappedRows, rows: np.ndarray
) -> list[bytes]:
    """`read_images` of a data set of files whose references are mapped, from the file's bytes; several times faster."""
    with _named(path, f"data set '{name}'"):
        wanted = references[rows].view(heap.REFERENCE)[:, 0]
        images = heap.read_objects(file, pages, wanted)
    return _images_only(path, name, rows, images)


def _images_only(path: Path, name: str, rows: np.ndarray, images: list[bytes]) -> list[bytes]:
    for row, data in zip(rows.tolist(), images):
        if sniff(data) is None:
            raise SampleFormatError(
                f"{path}: data set '{name}', row {row} holds {len(data)} bytes that aren't a JPEG or PNG file; "
                "convert the archive again."
            )
    return images


def read_rows(path: Path, dataset: h5py.Dataset, rows: Sequence[int] | np.ndarray) -> list[Any]:
    """Elements by row, in the order of `rows`. Raises SampleFormatError when the file can't be read there.

    Runs of neighbouring rows are read at once, which is several times faster than one by one.
    """
    rows = np.asarray(rows, dtype=np.int64)
    order = np.argsort(rows, kind="stable")
    with _named(path, f"data set '{name_of(dataset)}'"):
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
    with _named(path, f"data set '{name_of(dataset)}', rows {first} to {last - 1}"):
        heap.check_rows(path, dataset, np.arange(first, last))
        block = dataset[first:last]
    return block


def _read_image_file(path: Path, name: str, row: int, element: bytes | str) -> bytes:
    relative = element.decode(errors="surrogateescape") if isinstance(element, bytes) else element
    shown = relative[:SHOWN].encode(errors="backslashreplace").decode() + "…" * (len(relative) > SHOWN)
    parts = Path(relative.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts:
        raise SampleFormatError(
            f"{path}: data set '{name}', row {row} names '{shown}', outside the file's folder; give paths relative "
            "to it."
        )
    for folder in (path.parent, path.with_suffix("")):
        for extension in IMAGE_EXTENSIONS:
            candidate = folder / (str(parts) + extension)
            found = False
            with contextlib.suppress(ValueError, OSError):  # what can't be a name
                found = candidate.is_file()
            if found:
                return candidate.read_bytes()
    raise SampleFormatError(
        f"{path}: data set '{name}', row {row} names '{shown}', which is neither in {path.parent} nor in "
        f"{path.with_suffix('')}; put the images of this data set there."
    )


def decode_array_record(path: Path, name: str, row: int, record: Any) -> np.ndarray:
    """One element of an old `varsize_array_buffer`: value = byte / 256 · (max - min + 1) + min, float64.

    A record has four members: shape, min, max and bytes, in this order. Raises SampleFormatError for other records.
    """
    try:
        shape, low, high, buffer = record.item()
        values = np.asarray(buffer, dtype=np.uint8).astype(np.float64)
        return (values / 256.0 * (float(high) - float(low) + 1.0) + float(low)).reshape([int(n) for n in shape])
    except (TypeError, ValueError) as error:
        raise SampleFormatError(
            f"{path}: data set '{name}', row {row} isn't a record of shape, min, max and bytes ({error}); convert the "
            "archive again."
        ) from error


def _image_of_record(path: Path, name: str, row: int, record: Any) -> bytes:
    values = decode_array_record(path, name, row, record)
    if not values.size or (values.ndim != 2 and values.shape[2:] != (3,)):
        raise SampleFormatError(
            f"{path}: data set '{name}', row {row} has shape {values.shape}, expected (H, W) or (H, W, 3); convert the "
            "archive again."
        )
    whole = np.ceil(values - 1e-6)  # bytes were rounded down by less than one, so this gives integers back exactly
    return encode_png(np.clip(whole, 0, 255).astype(np.uint8))


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
