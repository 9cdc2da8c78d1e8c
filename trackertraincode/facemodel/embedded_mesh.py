"""The embedded head's mesh: directions seen from inside the head, triangulated on a sphere, pushed out to the surface.

grids of directions + lid and lip contours --convex hull of directions--> triangles
hand-placed points --radial basis functions over directions--> radius of every direction
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.interpolate import RBFInterpolator
from scipy.spatial import ConvexHull, cKDTree

from trackertraincode.facemodel import embedded_anatomy as anatomy
from trackertraincode.facemodel.regions import curves_through

RIGHT_TO_LEFT = np.array([-1.0, 1.0, 1.0])

# Grid spacing in radians as seen from the head's centre, and how far around a feature it holds.
COARSE, FACE, FEATURE, FINE = 0.066, 0.034, 0.0225, 0.0125


@dataclass(frozen=True)
class Mesh:
    """Vertices (V, 3), triangles (T, 3), and what the contours are."""

    vertices: np.ndarray
    triangles: np.ndarray
    keypoints: np.ndarray  # (68,) vertex ids
    ear: np.ndarray  # (V,) bool


def build_mesh() -> Mesh:
    """The mean head."""
    surface = _Surface()
    contours = np.concatenate(list(contour_curves().values()))
    keypoints = anatomy.keypoint_positions()
    fixed = np.concatenate([keypoints, contours])
    directions = _unit(np.concatenate([keypoints - anatomy.CENTER, _thin_out(fixed)]))
    triangles = ConvexHull(directions).simplices
    vertices = surface.push(directions)
    vertices[:68] = keypoints
    vertices = _set_eyeballs(vertices)
    triangles = _outward(vertices, triangles)
    ears = [_ear(side) for side in (1.0, -1.0)]
    count = len(vertices)
    parts, faces, is_ear = [vertices], [triangles], [np.zeros(count, bool)]
    for ear_vertices, ear_triangles in ears:
        faces.append(ear_triangles + sum(len(p) for p in parts))
        parts.append(ear_vertices)
        is_ear.append(np.ones(len(ear_vertices), bool))
    return Mesh(np.concatenate(parts), np.concatenate(faces).astype(np.int32), np.arange(68), np.concatenate(is_ear))


@cache
def contour_curves() -> dict[str, np.ndarray]:
    """(n, 3) each: `curves_through` the mean head's landmarks."""
    return curves_through(anatomy.keypoint_positions())


class _Surface:
    """Distance of the skin from the head's centre, by direction."""

    def __init__(self) -> None:
        points = np.concatenate([anatomy.keypoint_positions(), anatomy.mirrored(anatomy.SURFACE_LEFT)])
        offsets = points - anatomy.CENTER
        distance = np.linalg.norm(offsets, axis=1)
        directions = offsets / distance[:, None]
        self._log_radius = RBFInterpolator(directions, np.log(distance), kernel="cubic", smoothing=1e-6)

    def push(self, directions: np.ndarray) -> np.ndarray:
        """(N, 3) unit -> (N, 3) points on the skin."""
        return anatomy.CENTER + directions * np.exp(self._log_radius(directions))[:, None]


def _unit(v: np.ndarray) -> np.ndarray:
    """(..., 3) -> (..., 3) of length 1."""
    return v / np.linalg.norm(v, axis=-1, keepdims=True)


def _feature_points() -> np.ndarray:
    """(N, 3) directions of eyes, brows, nose and mouth, where the grid is dense."""
    return _unit(anatomy.keypoint_positions()[17:] - anatomy.CENTER)


def _fine_points() -> np.ndarray:
    """(N, 3) directions of lids and lips, where the grid is densest."""
    k = anatomy.keypoint_positions()
    eyes = np.array([anatomy.EYE_CENTER, anatomy.EYE_CENTER * RIGHT_TO_LEFT])
    return _unit(np.concatenate([k[36:68], eyes, k[[60, 64]] * 0.5 + k[[62, 62]] * 0.5]) - anatomy.CENTER)


def _thin_out(fixed: np.ndarray) -> np.ndarray:
    """(N, 3) directions from the centre: the contours as they are, and grid points that keep their distance from them."""
    feature, fine = cKDTree(_feature_points()), cKDTree(_fine_points())
    held = _unit(fixed - anatomy.CENTER)
    chosen = [held[68:]]
    tree = cKDTree(held)
    for spacing in (FINE, FEATURE, FACE, COARSE):
        grid = _symmetric_grid(spacing)
        if spacing < FACE:  # features are in front; the rest of so dense a grid is never wanted
            grid = grid[(grid[:, 2] < -0.3) & (np.abs(grid[:, 1]) < 0.8)]
        wanted = _wanted_spacing(grid, feature, fine)
        grid = grid[wanted == spacing]
        grid = grid[tree.query(grid)[0] > 0.62 * spacing]
        chosen.append(grid)
        tree = cKDTree(np.concatenate([held, *chosen]))
    return np.concatenate(chosen)


def _wanted_spacing(directions: np.ndarray, feature: cKDTree, fine: cKDTree) -> np.ndarray:
    """(N, 3) directions -> (N,) distance between grid points there."""
    to_feature, to_fine = feature.query(directions)[0], fine.query(directions)[0]
    front = -directions[:, 2]
    return np.select(
        [to_fine < 0.055, to_feature < 0.12, (front > 0.05) | (directions[:, 1] > 0.45)],
        [FINE, FEATURE, FACE],
        default=COARSE,
    )


def _symmetric_grid(spacing: float) -> np.ndarray:
    """(N, 3) evenly spread directions (golden spiral), the half x > 0 mirrored, and the middle line."""
    count = int(4 * np.pi / (spacing**2 * 0.87))
    index = np.arange(count) + 0.5
    polar, azimuth = np.arccos(1 - 2 * index / count), np.pi * (1 + 5**0.5) * index
    directions = np.stack([np.cos(azimuth) * np.sin(polar), np.sin(azimuth) * np.sin(polar), np.cos(polar)], axis=1)
    left = directions[directions[:, 0] > 0.45 * spacing]
    angle = np.arange(0, 2 * np.pi, spacing)
    middle = np.stack([np.zeros_like(angle), np.sin(angle), np.cos(angle)], axis=1)
    return np.concatenate([left, left * RIGHT_TO_LEFT, middle])


def _set_eyeballs(vertices: np.ndarray) -> np.ndarray:
    """(V, 3) -> (V, 3): vertices inside the lids lie on the eyeballs, whose front is a little behind the lids' rims."""
    vertices = vertices.copy()
    for side, sign in (("left", 1.0), ("right", -1.0)):
        inside = inside_lids(vertices, side)
        center = anatomy.EYE_CENTER * [sign, 1.0, 1.0]
        planar = vertices[inside, :2] - center[:2]
        depth = np.sqrt(np.clip(anatomy.EYE_RADIUS**2 - (planar**2).sum(1), 0.004, None))
        vertices[inside, 2] = np.maximum(center[2] - depth, vertices[inside, 2] - 0.02)
    return vertices


def lid_heights(x: np.ndarray, side: str) -> tuple[np.ndarray, np.ndarray]:
    """(N,) x -> (N,) y of upper and lower lid of the mean head; equal outside the eye."""
    curves = contour_curves()
    k = anatomy.keypoint_positions()
    inner, outer = (k[42], k[45]) if side == "left" else (k[39], k[36])
    result = []
    for lid in ("upper", "lower"):
        line = np.concatenate([[inner], curves[f"{lid}_lid_{side}"], [outer]])
        line = line[np.argsort(line[:, 0])]
        result.append(np.interp(x, line[:, 0], line[:, 1]))
    return result[0], result[1]


def inside_lids(vertices: np.ndarray, side: str) -> np.ndarray:
    """(V,) bool: strictly between the lids' rims and in front."""
    upper, lower = lid_heights(vertices[:, 0], side)
    k = anatomy.keypoint_positions()
    low, high = sorted((k[42][0], k[45][0])) if side == "left" else sorted((k[36][0], k[39][0]))
    x, y, z = vertices.T
    return (x > low) & (x < high) & (y > upper + 1e-3) & (y < lower - 1e-3) & (z < 0.3)


def inside_mouth(vertices: np.ndarray) -> np.ndarray:
    """(V,) bool: strictly between the inner rims of the lips and in front."""
    curves = contour_curves()
    k = anatomy.keypoint_positions()
    heights = []
    for name in ("upper_inner_lip", "lower_inner_lip"):
        line = np.concatenate([[k[60]], curves[name], [k[64]]])
        line = line[np.argsort(line[:, 0])]
        heights.append(np.interp(vertices[:, 0], line[:, 0], line[:, 1]))
    x, y, z = vertices.T
    return (np.abs(x) < k[64][0]) & (y > heights[0] + 5e-4) & (y < heights[1] - 5e-4) & (z < 0.2)


def _ear(sign: float) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (V, 3) and triangles (T, 3) of an auricle: rings with a raised rim, standing off the head behind."""
    rings, spokes = 9, 28
    radius = np.linspace(0.12, 1.0, rings)[:, None]
    angle = np.linspace(0, 2 * np.pi, spokes, endpoint=False)[None, :]
    depth = radius * np.cos(angle) * anatomy.EAR_SIZE[0] * (1 - 0.25 * np.sin(angle))  # narrower at the lobe
    height = radius * np.sin(angle) * anatomy.EAR_SIZE[1]
    relief = 0.05 * np.exp(-(((radius - 0.82) / 0.13) ** 2)) - 0.03 * np.exp(-((radius / 0.35) ** 2))
    out = 0.55 * np.clip(depth + 0.06, 0, None) + relief * np.where(np.cos(angle) > -0.6, 1.0, 0.2)
    place = np.stack([out, height + 0.0 * radius, depth + 0.12 * height], axis=-1).reshape(-1, 3)
    vertices = (anatomy.EAR_CENTER + place) * [sign, 1.0, 1.0]
    triangles = []
    for ring in range(rings - 1):
        for spoke in range(spokes):
            a, b = ring * spokes + spoke, ring * spokes + (spoke + 1) % spokes
            triangles += [(a, b, a + spokes), (b, b + spokes, a + spokes)]
    triangles += [(0, s + 1, s) for s in range(1, spokes - 1)]
    faces = np.array(triangles)
    return vertices, faces if sign > 0 else faces[:, ::-1]


def _outward(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """The same triangles (T, 3) of vertices (V, 3), wound so that their normals point away from the head's centre."""
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    inward = (np.cross(b - a, c - a) * (a - anatomy.CENTER)).sum(1) < 0
    triangles = triangles.copy()
    triangles[inward] = triangles[inward][:, ::-1]
    return triangles
