"""A head model's face as a mesh that is quick to draw: vertices nearer to each other than a cell become one."""

from functools import cache
from typing import NamedTuple

import numpy as np

from trackertraincode.errors import ModelFileError
from trackertraincode.facemodel.head_model import HeadModel

CELL = 0.03  # head radii


class FaceMesh(NamedTuple):
    """Part of a head model."""

    vertices: np.ndarray  # (N,) of the model
    triangles: np.ndarray  # (T, 3) int32, of these vertices


@cache
def face_mesh(model: HeadModel) -> FaceMesh:
    """All of the model but scalp, neck and ears. Raises ModelFileError for a model without triangles."""
    if not len(model.triangles):
        raise ModelFileError(
            f"the face model {model.name} has no triangles: put its tri.pkl beside it, or leave --face-model out."
        )
    inside = triangles_within(model.triangles, model.face_mask)
    return _thinned(model.vertices.astype(np.float64), inside)


def triangles_within(triangles: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(T, 3) whose vertices are all in a mask (V,)."""
    return triangles[mask[triangles].all(1)]


def _thinned(vertices: np.ndarray, triangles: np.ndarray) -> FaceMesh:
    """Each cell of space keeps the vertex that is nearest to the mean of those in it."""
    used = np.unique(triangles)
    cells = np.unique(np.floor(vertices[used] / CELL).astype(int), axis=0, return_inverse=True)[1].reshape(-1)
    count = int(cells.max()) + 1
    sums = np.stack([np.bincount(cells, vertices[used, axis], count) for axis in range(3)], axis=1)
    means = sums / np.bincount(cells, minlength=count)[:, None]
    apart = np.linalg.norm(vertices[used] - means[cells], axis=1)
    order = np.lexsort((apart, cells))
    kept = used[order[np.unique(cells[order], return_index=True)[1]]]
    renamed = np.zeros(len(vertices), np.int32)
    renamed[used] = cells
    corners = renamed[triangles]
    a, b, c = corners.T
    return FaceMesh(kept, corners[(a != b) & (b != c) & (c != a)])


def smooth_border(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """(V, 3) -> (V, 3): vertices on the border of a mesh lie on a smooth line; the others stay."""
    pairs = _border_pairs(triangles)
    on_border, index = np.unique(pairs, return_inverse=True)
    a, b = index.reshape(-1, 2).T
    count = np.bincount(np.concatenate([a, b]), minlength=len(on_border))[:, None]
    moved = points[on_border]
    for _ in range(4):
        sums = np.zeros_like(moved)
        np.add.at(sums, a, moved[b])
        np.add.at(sums, b, moved[a])
        moved = 0.5 * moved + 0.5 * sums / count
    result = points.copy()
    result[on_border] = moved
    return result


def _border_pairs(triangles: np.ndarray) -> np.ndarray:
    """(E, 2) vertices of the edges that belong to one triangle only."""
    edges = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), axis=1)
    unique, counts = np.unique(edges, axis=0, return_counts=True)
    return unique[counts == 1]
