"""Shoulders and what is worn on them: collars, patterns, folds. Head radii; the origin is in the middle of the neck."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np

from trackertraincode.facemodel.head_model import HeadModel
from trackertraincode.facemodel.load import OWN_MODELS
from trackertraincode.rendering.rasterizer import vertex_normals

ROWS, COLUMNS = 26, 52
# Outline of a body: heights below the neck's middle, half widths and half depths there.
HEIGHTS = (-0.12, 0.06, 0.20, 0.34, 0.44, 0.56, 0.72, 0.95, 1.4, 2.2, 4.0, 6.0)
WIDTHS = (0.42, 0.56, 0.76, 1.02, 1.38, 1.66, 1.80, 1.88, 1.85, 1.7, 1.7, 1.7)
DEPTHS = (0.38, 0.51, 0.60, 0.66, 0.72, 0.78, 0.85, 0.90, 0.95, 0.95, 0.95, 0.95)
NECK_FROM, NECK_MIDDLE, NECK_HALF = 1.12, 0.92, (0.48, 0.44)  # y; z; half width and depth that it has inside of clothes
NECK_END = 1.5  # y
FOLDS = 6  # waves


class Body(NamedTuple):
    """A mesh and its colours."""

    vertices: np.ndarray  # (V, 3)
    triangles: np.ndarray  # (T, 3)
    normals: np.ndarray  # (V, 3) with folds
    colors: np.ndarray  # (V, 3)


@dataclass(frozen=True)
class Neckline:
    """How clothes end at the neck."""

    share: float  # of the people
    bare: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]  # x, y, front (V,) -> (V,) bool: skin
    second: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray] | None = (
        None  # shirt under a jacket, its own colour
    )
    band: tuple[tuple[float, float], ...] = ()  # around the neck: radius and height, from above downwards
    band_second: bool = False  # in the second colour


NECKLINES: dict[str, Neckline] = {
    "round": Neckline(0.26, lambda x, y, front: y < 0.14),
    "open": Neckline(0.2, lambda x, y, front: (y < 0.2) | (front & (y < 0.9 - 0.8 * np.abs(x)))),
    "straps": Neckline(0.14, lambda x, y, front: (y < 1.0) & (np.abs(np.abs(x) - 0.85) > 0.1)),
    "collar": Neckline(
        0.15, lambda x, y, front: front & (y < 0.3 - 1.2 * np.abs(x)),
        lambda x, y, front: front & (np.abs(x) < 0.035), ((0.66, -0.22), (0.67, -0.10), (0.74, 0.06), (0.84, 0.2)),
    ),
    "jacket": Neckline(
        0.13, lambda x, y, front: y < -1.0,
        lambda x, y, front: front & (y < 1.5 - 1.6 * np.abs(x)) & (np.abs(x) > 0.09),
        ((0.66, -0.2), (0.66, -0.08), (0.70, 0.08)), True,
    ),
    "turtleneck": Neckline(
        0.07, lambda x, y, front: y < -1.0, None, ((0.64, -0.30), (0.63, -0.18), (0.64, -0.02), (0.70, 0.12))
    ),
    "scarf": Neckline(
        0.05, lambda x, y, front: y < -1.0, None,
        ((0.58, -0.12), (0.64, -0.26), (0.74, -0.24), (0.84, -0.1), (0.86, 0.04), (0.78, 0.2), (0.66, 0.22)), True,
    ),
}  # fmt: skip

# Name -> how often, and where (V,) of x, y, z the second colour is.
PATTERNS: dict[str, tuple[float, Callable[[np.ndarray, float], np.ndarray]]] = {
    "plain": (0.55, lambda v, size: np.zeros(len(v))),
    "stripes": (0.15, lambda v, size: np.sin(v[:, 1] * 6.28 / size) > 0.2),
    "upright": (0.08, lambda v, size: np.sin(np.arctan2(v[:, 0], -v[:, 2]) * 6.28 / size) > 0.2),
    "checks": (
        0.1,
        lambda v, size: (
            0.5 * (np.sin(v[:, 1] * 6.28 / size) > 0) + 0.5 * (np.sin(np.arctan2(v[:, 0], -v[:, 2]) * 6.28 / size) > 0)
        ),
    ),
    "print": (
        0.12,
        lambda v, size: np.sin(v @ [3, 5, 2] / size) + np.sin(v @ [-4, 3, 3] / size) + np.sin(v @ [5, -1, -4] / size) > 0.7,
    ),
}  # fmt: skip


@cache
def _grid(band: tuple[tuple[float, float], ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Body and band: vertices, triangles, normals, and (V,) which belong to the band."""
    heights = np.interp(np.linspace(0, 9.0, ROWS), np.arange(len(HEIGHTS)), HEIGHTS)
    heights = np.append(heights, HEIGHTS[-1])
    widths, depths = (np.interp(heights, HEIGHTS, values) for values in (WIDTHS, DEPTHS))
    body = _rings(widths, heights, depths, 0.8)
    rings = np.array(band).reshape(-1, 2)
    around = _rings(rings[:, 0], rings[:, 1], 0.92 * rings[:, 0], 1.0)
    around[..., 1] += 0.12 * np.clip(-around[..., 2], 0.0, None)  # lower in front
    triangles = [_quads(len(body)), _quads(len(around)) + body[..., 0].size]
    vertices, both = np.concatenate([body.reshape(-1, 3), around.reshape(-1, 3)]), np.concatenate(triangles)
    in_band = np.arange(len(vertices)) >= body[..., 0].size
    return vertices.astype(np.float32), both, vertex_normals(vertices, both), in_band


def _rings(widths: np.ndarray, heights: np.ndarray, depths: np.ndarray, power: float) -> np.ndarray:
    """(N, COLUMNS, 3)."""
    angle = np.linspace(0, 2 * np.pi, COLUMNS, endpoint=False)
    sine, cosine = (np.sign(f(angle)) * np.abs(f(angle)) ** power for f in (np.sin, np.cos))
    around = np.stack([sine * widths[:, None], np.repeat(heights[:, None], COLUMNS, 1), -cosine * depths[:, None]], -1)
    return around


def _quads(rows: int) -> np.ndarray:
    """(T, 3) between rings."""
    ids = np.arange(rows * COLUMNS).reshape(rows, COLUMNS)
    following = np.roll(ids, -1, axis=1)
    a, b, c, d = ids[:-1], following[:-1], ids[1:], following[1:]
    return np.stack([a, c, b, b, c, d], axis=-1).reshape(-1, 3)


def dressed(neckline: str, pattern: str, seed: int, first: np.ndarray, second: np.ndarray, skin: np.ndarray) -> Body:
    """Somebody's body; first, second, skin: (3,) colours; the seed says how broad it is, and where cloth folds."""
    rng = np.random.default_rng(seed)
    worn = NECKLINES[neckline]
    vertices, triangles, normals, band = _grid(worn.band)
    broad = np.array([rng.uniform(0.82, 1.06), 1.0, rng.uniform(0.85, 1.1)], np.float32)
    vertices = np.where(band[:, None], vertices, vertices * broad)
    size = rng.uniform(0.25, 0.7)
    x, y, z = vertices.T
    front = z < 0
    mark = rng.uniform(0.3, 1.0) * PATTERNS[pattern][1](vertices, size)[:, None]
    colors = first + mark * (second - first)
    if worn.second is not None:
        colors[worn.second(x, y, front) & ~band] = second
    if worn.band_second:
        colors[band] = second
    bare = worn.bare(x, y, front) & ~band
    colors[bare] = 0.95 * skin
    waves = (rng.normal(size=(FOLDS, 3)) * np.geomspace(2.0, 9.0, FOLDS)[:, None]).astype(np.float32)
    phases = rng.uniform(0, 6.28, FOLDS).astype(np.float32)
    slopes = np.cos(vertices @ waves.T + phases) @ (waves / np.linalg.norm(waves, axis=1)[:, None])
    normals = normals + np.float32(rng.uniform(0.05, 0.3)) * slopes * ~bare[:, None]
    normals /= np.sqrt((normals**2).sum(1, keepdims=True))
    return Body(vertices, triangles, normals, colors)


@cache
def _neck_ids(name: str) -> np.ndarray:
    return np.flatnonzero(OWN_MODELS[name]().vertices[:, 1] > NECK_FROM)


def tucked(model: HeadModel, local: np.ndarray) -> np.ndarray:
    """A deformed head (V, 3) whose neck ends inside of clothes, instead of cutting through them."""
    ids = _neck_ids(model.name)
    x, y, z = local[ids].T
    z, y = z - NECK_MIDDLE, np.minimum(y, NECK_END)
    narrow = 1.0 - 0.4 * np.clip((y - 1.25) / (NECK_END - 1.25), 0.0, 1.0)
    beyond = np.maximum(np.hypot(x / NECK_HALF[0], z / NECK_HALF[1]) / narrow, 1.0)
    share = 1.0 + (1.0 / beyond - 1.0) * np.clip((y - NECK_FROM) / 0.2, 0.0, 1.0) * (np.abs(z) < 0.7)
    moved = local.copy()
    moved[ids] = np.stack([x * share, y, NECK_MIDDLE + z * share], axis=1)
    return moved
