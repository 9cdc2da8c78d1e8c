"""Single rotations without torch, whose import takes longer than tracking a frame. Quaternions are (4,) i, j, k, w."""

import math

import numpy as np


def quat_to_aflw_deg(quat: np.ndarray) -> tuple[float, float, float]:
    """Quaternion (4,) i, j, k, w of any length -> pitch, yaw, roll in degrees: `matrix_to_aflw(quat_to_matrix(quat))`."""
    i, j, k, w = _unit(quat)
    x, y = 1 - 2 * (j * j + k * k), 2 * (i * j - k * w)  # the matrix' first row begins with them
    yaw = math.atan2(2 * (i * k + j * w), math.hypot(x, y))
    if math.hypot(x, y) < 1e-6:  # gimbal lock
        return -math.degrees(math.atan2(2 * (j * k + i * w), 1 - 2 * (i * i + k * k))), math.degrees(yaw), 0.0
    pitch = -math.atan2(-2 * (j * k - i * w), 1 - 2 * (i * i + j * j))
    return math.degrees(pitch), math.degrees(yaw), math.degrees(math.atan2(-y, x))


def multiply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(4,), (4,) -> (4,): first the turn b, then a."""
    x, y, z, w = (float(v) for v in a)
    i, j, k, r = (float(v) for v in b)
    return np.array(
        [
            w * i + x * r + y * k - z * j,
            w * j - x * k + y * r + z * i,
            w * k + x * j - y * i + z * r,
            w * r - x * i - y * j - z * k,
        ]
    )


def conjugate(quat: np.ndarray) -> np.ndarray:
    """(4,) unit -> (4,): the turn back."""
    return quat * np.array([-1.0, -1.0, -1.0, 1.0])


def from_rotvec(vector: np.ndarray) -> np.ndarray:
    """(3,) radians -> (4,)."""
    angle = math.sqrt(float(vector @ vector))
    return np.append(vector * (0.5 * np.sinc(angle / (2 * np.pi))), math.cos(0.5 * angle))


def to_rotvec(quat: np.ndarray) -> np.ndarray:
    """(4,) unit -> (3,) radians, at most pi long."""
    sine = math.sqrt(float(quat[:3] @ quat[:3]))
    angle = 2 * math.atan2(sine, abs(float(quat[3])))
    return quat[:3] * (math.copysign(angle / sine, float(quat[3])) if sine > 1e-12 else 2.0)


def to_matrix(quat: np.ndarray) -> np.ndarray:
    """(4,) of any length -> (3, 3)."""
    i, j, k, w = _unit(quat)
    return np.array(
        [
            [1 - 2 * (j * j + k * k), 2 * (i * j - k * w), 2 * (i * k + j * w)],
            [2 * (i * j + k * w), 1 - 2 * (i * i + k * k), 2 * (j * k - i * w)],
            [2 * (i * k - j * w), 2 * (j * k + i * w), 1 - 2 * (i * i + j * j)],
        ]
    )


def _unit(quat: np.ndarray) -> tuple[float, ...]:
    """(4,) of any length and type -> its i, j, k, w at length 1, in double precision."""
    values = np.asarray(quat, np.float64)
    return tuple((values / np.linalg.norm(values)).tolist())
