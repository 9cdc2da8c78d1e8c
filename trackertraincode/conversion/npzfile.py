"""Arrays of numbers out of .npz files that came from somewhere."""

import io
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO

import numpy as np

from trackertraincode.errors import ArchiveError

MAX_BYTES = 64 * 2**20  # of all arrays that are read
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError,
           SyntaxError, TypeError, KeyError, OverflowError, MemoryError, AttributeError)  # fmt: skip


def read_npz(data: bytes, name: str, shapes: Mapping[str, tuple[int | None, ...]]) -> dict[str, np.ndarray]:
    """The named arrays, as float64 of these shapes; None: any length.

    Raises ArchiveError naming file and array when one is missing, of another shape, not finite, or damaged.
    """
    found = {}
    with reporting(name), zipfile.ZipFile(io.BytesIO(data)) as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist()}
        for key in shapes:
            if f"{key}.npy" not in sizes:
                known = ", ".join(member.removesuffix(".npy") for member in sizes) or "none"
                raise ArchiveError(f"{name}: no array '{key}' (found: {known[:200]}).")
            if sizes[f"{key}.npy"] > MAX_BYTES:
                raise ArchiveError(f"{name}: array '{key}' has {sizes[f'{key}.npy'] >> 20} MB; refused.")
            found[key] = _array(archive.read(f"{key}.npy"))
    for key, shape in shapes.items():
        value = found[key]
        fits = value.ndim == len(shape) and all(n in (m, None) for m, n in zip(value.shape, shape))
        if value.dtype.kind not in "fiu" or not fits:
            raise ArchiveError(f"{name}: array '{key}' has {value.dtype} {value.shape}, expected numbers {shape}.")
        if not np.isfinite(value).all():
            raise ArchiveError(f"{name}: array '{key}' holds NaN or infinite numbers.")
    return {key: value.astype(np.float64) for key, value in found.items()}


@contextmanager
def reporting(name: object) -> Iterator[None]:
    """Turn what damage raises inside into an ArchiveError that begins with the name."""
    try:
        yield
    except _DAMAGE as error:
        raise ArchiveError(f"{name}: not a complete .npz file of plain arrays ({error}); download it again.") from error


def read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape of the array in a .npy file, whether its first axis is the fastest, type. Raises ValueError."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)


def _array(data: bytes) -> np.ndarray:
    """A .npy file; what its header says must fit its length. Raises ValueError."""
    file = io.BytesIO(data)
    shape, fortran, dtype = read_header(file)
    if dtype.hasobject:
        raise ValueError("an array of objects")
    values = np.frombuffer(data, dtype, offset=file.tell())
    return values.reshape(shape, order="F" if fortran else "C")
