"""Shifts, turns and scalings of all landmarks together, which no shape mode may contain: they belong to the pose."""

import numpy as np


def without_similarity(field: np.ndarray, vertices: np.ndarray, keypoints: np.ndarray) -> np.ndarray:
    """Moves (V, 3) without the small shift, turn and scaling that best explains how the landmarks move."""
    moves = _similarity_fields(vertices)
    at_landmarks = moves[:, keypoints].reshape(7, -1).T
    weights, *_ = np.linalg.lstsq(at_landmarks, field[keypoints].ravel(), rcond=None)
    return field - np.tensordot(weights, moves, axes=1)


def _similarity_fields(vertices: np.ndarray) -> np.ndarray:
    """Fields of unit translations, small rotations and scaling: (7, V, 3)."""
    axes = np.eye(3)
    shifts = [np.broadcast_to(axis, vertices.shape) for axis in axes]
    turns = [np.cross(axis, vertices) for axis in axes]
    return np.stack([*shifts, *turns, vertices])


def best_similarity(points: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scale (...), rotation (..., 3, 3) and shift (..., 3) that bring points (..., N, 3) nearest to target (N, 3)."""
    middle, goal = points.mean(-2, keepdims=True), target.mean(0)
    centered, wanted = points - middle, target - goal
    u, strength, vt = np.linalg.svd(np.swapaxes(centered, -1, -2) @ wanted)
    sign = np.ones_like(strength)
    sign[..., -1] = np.sign(np.linalg.det(u @ vt))
    R = np.swapaxes((u * sign[..., None, :]) @ vt, -1, -2)
    scale = (strength * sign).sum(-1) / (centered**2).sum((-1, -2))
    return scale, R, goal - scale[..., None] * (R @ middle[..., 0, :, None])[..., 0]
