"""Arrays out of .mat files, whatever type they were saved with."""

import io
import struct
import zlib
from collections.abc import Sequence

import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from trackertraincode.errors import ArchiveError


def read_mat(data: bytes, name: str, variables: Sequence[str]) -> dict[str, np.ndarray]:
    """The named variables that the file has. Raises ArchiveError naming the file when it is damaged."""
    try:
        found = loadmat(io.BytesIO(data), variable_names=list(variables))
    except (MatReadError, ValueError, TypeError, OSError, IndexError, KeyError, struct.error, zlib.error, EOFError,
            NotImplementedError, OverflowError, MemoryError, UnicodeDecodeError, AttributeError) as error:  # fmt: skip
        raise ArchiveError(f"{name}: not a readable .mat file ({error}).") from error
    return {key: value for key, value in found.items() if not key.startswith("__")}


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
