"""Parts of a head by name, found from where its landmarks are: the face, lips, brows, hair, beard and so on.

Both heads that can be rendered share these definitions, so that whatever is painted on one is painted on the other.
"""

from itertools import pairwise

import numpy as np
from scipy.interpolate import CubicSpline

FACE_TOP, FACE_BACK = -0.62, 0.76  # the face ends at this y above and at this z behind, as BFM's does


def curves_through(keypoints: np.ndarray) -> dict[str, np.ndarray]:
    """Smooth curves (N, 3) through landmarks (68, 3) of both sides: lids, outer lips, inner lips; without their ends."""
    k = keypoints
    curves = {}
    for side, ids in (("left", (42, 43, 44, 45)), ("right", (39, 38, 37, 36))):
        curves[f"upper_lid_{side}"] = _curve(k[list(ids)], 25)
    for side, ids in (("left", (42, 47, 46, 45)), ("right", (39, 40, 41, 36))):
        curves[f"lower_lid_{side}"] = _curve(k[list(ids)], 25)
    curves["upper_lip"] = _curve(k[48:55], 45)
    curves["lower_lip"] = _curve(k[[54, 55, 56, 57, 58, 59, 48]], 45)
    curves["upper_inner_lip"] = _curve(k[60:65], 41)
    curves["lower_inner_lip"] = _curve(k[[64, 65, 66, 67, 60]], 41)
    return curves


def _curve(points: np.ndarray, count: int) -> np.ndarray:
    """(count, 3) on a spline through points (N, 3), without its ends, which are landmarks themselves."""
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    return CubicSpline(length, points)(np.linspace(0, length[-1], count + 2)[1:-1])


def face_mask(v: np.ndarray, ears: np.ndarray) -> np.ndarray:
    """(V,) bool: forehead to chin, ear to ear. From hairline to ear to the jaw's corner, and under the chin."""
    _, y, z = v.T
    top = FACE_TOP + 0.30 * np.clip((z + 0.1) / 0.86, 0.0, 1.0) ** 1.4
    return (y > top) & (y < jaw_line(z)) & (z < FACE_BACK) & ~ears


def jaw_line(z: np.ndarray) -> np.ndarray:
    """(V,) z -> (V,) y of the border between face and neck: under the chin in front, at the jaw's corner behind."""
    return 1.17 - 0.45 * np.clip((z - 0.2) / 0.56, 0.0, 1.0)


def find_regions(v: np.ndarray, keypoints: np.ndarray, ears: np.ndarray, mouth: np.ndarray) -> dict[str, np.ndarray]:
    """(V,) masks by name; a vertex can be in several. ears, mouth: (V,) bool, what is inside of the lips."""
    x, y, z = v.T
    k, curves = keypoints, curves_through(keypoints)
    front = z < 0.35
    lips = _between(v, [k[48], *curves["upper_lip"], k[54]], [k[48], *curves["lower_lip"][::-1], k[54]]) & front
    regions = {
        "lips": lips & ~mouth,
        "mouth": mouth,
        "ears": ears,
        "nose": front & (np.abs(x) < 0.17) & (y > 0.0) & (y < 0.47) & (z < -0.14),
        "neck": (y > jaw_line(z)) & ~ears & ((y > 1.0) | (z > 0.75)) & (y > 0.5),
    }
    for side, ids in (("left", range(22, 27)), ("right", range(17, 22))):
        regions[f"brow_{side}"] = _near_line(v, k[list(ids)], 0.045)
    regions["scalp"] = ~face_mask(v, ears) & ~ears & ~regions["neck"] & (y < 0.75)
    regions["moustache"] = front & (np.abs(x) < 0.27) & (y > 0.475) & (y < 0.66) & ~lips & ~mouth
    jaw = (y > 0.62) | ((np.abs(x) > 0.55) & (y > 0.2))
    regions["beard"] = jaw & ~lips & ~mouth & ~ears & (z < 0.8) & (y < 1.25) & ~regions["moustache"]
    return regions


def _between(v: np.ndarray, upper: list[np.ndarray], lower: list[np.ndarray]) -> np.ndarray:
    """(V,) bool: vertices whose y lies between two lines over x, ends included."""
    bounds = []
    for line in (np.array(upper), np.array(lower)):
        line = line[np.argsort(line[:, 0])]
        bounds.append(np.interp(v[:, 0], line[:, 0], line[:, 1]))
    inside_x = (v[:, 0] >= upper[0][0]) & (v[:, 0] <= upper[-1][0])
    return inside_x & (v[:, 1] >= bounds[0] - 1e-6) & (v[:, 1] <= bounds[1] + 1e-6)


def _near_line(v: np.ndarray, points: np.ndarray, distance: float) -> np.ndarray:
    """(V,) bool: vertices within a distance of the polyline through points (N, 3)."""
    best = np.full(len(v), np.inf)
    for a, b in pairwise(points):
        t = np.clip(((v - a) @ (b - a)) / ((b - a) @ (b - a)), 0.0, 1.0)[:, None]
        best = np.minimum(best, np.linalg.norm(v - (a + t * (b - a)), axis=1))
    return best < distance
