"""Eyes: what their balls look like, what shows beside them, and lashes.

The upper lid's edge with its lashes is the darkest line of a face, in profile too; it is finer than a head's mesh.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from scipy.interpolate import CubicSpline

from trackertraincode.facemodel.head_model import HeadModel
from trackertraincode.facemodel.load import OWN_MODELS

SCLERA = np.array([0.72, 0.68, 0.66])
IRIS_RADIUS, PUPIL = 0.06, 0.45  # head radii; share of the iris
UPPER_LIDS = ((range(42, 46), 1.0), (range(39, 35, -1), -1.0))  # landmarks from the nose outwards, sign of x
LASHES = 12  # of an upper lid, far fewer and thicker than real ones: an image shows no more


class Lashes(NamedTuple):
    """The upper lids' edges and what grows there, in the head's frame."""

    vertices: np.ndarray  # (V, 3)
    triangles: np.ndarray  # (T, 3)
    normals: np.ndarray  # (V, 3)


def paint_ball(
    model: HeadModel, side: str, iris: np.ndarray, gaze: tuple[float, float], lid_shadow: float
) -> np.ndarray:
    """(N, 3) colours of an eye's vertices. iris: (3,) colour; gaze: shift right and down; lid_shadow: 0 none to 1 black."""
    right, down, below = _places(model.name, side)
    distance = np.hypot(right - gaze[0], down - gaze[1])[:, None]
    inside = np.clip((IRIS_RADIUS - distance) / 0.012, 0.0, 1.0)
    pupil = np.clip((PUPIL * IRIS_RADIUS - distance) / 0.01, 0.0, 1.0)
    rim = 0.55 * np.exp(-(((distance - IRIS_RADIUS) / 0.014) ** 2))
    color = SCLERA * (1 - inside) + iris * inside * (1 - pupil) * (1 + 2 * distance / IRIS_RADIUS) / 2
    # Lids keep light away: most from above, and in the corners.
    shadow = lid_shadow * np.exp(-below / 0.03) + 0.5 * np.clip(np.abs(right) / 0.14, 0, 1) ** 3
    return color * (1 - rim) * np.clip(1.0 - shadow, 0.0, 1.0)[:, None]


@cache
def _places(name: str, side: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(N,) of an eye's vertices: right of the eye's middle, below it, and below the upper lid. Head radii."""
    model = OWN_MODELS[name]()
    x, y, _ = model.vertices[model.regions[f"eye_{side}"]].T
    points = model.keypoint_mean[list(range(42, 48) if side == "left" else range(36, 42)), :2]
    center, upper = points.mean(0), points[1:3, 1].mean()
    return x - center[0], y - center[1], np.clip(y - upper, 0.0, None)


def lashes(model: HeadModel, local: np.ndarray, closure: np.ndarray, length: float, thickness: float) -> Lashes:
    """On the upper lids of a deformed head. local: (V, 3); closure: (2,) of left and right; lengths in head radii."""
    parts = [
        _lashes_of(spline @ local[model.keypoints[list(ids)]], sign, float(shut), length, thickness)
        for (ids, sign), shut, spline in zip(UPPER_LIDS, closure, _splines(model.name))
    ]
    count = len(parts[0])
    triangles = np.concatenate([TRIANGLES, TRIANGLES + count])
    vertices = np.concatenate(parts)
    return Lashes(vertices, triangles, np.broadcast_to(np.array([0.0, -0.3, -0.95]), vertices.shape))


@cache
def _splines(name: str) -> list[np.ndarray]:
    """Of each lid: (2 · LASHES + 1, 4) weights of its four landmarks, from the nose outwards; splines are linear in them."""
    mean = OWN_MODELS[name]().keypoint_mean.astype(float)
    splines = []
    for ids, _ in UPPER_LIDS:
        length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(mean[list(ids)], axis=0), axis=1))])
        splines.append(CubicSpline(length, np.eye(4))(np.linspace(0.0, length[-1], 2 * LASHES + 1)))
    return splines


def _lashes_of(line: np.ndarray, sign: float, shut: float, length: float, thickness: float) -> np.ndarray:
    """(3 (2 · LASHES + 1), 3): a lid's edge (N, 3), a thin band before it, and the tips of lashes."""
    rise = -0.6 + 1.1 * shut  # lashes of shut eyes hang down
    direction = np.stack([sign * 0.75 * FAN, rise - 0.15 * np.abs(FAN), np.full(len(line), -0.8)], axis=1)
    direction *= (TAPER / np.sqrt((direction**2).sum(1)))[:, None]
    edge = line + [0.0, 0.004, -0.004]
    longer = length * (0.55 + 0.45 * np.clip(FAN, 0, 1))[:, None]
    return np.concatenate([edge, edge + thickness * direction, edge + longer * direction])


def _triangles() -> np.ndarray:
    """(T, 3) of one lid: the band as quads, a spike on every second point."""
    count = 2 * LASHES + 1
    a = np.arange(count - 1)
    band = np.concatenate([np.stack([a, a + 1, a + count], 1), np.stack([a + 1, a + count + 1, a + count], 1)])
    b = np.arange(0, count - 1, 2)
    return np.concatenate([band, np.stack([b, b + 1, b + 2 * count], 1)])


TRIANGLES = _triangles()
FAN = np.linspace(-0.35, 1.0, 2 * LASHES + 1)  # how much each point's lashes lean outwards
TAPER = np.sqrt(np.clip(np.sin(np.pi * np.linspace(0.04, 0.9, 2 * LASHES + 1)), 0.1, 1.0))
