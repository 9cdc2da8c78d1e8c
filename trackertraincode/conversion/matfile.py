"""Arrays out of .mat files of MATLAB 5 to 7, whatever number type they were saved with.

    file --elements--> variable --zlib, where it is packed--> flags, dimensions, name, numbers --> array

Read here and not by SciPy, whose native code ends the process for some damaged files. Layout: "MAT-File Format", The
MathWorks, "Level 5 MAT-File Format".
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from math import prod

import numpy as np

from trackertraincode.errors import ArchiveError
from trackertraincode.signatures import begins

USUAL_BYTES, MAX_BYTES = 4096, 16 * 2**20  # of one variable
_TYPES = {  # number of a data type -> NumPy's letters
    1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8", 16: "u1", 17: "u2",
}  # fmt: skip
_TAGS = {order: struct.Struct(f"{order}II") for order in "<>"}
_MATRIX, _COMPRESSED = 14, 15
_CHAR, _NUMERIC = 4, range(6, 16)  # classes of arrays
_COMPLEX = 0x08  # flag


def read_mat(data: bytes, name: str, variables: Sequence[str]) -> dict[str, np.ndarray]:
    """The named variables that the file has; text as (1,) of it, what are no numbers as (0,) of objects.

    Raises ArchiveError naming the file when it is damaged.
    """
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if order is None or data[124:126] not in (b"\0\1", b"\1\0"):
        raise ArchiveError(f"{name}: {_other_version(data)}.")
    try:
        found: dict[str, np.ndarray] = {}
        for kind, content in _elements(memoryview(data)[128:], order):
            if kind == _COMPRESSED:
                ((kind, content),) = _elements(_unpacked(content), order)
            if kind == _MATRIX:
                parts = _elements(content, order)
                flags, sizes, letters = [next(parts)[1] for _ in range(3)]
                variable = str(letters, "latin-1")
                if variable in variables:
                    found[variable] = _array(flags, sizes, parts, order)
        return found
    except (ValueError, IndexError, StopIteration, RuntimeError, struct.error, zlib.error) as error:
        raise ArchiveError(f"{name}: not a readable .mat file ({error or 'it ends early'}).") from error


def _other_version(data: bytes) -> str:
    """In words, what it is instead of MATLAB 5 to 7. Version 4 begins with a number that tells types (chapter 2)."""
    again = "save it again as version 7: save('NAME.mat', '-v7') in MATLAB, scipy.io.savemat in Python"
    if begins(data[512:], "hdf5") or begins(data, "hdf5"):  # behind a header of MATLAB's own, or without
        return f"is a .mat file of MATLAB 7.3, which isn't read here; {again}"
    for order in "<>" if len(data) >= 20 else "":
        kind, rows, columns, imaginary, length = struct.unpack_from(f"{order}5I", data)
        if kind < 5000 and kind % 10 <= 2 and rows and columns and imaginary <= 1 < length < 64:
            return f"is a .mat file of MATLAB 4, which isn't read here; {again}"
    return "not a readable .mat file (expected one of MATLAB 5 to 7)"


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """Data type and content, one after the other. Raises ValueError when one is longer than the data."""
    position, length, unpack = 0, len(data), _TAGS[order].unpack_from
    while position + 8 <= length:
        kind, size = unpack(data, position)
        start = position + 8
        if kind >> 16:  # up to four bytes lie in the tag itself
            kind, size, start = kind & 0xFFFF, kind >> 16, position + 4
            end = position + 8
        else:
            end = start + size + (-size % 8 if kind != _COMPRESSED else 0)
        if start + size > length or (start == position + 4 and size > 4):
            raise ValueError(f"an element of {size} bytes where {length - start} are left")
        yield kind, data[start : start + size]
        position = end


def _unpacked(data: memoryview) -> memoryview:
    unpacker = zlib.decompressobj()
    content = unpacker.decompress(data, USUAL_BYTES)
    if not unpacker.eof:
        content += unpacker.decompress(unpacker.unconsumed_tail, MAX_BYTES)
    if not unpacker.eof:
        raise ValueError(f"a variable that ends early or has more than {MAX_BYTES >> 20} MB")
    return memoryview(content)


def _array(flags: memoryview, sizes: memoryview, parts: Iterator[tuple[int, memoryview]], order: str) -> np.ndarray:
    """Raises ValueError when sizes and number of bytes don't fit."""
    (flag, _), shape = struct.unpack(f"{order}II", flags), struct.unpack(f"{order}{len(sizes) // 4}i", sizes)
    kind, content = flag & 0xFF, next(parts, (0, memoryview(b"")))
    letters = _TYPES.get(content[0])
    if letters is None or (kind not in _NUMERIC and kind != _CHAR) or flag >> 8 & _COMPLEX:
        return np.empty(0, dtype=object)
    values = np.frombuffer(content[1], order + letters)
    if kind == _CHAR and letters[0] in "iu":
        return np.array(["".join(map(chr, values.tolist()))])
    if min(shape, default=0) < 0 or values.size != prod(shape):
        raise ValueError(f"{values.size} numbers for a shape of {list(shape)}")
    return values.reshape(shape, order="F")


def numbers(
    mat: dict[str, np.ndarray], name: str, key: str, shape: tuple[int, ...], *, rows: int | None = None
) -> np.ndarray:
    """A variable as float64 of the given shape; rows: only this many of the first axis are needed, more are cut off.

    Raises ArchiveError naming file and variable when it is missing, of another shape, or not finite.
    """
    if key not in mat:
        raise ArchiveError(f"{name}: no variable '{key}' (found: {', '.join(mat) or 'none'}).")
    value = mat[key]
    if value.dtype.kind not in "fiub":
        raise ArchiveError(f"{name}: variable '{key}' has type {value.dtype}, expected numbers.")
    if rows is not None and value.ndim == len(shape) and value.shape[0] >= rows:
        value = value[:rows]
    if value.shape != shape:
        raise ArchiveError(f"{name}: variable '{key}' has shape {value.shape}, expected {shape}.")
    result = value.astype(np.float64)
    if not np.isfinite(result).all():
        raise ArchiveError(f"{name}: variable '{key}' holds NaN or infinite numbers.")
    return result


def text(mat: dict[str, np.ndarray], key: str) -> str | None:
    """A string variable, None where it is missing."""
    if key not in mat or mat[key].size == 0:
        return None
    return str(mat[key].ravel()[0])
