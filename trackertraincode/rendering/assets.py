"""Meshes that a head wears: glasses, headwear, the mass of long hair. Head radii, in the head's local frame."""

from functools import cache
from itertools import pairwise

import numpy as np

from trackertraincode.facemodel.embedded_anatomy import EYE_CENTER
from trackertraincode.rendering.hair import SKULL_CENTER, SKULL_RADII

Mesh = tuple[np.ndarray, np.ndarray]  # vertices (V, 3), triangles (T, 3)
OPENING = (0.7, 0.95)  # half width and height of what a headscarf leaves free
RIM_POINTS = 28  # around a lens
TUBE_RADIUS = 0.014
RIM_VERTICES, _TEMPLE_VERTICES = 4 * RIM_POINTS, 16  # of the tubes of a frame


def tube(path: np.ndarray, closed: bool = False) -> Mesh:
    """A square tube along points (N, 3), as thick as a frame of glasses."""
    tangent = np.gradient(path, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True) + 1e-9
    side = np.cross(tangent, [0.0, 0.0, 1.0]) + 1e-6
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    up = np.cross(side, tangent)
    corners = [path + TUBE_RADIUS * (np.cos(a) * side + np.sin(a) * up) for a in np.arange(4) * np.pi / 2]
    vertices = np.stack(corners, axis=1).reshape(-1, 3)
    triangles = []
    rings = list(pairwise(range(len(path)))) + ([(len(path) - 1, 0)] if closed else [])
    for first, second in rings:
        for corner in range(4):
            a, b = 4 * first + corner, 4 * first + (corner + 1) % 4
            c, d = 4 * second + corner, 4 * second + (corner + 1) % 4
            triangles += [(a, b, c), (b, d, c)]
    return vertices, np.array(triangles)


def merge(meshes: list[Mesh]) -> Mesh:
    """Several meshes as one."""
    starts = np.cumsum([0, *(len(v) for v, _ in meshes[:-1])])
    return np.concatenate([v for v, _ in meshes]), np.concatenate([t + s for (_, t), s in zip(meshes, starts)])


@cache
def glasses(round_lenses: bool) -> tuple[Mesh, Mesh]:
    """(frame, lenses): rims before the eyes, a bridge, temples to the ears; lenses are discs in the rims."""
    angle = np.linspace(0, 2 * np.pi, RIM_POINTS, endpoint=False)
    power = 1.0 if round_lenses else 0.5  # 0.5: a rounded rectangle
    cosine, sine = (np.sign(f(angle)) * np.abs(f(angle)) ** power for f in (np.cos, np.sin))
    parts, lenses = [], []
    for sign in (1.0, -1.0):
        x = sign * (EYE_CENTER[0] + 0.01) + 0.2 * cosine
        rim = np.stack([x, 0.02 + 0.15 * sine, -0.16 + 0.35 * np.abs(x) ** 2], axis=1)
        parts.append(tube(rim, closed=True))
        center = rim.mean(0)
        fan = np.array([(RIM_POINTS, i, (i + 1) % RIM_POINTS) for i in range(RIM_POINTS)])
        lenses.append((np.concatenate([rim, center[None]]), fan))
        hinge = np.array([sign * 0.51, -0.03, -0.05])
        temple = np.array([hinge, [sign * 0.74, -0.04, 0.25], [sign * 0.80, -0.05, 0.85], [sign * 0.80, 0.1, 0.98]])
        parts.append(tube(temple))
    bridge = np.array([[-0.12, -0.02, -0.155], [0.0, -0.05, -0.235], [0.12, -0.02, -0.155]])
    parts.append(tube(bridge))
    return merge(parts), merge(lenses)


def rim_starts() -> tuple[int, int]:
    """Where the vertices of the two rims begin among those of the frame."""
    return 0, RIM_VERTICES + _TEMPLE_VERTICES


@cache
def ellipsoid(rows: int = 20, columns: int = 36) -> Mesh:
    """The unit sphere as rows of quads."""
    polar, azimuth = np.meshgrid(
        np.linspace(0.05, np.pi - 0.05, rows), np.linspace(0, 2 * np.pi, columns), indexing="ij"
    )
    vertices = np.stack([np.sin(polar) * np.sin(azimuth), -np.cos(polar), -np.sin(polar) * np.cos(azimuth)], axis=-1)
    a = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    corners = [(a, a + columns, a + 1), (a + 1, a + columns, a + columns + 1)]
    triangles = np.stack([np.stack(corner, axis=1) for corner in corners], axis=1)
    return vertices.reshape(-1, 3), triangles.reshape(-1, 3)


@cache
def hanging_hair(end: float) -> Mesh:
    """The mass of long hair behind the face, from the crown down to y = `end`; strands lie over it."""
    vertices, triangles = ellipsoid(22, 40)
    fall = np.clip(vertices[:, 1], 0.0, 1.0)[:, None]
    shaped = vertices * [0.86, 1.1, 0.98] + [0.0, 0.0, 0.85]
    shaped[:, 1] = np.where(vertices[:, 1] < 0, shaped[:, 1], vertices[:, 1] * end)
    shaped[:, [0]] *= 1.0 + 0.1 * fall
    keep = shaped[:, 2] > 0.62
    return shaped, triangles[keep[triangles].all(1)]


def _around_skull(scale: float, low: float, front: float) -> Mesh:
    """The skull's shape enlarged, above y = `low` behind and y = `front` over the forehead."""
    vertices, triangles = ellipsoid(28, 48)
    shaped = vertices * SKULL_RADII * scale + SKULL_CENTER
    edge = front + (low - front) * np.clip((shaped[:, 2] - 0.1) / 0.9, 0.0, 1.0)
    return shaped, triangles[(shaped[:, 1] < edge)[triangles].all(1)]


@cache
def cap() -> Mesh:
    """A baseball cap with its brim to the front."""
    crown = _around_skull(1.1, -0.15, -0.5)
    across, out = np.meshgrid(np.linspace(-1, 1, 17), np.linspace(0, 1, 8), indexing="ij")
    reach = 0.62 * np.sqrt(np.clip(1.0 - across**2, 0, 1)) * out
    brim = np.stack([0.62 * across, -0.52 + 0.12 * across**2 + 0.05 * out, 0.1 * across**2 - 0.1 - reach], -1)
    a = np.arange(17 * 8).reshape(17, 8)
    quads = [a[:-1, :-1], a[1:, :-1], a[:-1, 1:], a[1:, :-1], a[1:, 1:], a[:-1, 1:]]
    return merge([crown, (brim.reshape(-1, 3), np.stack(quads, -1).reshape(-1, 3))])


@cache
def beanie() -> Mesh:
    """A knitted cap down to the ears."""
    return _around_skull(1.12, 0.1, -0.42)


@cache
def hat() -> Mesh:
    """A crown with a wide brim all around."""
    crown, triangles = _around_skull(1.12, -0.4, -0.45)
    crown = crown * [1.0, 1.15, 1.0]
    angle, out = np.meshgrid(np.linspace(0, 2 * np.pi, 40), np.array([0.95, 1.25, 1.6]), indexing="ij")
    brim = np.stack([0.9 * out * np.sin(angle), -0.5 - 0.06 * out, 0.76 - 1.08 * out * np.cos(angle)], -1)
    a = np.arange(40 * 3).reshape(40, 3)
    quads = [a[:-1, :-1], a[1:, :-1], a[:-1, 1:], a[1:, :-1], a[1:, 1:], a[:-1, 1:]]
    return merge([(crown, triangles), (brim.reshape(-1, 3), np.stack(quads, -1).reshape(-1, 3))])


@cache
def headscarf() -> Mesh:
    """A cloth around head and neck that leaves the face free."""
    vertices, triangles = ellipsoid(56, 90)
    shaped = vertices * [0.9, 1.15, 1.12] + [0.0, -0.05, 0.85]
    low = vertices[:, 1] > 0
    shaped[low, 1] = vertices[low, 1] * 1.75
    shaped[:, 0] *= np.where(low, 1.0 - 0.2 * vertices[:, 1], 1.0)
    around = np.hypot(shaped[:, 0] / OPENING[0], (shaped[:, 1] - 0.3) / OPENING[1])
    opening = (around < 1.0) & (shaped[:, 2] < 0.7)
    # The hem: what lies just inside of the opening moves out to its edge.
    hem = opening & (around > 0.7)
    shaped[hem, 0] /= around[hem]
    shaped[hem, 1] = 0.3 + (shaped[hem, 1] - 0.3) / around[hem]
    keep = ~opening | hem
    return shaped, triangles[keep[triangles].all(1)]


HEADWEAR = {"cap": cap, "beanie": beanie, "hat": hat, "headscarf": headscarf}
