"""Encoded images in HDF5: one file per row, however it is stored.

varsize_image_buffer   one encoded file per row
image_filename         paths relative to the HDF5 file's folder, or to a folder named like the file
varsize_array_buffer   (old files) a record of shape, min, max and quantised bytes
"""

import contextlib
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np

from trackertraincode.datasets import heap
from trackertraincode.datasets.dshdf5 import ARRAY_BUFFER, damage_named, name_of, read_rows, text_attribute
from trackertraincode.datasets.mapped import MappedRows
from trackertraincode.errors import SampleFormatError
from trackertraincode.sample.images import CropError, ImageDecodeError, encode_png, sniff
from trackertraincode.spelling import as_spelled, has_root

IMAGE_BUFFER = "varsize_image_buffer"
IMAGE_FILENAME = "image_filename"
SHOWN = 200  # letters of a wrong name
EXTENSIONS = ("", ".jpg", ".jpeg", ".png")


def image_storage(dataset: h5py.Dataset) -> str:
    """The storage kind; where the attribute is missing, the element type decides."""
    kind = text_attribute(dataset, "storage")
    if kind:
        return kind
    return IMAGE_FILENAME if h5py.check_string_dtype(dataset.dtype) is not None else IMAGE_BUFFER


@contextlib.contextmanager
def decoding(path: Path, row: int) -> Iterator[None]:
    """Turn what images raise inside, when they are decoded or cut, into a SampleFormatError that names file and row."""
    try:
        yield
    except ImageDecodeError as error:
        raise SampleFormatError(
            f"{path}: field 'images', row {row} doesn't decode ({error}); convert the archive again."
        ) from error
    except CropError as error:
        raise SampleFormatError(
            f"{path}: row {row}: {error}; `ttc check` names all rows whose labels are wrong."
        ) from error


def read_images(path: Path, dataset: h5py.Dataset, rows: Sequence[int] | np.ndarray) -> list[bytes]:
    """Encoded files of the given rows, in their order.

    Raises SampleFormatError naming file, field and row when an image is missing or no JPEG or PNG.
    """
    kind = image_storage(dataset)
    indices = np.asarray(rows, dtype=np.int64)
    name = name_of(dataset)
    if kind not in (IMAGE_BUFFER, IMAGE_FILENAME, ARRAY_BUFFER):
        raise SampleFormatError(
            f"{path}: field '{name}' has storage '{kind}', expected {IMAGE_BUFFER}, {IMAGE_FILENAME} or "
            f"{ARRAY_BUFFER}; convert the archive again."
        )
    images = []
    for row, element in zip(indices.tolist(), read_rows(path, dataset, indices)):
        if kind == IMAGE_FILENAME:
            images.append(_find_image_file(path, name, row, element).read_bytes())
        elif kind == ARRAY_BUFFER:
            images.append(_image_of_record(path, name, row, element))
        else:
            images.append(element.tobytes() if isinstance(element, np.ndarray) else b"")
    return _images_only(path, name, indices, images)


def read_stored_images(
    path: Path, name: str, file: BinaryIO, pages: np.ndarray, references: MappedRows, rows: np.ndarray
) -> list[bytes]:
    """`read_images` of a data set of files whose references are mapped, several times faster.

    pages: all bytes (n,) of the file, mapped. references: (N, 16) uint8. rows: (n,).
    """
    with damage_named(path, f"field '{name}'"):
        wanted = references[rows].view(heap.REFERENCE)[:, 0]
        images = heap.read_objects(file, pages, wanted)
    return _images_only(path, name, rows, images)


def _images_only(path: Path, name: str, rows: np.ndarray, images: list[bytes]) -> list[bytes]:
    for row, data in zip(rows.tolist(), images):
        if sniff(data) is None:
            raise SampleFormatError(
                f"{path}: field '{name}', row {row} holds {len(data)} bytes that aren't a JPEG or PNG file; "
                "convert the archive again."
            )
    return images


def image_files(path: Path, dataset: h5py.Dataset) -> list[Path]:
    """Those of the rows that are there, in their order; none where the images are in the HDF5 file."""
    files = []
    if image_storage(dataset) == IMAGE_FILENAME:
        for row, element in enumerate(dataset):
            with contextlib.suppress(SampleFormatError):  # who reads this row says what is wrong
                files.append(_find_image_file(path, name_of(dataset), row, element))
    return files


def _find_image_file(path: Path, name: str, row: int, element: bytes | str) -> Path:
    relative = element.decode(errors="surrogateescape") if isinstance(element, bytes) else element
    shown = relative[:SHOWN].encode(errors="backslashreplace").decode() + "…" * (len(relative) > SHOWN)
    forward = relative.replace("\\", "/")
    parts = Path(forward)
    if has_root(forward) or ".." in parts.parts:
        raise SampleFormatError(
            f"{path}: field '{name}', row {row} names '{shown}', outside the file's folder; give paths relative to it."
        )
    for spelled, folder, extension in product((Path, as_spelled), (path.parent, path.with_suffix("")), EXTENSIONS):
        with contextlib.suppress(ValueError, OSError):  # what can't be a name
            if (file := spelled(folder / (str(parts) + extension))).is_file():
                return file
    raise SampleFormatError(
        f"{path}: field '{name}', row {row} names '{shown}', which is neither in {path.parent} nor in "
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
            f"{path}: field '{name}', row {row} isn't a record of shape, min, max and bytes ({error}); convert the "
            "archive again."
        ) from error


def _image_of_record(path: Path, name: str, row: int, record: Any) -> bytes:
    values = decode_array_record(path, name, row, record)
    if not values.size or (values.ndim != 2 and values.shape[2:] != (3,)):
        raise SampleFormatError(
            f"{path}: field '{name}', row {row} has shape {values.shape}, expected (H, W) or (H, W, 3); convert the "
            "archive again."
        )
    whole = np.ceil(values - 1e-6)  # bytes were rounded down by less than one, so this gives integers back exactly
    return encode_png(np.clip(whole, 0, 255).astype(np.uint8))
