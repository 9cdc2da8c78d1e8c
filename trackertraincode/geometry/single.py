"""Angles of a single rotation without torch, whose import takes longer than tracking a frame."""

import math

import numpy as np


def quat_to_aflw_deg(quat: np.ndarray) -> tuple[float, float, float]:
    """Quaternion (4,) i, j, k, w of any length -> pitch, yaw, roll in degrees: `matrix_to_aflw(quat_to_matrix(quat))`."""
    i, j, k, w = (float(v) for v in np.asarray(quat, np.float64) / np.linalg.norm(quat))
    x, y = 1 - 2 * (j * j + k * k), 2 * (i * j - k * w)  # the matrix' first row begins with them
    yaw = math.atan2(2 * (i * k + j * w), math.hypot(x, y))
    if math.hypot(x, y) < 1e-6:  # gimbal lock
        return -math.degrees(math.atan2(2 * (j * k + i * w), 1 - 2 * (i * i + k * k))), math.degrees(yaw), 0.0
    pitch = -math.atan2(-2 * (j * k - i * w), 1 - 2 * (i * i + j * j))
    return math.degrees(pitch), math.degrees(yaw), math.degrees(math.atan2(-y, x))
