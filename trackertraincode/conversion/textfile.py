"""Numbers out of small text files. Every error names the file and what is wrong in it."""

from collections.abc import Sequence

import numpy as np

from trackertraincode.errors import ArchiveError


def decode_text(data: bytes, name: str) -> str:
    """UTF-8, with or without a byte order mark. Raises ArchiveError naming the file when it is something else."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ArchiveError(f"{name}: not a text file ({error.reason} at byte {error.start}).") from error


def to_numbers(words: Sequence[str], name: str, count: int, what: str) -> np.ndarray:
    """(count,) float64 from words. Raises ArchiveError naming file and field for another number, NaN or no number."""
    if len(words) != count:
        raise ArchiveError(f"{name}: {what} has {len(words)} values, expected {count}.")
    try:
        values = np.array([float(word) for word in words])
    except ValueError as error:
        raise ArchiveError(f"{name}: {what} has something else than numbers ({error}).") from error
    if not np.isfinite(values).all():
        raise ArchiveError(f"{name}: {what} holds NaN or infinite numbers.")
    return values
