"""Finer triangles, and the round front of an eye."""

import numpy as np


def split_triangles(triangles: np.ndarray, chosen: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Each chosen triangle becomes four. Returns (E, 2) vertices between which new ones lie, and all triangles (T', 3).

    New vertices follow the `count` old ones. They lie on the edges of neighbours that aren't chosen, so nothing tears.
    """
    old = triangles[chosen]
    edges = np.sort(old[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    pairs, which = np.unique(edges, axis=0, return_inverse=True)
    ab, bc, ca = (which.reshape(-1, 3) + count).T
    a, b, c = old.T
    new = [np.stack(t, axis=1) for t in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))]
    return pairs, np.concatenate([triangles[~chosen], *new])


def eye_cap(radius: float) -> tuple[np.ndarray, np.ndarray]:
    """The front of a ball around 0: vertices (V, 3) and triangles (T, 3) wound outwards; denser towards the middle."""
    rings, spokes = 12, 24
    polar = np.linspace(0.0, 1.0, rings + 1)[1:, None] ** 1.2 * np.radians(85.0)
    azimuth = np.linspace(0, 2 * np.pi, spokes, endpoint=False)[None, :]
    around = np.stack(
        [np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), -np.cos(polar) + 0 * azimuth], axis=-1
    )
    vertices = radius * np.concatenate([[[0.0, 0.0, -1.0]], around.reshape(-1, 3)])
    triangles = []
    for spoke in range(spokes):
        following = (spoke + 1) % spokes
        triangles.append((0, 1 + following, 1 + spoke))
        for ring in range(rings - 1):
            a, b = (1 + ring * spokes + s for s in (spoke, following))
            triangles += [(a, b, a + spokes), (b, b + spokes, a + spokes)]
    return vertices, np.array(triangles)
