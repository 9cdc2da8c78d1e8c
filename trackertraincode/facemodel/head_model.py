"""One interface for all head models.

coefficients (..., 50) = 40 shape + 10 expression --deform--> vertices (..., V, 3) in the local frame
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

SHAPE_COUNT, EXPRESSION_COUNT = 40, 10
COEFFICIENT_COUNT = SHAPE_COUNT + EXPRESSION_COUNT


@dataclass(frozen=True, eq=False)
class HeadModel:
    """A mesh and how it deforms. Lengths in head radii."""

    name: str  # "bfm_noneck_v3", "embedded-v1" or "anny-v1": coefficients of one mean nothing in another
    vertices: np.ndarray  # (V, 3) float32, the mean head
    triangles: np.ndarray  # (T, 3) int32
    basis: np.ndarray  # (50, V, 3) float32, 40 shape then 10 expression modes
    keypoints: np.ndarray  # (68,) vertex of each iBUG landmark
    face_mask: np.ndarray  # (V,) bool: forehead to chin, ear to ear; what BFM covers
    coefficient_std: np.ndarray  # (50,) spread of plausible people and expressions
    regions: dict[str, np.ndarray] = field(default_factory=dict)  # name -> (V,) bool

    def deform(self, coefficients: np.ndarray) -> np.ndarray:
        """(..., 50) -> (..., V, 3) float32."""
        return _combine(self.vertices, self.basis, coefficients)

    def keypoints68(self, coefficients: np.ndarray) -> np.ndarray:
        """(..., 50) -> (..., 68, 3) float32."""
        return _combine(self.keypoint_mean, self.keypoint_basis, coefficients)

    @cached_property
    def keypoint_mean(self) -> np.ndarray:
        """(68, 3) float32."""
        return np.ascontiguousarray(self.vertices[self.keypoints])

    @cached_property
    def keypoint_basis(self) -> np.ndarray:
        """(50, 68, 3) float32."""
        return np.ascontiguousarray(self.basis[:, self.keypoints])

    @cached_property
    def _hull(self) -> tuple[np.ndarray, np.ndarray]:
        ids = hull_vertices(self)
        return self.vertices[ids].astype(np.float64), self.basis[:, ids].astype(np.float64, order="C")

    def find_hull(self) -> None:
        """Do what `face_hull_points` does first, so that worker processes which are forked from this one needn't."""
        _ = self._hull  # kept from then on

    def face_hull_points(self, coefficients: np.ndarray) -> np.ndarray:
        """(..., 50) -> (..., K, 3): the deformed face vertices among which the extreme ones of any view are.

        Summed in float64: in float32, the last bits depend on the number of threads.
        """
        return _combine(*self._hull, coefficients).astype(np.float32)


def mirror_order(face_model: str) -> np.ndarray:
    """(50,) for a face model by name. Only our own heads have modes of one side: closing either eye."""
    order = np.arange(COEFFICIENT_COUNT)
    if face_model in ("embedded-v1", "anny-v1"):
        order[[40, 41]] = order[[41, 40]]
    return order


def _combine(mean: np.ndarray, basis: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """mean (N, 3), basis (50, N, 3), coefficients (..., 50) -> (..., N, 3), all of the basis' type."""
    weights = np.asarray(coefficients, dtype=basis.dtype)
    points = weights.reshape(-1, COEFFICIENT_COUNT) @ basis.reshape(COEFFICIENT_COUNT, -1)
    points += mean.reshape(1, -1)
    return points.reshape(*weights.shape[:-1], *mean.shape)


def hull_vertices(model: HeadModel) -> np.ndarray:
    """(K,) ids of the face vertices that can bound the face from some side.

    The convex hulls' vertices of the mean and of eleven heads that deviate from it 1.5 times as much as people. They
    decide the box of any view, so nothing but unusual deformations can leave the set; the loss there is below 0.002 head
    radii (tested).
    """
    from scipy.spatial import ConvexHull

    rng = np.random.default_rng(0)
    coefficients = rng.normal(0.0, 1.5, (12, COEFFICIENT_COUNT)) * model.coefficient_std
    coefficients[0] = 0.0
    ids = np.flatnonzero(model.face_mask)
    mean, basis = model.vertices[ids], model.basis[:, ids]
    found = [ConvexHull(_combine(mean, basis, row)).vertices for row in coefficients]
    return ids[np.unique(np.concatenate(found))]
