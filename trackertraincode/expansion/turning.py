"""Labels of a face that turns: everything of the head moves rigidly about a pivot in the neck.

The pivot and so the heads' centres are those of the published expansions of 300W-LP.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch

from trackertraincode.conversion.faces import box_around
from trackertraincode.facemodel.head_model import HeadModel, hull_vertices
from trackertraincode.facemodel.landmarks68 import EYE_CORNERS, centered_depth, has_depth
from trackertraincode.geometry.euler import matrix_to_aflw
from trackertraincode.geometry.rotation import matrix_to_quat, quat_to_matrix
from trackertraincode.sample.sample import Sample

PIVOT = np.array([0.0, 0.5, 0.1])  # head radii, local frame


@dataclass(frozen=True)
class Turn:
    """From one rotation of a head to another; lengths in pixels, z from the head's origin before the turn."""

    before: np.ndarray  # (3, 3) head to image frame
    after: np.ndarray  # (3, 3)
    head: np.ndarray  # (3,) x, y, radius before

    @property
    def delta(self) -> np.ndarray:
        """(3, 3): what turns the image frame."""
        return self.after @ self.before.T

    @property
    def pivot(self) -> np.ndarray:
        """(3,) where it doesn't move."""
        return np.array([*self.head[:2], 0.0]) + self.before @ PIVOT * self.head[2]

    @property
    def head_after(self) -> np.ndarray:
        """(3,) x, y, radius."""
        return np.array([*(self.pivot - self.after @ PIVOT * self.head[2])[:2], self.head[2]])

    def points(self, points: np.ndarray) -> np.ndarray:
        """(..., 3) -> (..., 3), rigidly."""
        return (points - self.pivot) @ self.delta.T + self.pivot


def rotation_of(sample: Sample) -> np.ndarray:
    """(3, 3) float64."""
    return quat_to_matrix(torch.as_tensor(np.array(sample.rotation), dtype=torch.float64)).numpy()


def angles_of(R: np.ndarray) -> np.ndarray:
    """(3, 3) -> (3,) pitch, yaw, roll of AFLW, radians."""
    return matrix_to_aflw(torch.as_tensor(R)).numpy()


def project(local: np.ndarray, R: np.ndarray, head: np.ndarray) -> np.ndarray:
    """(N, 3) head radii -> (N, 3) pixels, z from the head's origin."""
    return local.astype(np.float64) @ R.T * head[2] + [*head[:2], 0.0]


def turn_labels(sample: Sample, turn: Turn, local: np.ndarray, model: HeadModel) -> dict[str, Any]:
    """All labels of `sample` but images and its coefficients, after the turn.

    local: (V, 3) the sample's head. 3-D landmarks turn as they are; a box keeps its margins to what it is of: landmarks
    or face mesh, whichever it is nearer to. The published points of AFLW can't be known, nor can their box.
    """
    labels: dict[str, Any] = {
        "rotation": matrix_to_quat(torch.as_tensor(turn.after)).numpy(),
        "head": turn.head_after,
    }
    points = after = None
    if sample.landmarks is not None:
        points = deep_landmarks(sample, turn, local[model.keypoints])
        after = turn.points(points)
        labels["landmarks"] = centered_depth(after)
    if sample.face_box is not None:
        labels["face_box"] = _box(sample.face_box, turn, local[bounding_vertices(model)], points)
    if sample.stored_angles is not None:
        labels["stored_angles"] = np.degrees(angles_of(turn.after))
    if sample.points_box is not None:
        labels["points_box"] = None
    return labels


def deep_landmarks(sample: Sample, turn: Turn, keypoints: np.ndarray) -> np.ndarray:
    """(68, 3) 3-D landmarks with z from the head's origin, or that of the head where theirs isn't known.

    keypoints: (68, 3) of the head, head radii.
    """
    assert sample.landmarks is not None
    depth = project(keypoints, turn.before, turn.head)[:, 2]
    points = sample.landmarks.astype(np.float64)
    points[:, 2] = points[:, 2] + (depth - points[:, 2])[list(EYE_CORNERS)].mean() if has_depth(points) else depth
    return points


def _box(box: np.ndarray, turn: Turn, face: np.ndarray, landmarks: np.ndarray | None) -> np.ndarray:
    """(4,) before -> (4,) after."""
    mesh = project(face, turn.before, turn.head)
    around = [(box_around(mesh), box_around(turn.points(mesh)))]
    if landmarks is not None:
        around.append((box_around(landmarks), box_around(turn.points(landmarks))))
    before, after = min(around, key=lambda pair: float(np.abs(pair[0] - box).sum()))
    return after + (box - before)


@cache
def bounding_vertices(model: HeadModel) -> np.ndarray:
    """(K,) vertices that can bound the face from some side."""
    return hull_vertices(model)
