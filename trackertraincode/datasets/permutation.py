"""A random order of any length whose places are computed one by one, so that its cost doesn't grow with its length.

A Feistel network permutes the next power of four; what lies outside is permuted again until it is inside (cycle walking:
Black and Rogaway, Ciphers with Arbitrary Finite Domains, 2002). Short orders, which would walk long, are made whole.
"""

from collections.abc import Sequence

import numpy as np

ROUNDS = 8
SMALLEST = 4  # bits of a half: networks of fewer are visibly uneven
SHORT = 64  # elements
_MULTIPLIERS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))  # of SplitMix64's mixing function


def permuted(places: np.ndarray, count: int, seed: Sequence[int]) -> np.ndarray:
    """(n,) places in a random order of `count` elements -> (n,) int64, which elements stand there."""
    if count < SHORT:
        return np.random.default_rng(list(seed)).permutation(count)[places]
    half = max(SMALLEST, -(-(count - 1).bit_length() // 2))
    keys = np.random.SeedSequence(list(seed)).generate_state(ROUNDS, np.uint64)
    values = places.astype(np.uint64)
    outside = np.arange(len(values))
    while len(outside):
        values[outside] = _feistel(values[outside], np.uint64(half), keys)
        outside = outside[values[outside] >= count]
    return values.astype(np.int64)


def _feistel(values: np.ndarray, half: np.uint64, keys: np.ndarray) -> np.ndarray:
    """(n,) below 4 ** half -> a permutation of them; keys: (rounds,) uint64."""
    mask = (np.uint64(1) << half) - np.uint64(1)
    left, right = values >> half, values & mask
    for key in keys:
        left, right = right, left ^ (_mixed(right ^ key) & mask)
    return (left << half) | right


def _mixed(values: np.ndarray) -> np.ndarray:
    """SplitMix64's mixing function (Steele, Lea and Flood 2014)."""
    values = (values ^ (values >> np.uint64(30))) * _MULTIPLIERS[0]
    values = (values ^ (values >> np.uint64(27))) * _MULTIPLIERS[1]
    return values ^ (values >> np.uint64(31))
