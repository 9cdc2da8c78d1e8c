"""Numbers out of text files; what is wrong is named with its line."""

import math
from collections.abc import Sequence

import numpy as np

from trackertraincode.errors import ArchiveError


def read_lines(data: bytes, name: str) -> list[str]:
    """Lines without their ends, as UTF-8. Raises ArchiveError naming the file when it isn't text."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ArchiveError(f"{name}: not a text file (byte {error.start}: {error.reason}).") from error
    if "\0" in text:
        raise ArchiveError(f"{name}: not a text file (zero bytes).")
    return text.splitlines()


def number_rows(lines: Sequence[str], name: str, columns: int, *, first: int = 1) -> np.ndarray:
    """Lines of `columns` finite numbers each, separated by blanks -> (lines, columns) float64.

    first: number of the first line, for messages. Raises ArchiveError naming file and line.
    """
    rows = [line.split() for line in lines]
    for number, words in enumerate(rows, first):
        if len(words) != columns:
            raise ArchiveError(f"{name}: line {number} has {len(words)} numbers, expected {columns}.")
    try:
        values = np.array([float(word) for words in rows for word in words], dtype=np.float64)
    except ValueError:
        values = np.array([np.nan])
    if not np.isfinite(values).all():
        for number, words in enumerate(rows, first):
            for word in words:
                finite_number(word, f"{name}: line {number}")
    return values.reshape(len(rows), columns)


def finite_number(word: str, where: str, shown: str | None = None) -> float:
    """Raises ArchiveError, which begins with `where`, when the word isn't a finite number. shown: what the file has."""
    try:
        value = math.nan if "_" in word else float(word)  # which Python allows between digits
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ArchiveError(f"{where} has '{(shown or word)[:40]}' where a number should be.")
    return value
