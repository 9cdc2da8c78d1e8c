"""The 68 iBUG 300W landmarks: groups and mirror order. "Right" is the subject's right, the image's left."""

import numpy as np

JAW = range(17)
RIGHT_BROW = range(17, 22)
LEFT_BROW = range(22, 27)
NOSE_BRIDGE = range(27, 31)
NOSE_BASE = range(31, 36)
RIGHT_EYE = range(36, 42)
LEFT_EYE = range(42, 48)
OUTER_LIP = range(48, 60)
INNER_LIP = range(60, 68)

COUNT = 68
EYE_CORNERS = range(36, 48, 3)  # their mean depth is the zero of stored landmark depths
LID_POINTS = (37, 38, 40, 41, 43, 44, 46, 47)  # eye points that are not corners

_MIRROR_PAIRS = [
    *((i, 16 - i) for i in range(8)),
    *((17 + i, 26 - i) for i in range(5)),
    *((31, 35), (32, 34)),
    *((36, 45), (37, 44), (38, 43), (39, 42), (40, 47), (41, 46)),
    *((48, 54), (49, 53), (50, 52), (55, 59), (56, 58), (60, 64), (61, 63), (65, 67)),
]


def _flip_order() -> np.ndarray:
    order = list(range(COUNT))
    for a, b in _MIRROR_PAIRS:
        order[a], order[b] = b, a
    return np.array(order)


FLIP_ORDER = _flip_order()  # (68,) int64: row i of a mirrored image is row FLIP_ORDER[i] of the original


def has_depth(points: np.ndarray) -> bool:
    """Whether (68, 3) points lie in space; where only x and y are known, z is 0 or NaN."""
    return bool(np.isfinite(points[:, 2]).all() and not is_flat(points))


def is_flat(points: np.ndarray) -> np.ndarray:
    """Whether z is 0 in all of (..., 68, 3) points, as in files where it isn't known -> (...) bool."""
    return np.asarray(~points[..., 2].any(-1))  # NaN is none


def centered_depth(points: np.ndarray) -> np.ndarray:
    """(68, 3) with the mean z of the four eye corners at 0."""
    points = points.copy()
    points[:, 2] -= points[list(EYE_CORNERS), 2].mean()
    return points
