"""Some rows that stand for all."""

import numpy as np


def evenly_spread(rows: int, count: int) -> np.ndarray:
    """(min(rows, count),) increasing places in 0 … rows - 1, from the first to the last: 10 rows, 4 -> 0, 3, 6, 9."""
    return np.linspace(0, rows - 1, min(rows, count)).round().astype(int)
