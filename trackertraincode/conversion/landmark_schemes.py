"""Other numbers of landmarks -> the 68 of iBUG: each of the 68 is a weighted mean of the others.

WFLW (98 points) and LaPa (106 points) annotate the same faces' brows, eyes and mouth in nearly the same places.
"""

import numpy as np
from scipy.interpolate import make_interp_spline

from trackertraincode.facemodel.landmarks68 import COUNT

WFLW_COUNT = 98
LAPA_COUNT = 106

Means = list[tuple[int, ...]]  # per iBUG landmark the points whose mean it is

_BROWS: Means = [  # both schemes draw brows as outlines of 9 points from 33 and from 42; iBUG's run along their middle
    (33,), (34, 41), (35, 40), (36, 39), (37, 38),
    (42, 50), (43, 49), (44, 48), (45, 47), (46,),
]  # fmt: skip


def _single(points: range) -> Means:
    return [(point,) for point in points]


def _eye(first: int) -> Means:
    """An outline of 8 points that starts at one corner and has the other as its fifth; iBUG's has 6."""
    corner, a, b, c, other, d, e, f = range(first, first + 8)
    return [(corner,), (a, b), (b, c), (other,), (d, e), (e, f)]


_WFLW: Means = [
    *_single(range(0, 33, 2)),
    *_BROWS,
    *_single(range(51, 60)),
    *_eye(60),
    *_eye(68),
    *_single(range(76, 96)),
]

_LAPA_AFTER_JAW: Means = [
    *_BROWS,
    *_single(range(51, 55)),
    (57,), (58, 59), (60,), (61, 62), (63,),
    (66,), (67, 68), (68, 69), (70,), (71, 72), (72, 73),
    (75,), (76, 77), (77, 78), (79,), (80, 81), (81, 82),
    *_single(range(84, 104)),
]  # fmt: skip

# LaPa's 33 jaw points start too far above the eyes: places in that sequence where iBUG's 17 lie
LAPA_JAW_POINTS = 33
LAPA_JAW_PLACES = np.linspace(1.5, 30.5, 17)


def _mean_matrix(means: Means, count: int) -> np.ndarray:
    matrix = np.zeros((len(means), count))
    for row, points in enumerate(means):
        matrix[row, list(points)] = 1.0 / len(points)
    return matrix


def _lapa_matrix() -> np.ndarray:
    spline = make_interp_spline(np.arange(LAPA_JAW_POINTS), np.eye(LAPA_JAW_POINTS), k=2)
    jaw = np.zeros((len(LAPA_JAW_PLACES), LAPA_COUNT))
    jaw[:, :LAPA_JAW_POINTS] = spline(LAPA_JAW_PLACES)
    return np.concatenate([jaw, _mean_matrix(_LAPA_AFTER_JAW, LAPA_COUNT)])


_FROM_WFLW = _mean_matrix(_WFLW, WFLW_COUNT)  # (68, 98)
_FROM_LAPA = _lapa_matrix()  # (68, 106)
assert _FROM_WFLW.shape[0] == _FROM_LAPA.shape[0] == COUNT


def wflw_to_68(points: np.ndarray) -> np.ndarray:
    """WFLW's (..., 98, D) points -> iBUG's (..., 68, D)."""
    return _FROM_WFLW @ points


def lapa_to_68(points: np.ndarray) -> np.ndarray:
    """LaPa's (..., 106, D) points -> iBUG's (..., 68, D); the jaw is resampled along a quadratic spline."""
    return _FROM_LAPA @ points
