"""Meshes that a head wears: glasses, long hair, shoulders. Head radii, in the head's local frame."""

from functools import cache
from itertools import pairwise

import numpy as np

from trackertraincode.facemodel.embedded_anatomy import EYE_CENTER

Mesh = tuple[np.ndarray, np.ndarray]  # vertices (V, 3), triangles (T, 3)


def tube(path: np.ndarray, radius: float, closed: bool = False) -> Mesh:
    """A square tube along points (N, 3)."""
    tangent = np.gradient(path, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True) + 1e-9
    side = np.cross(tangent, [0.0, 0.0, 1.0]) + 1e-6
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    up = np.cross(side, tangent)
    corners = [path + radius * (np.cos(a) * side + np.sin(a) * up) for a in np.arange(4) * np.pi / 2]
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
    angle = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    power = 1.0 if round_lenses else 0.5  # 0.5: a rounded rectangle
    cosine, sine = (np.sign(f(angle)) * np.abs(f(angle)) ** power for f in (np.cos, np.sin))
    parts, lenses = [], []
    for sign in (1.0, -1.0):
        x = sign * (EYE_CENTER[0] + 0.01) + 0.2 * cosine
        rim = np.stack([x, 0.02 + 0.15 * sine, -0.16 + 0.35 * np.abs(x) ** 2], axis=1)
        parts.append(tube(rim, 0.014, closed=True))
        center = rim.mean(0)
        fan = np.array([(28, i, (i + 1) % 28) for i in range(28)])
        lenses.append((np.concatenate([rim, center[None]]), fan))
        hinge = np.array([sign * 0.51, -0.03, -0.05])
        temple = np.array([hinge, [sign * 0.74, -0.04, 0.25], [sign * 0.80, -0.05, 0.85], [sign * 0.80, 0.1, 0.98]])
        parts.append(tube(temple, 0.014))
    bridge = np.array([[-0.12, -0.02, -0.155], [0.0, -0.05, -0.235], [0.12, -0.02, -0.155]])
    parts.append(tube(bridge, 0.014))
    return merge(parts), merge(lenses)


@cache
def ellipsoid(rows: int = 20, columns: int = 36) -> Mesh:
    """The unit sphere as rows of quads."""
    polar, azimuth = np.meshgrid(
        np.linspace(0.05, np.pi - 0.05, rows), np.linspace(0, 2 * np.pi, columns), indexing="ij"
    )
    vertices = np.stack([np.sin(polar) * np.sin(azimuth), -np.cos(polar), -np.sin(polar) * np.cos(azimuth)], axis=-1)
    triangles = []
    for row, column in np.ndindex(rows - 1, columns - 1):
        a = row * columns + column
        triangles += [(a, a + columns, a + 1), (a + 1, a + columns, a + columns + 1)]
    return vertices.reshape(-1, 3), np.array(triangles)


@cache
def long_hair(length: float) -> Mesh:
    """A shell around the skull that falls to `length` (y), open in front of the ears."""
    vertices, triangles = ellipsoid(26, 48)
    fall = np.clip(vertices[:, 1], 0.0, 1.0)[:, None]
    shaped = vertices * [0.86, 1.12, 1.0] + [0.0, 0.0, 0.85]
    shaped[:, 1] = np.where(vertices[:, 1] < 0, shaped[:, 1], vertices[:, 1] * length)
    shaped[:, [0]] *= 1.0 + 0.12 * fall
    keep = (shaped[:, 2] > 0.42) | (shaped[:, 1] < -0.62)
    return shaped, triangles[keep[triangles].all(1)]


@cache
def shoulders() -> Mesh:
    """An upright body; the origin is where the neck enters it."""
    vertices, triangles = ellipsoid(14, 36)
    body = vertices * [1.8, 0.85, 0.75] + [0.0, 0.72, 0.1]
    body[:, 1] += 4.0 * np.clip(vertices[:, 1], 0.0, 1.0)  # reaches below any image
    return body, triangles
