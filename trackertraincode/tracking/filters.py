"""Filters that make poses calm: pure functions of what was seen so far, on SO(3) × R³.

    measured Pose, seconds[, covariance] --Filter.update--> calm Pose

A position may be in any unit: `unit` is the length that counts as much as a radian. With a head's radius, turning and
moving weigh as much as they move the head's surface.
"""

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np

from trackertraincode.geometry.single import conjugate, from_rotvec, multiply, to_matrix, to_rotvec

LONGEST_GAP = 0.5  # seconds without a pose after which a filter begins anew
MOST_EXCESS = 6.0  # of the mean innovation's squared length over the expected one
LEAST_STD = 1e-4  # radians, and units: nothing is surer
USUAL_STD = 0.03  # radians, and units: deviation of poses whose model doesn't tell one


class Pose(NamedTuple):
    """A rotation (4,) i, j, k, w and a position (3,)."""

    rotation: np.ndarray
    position: np.ndarray


class Filter(Protocol):
    """Follows one head."""

    def update(self, measured: Pose, seconds: float, unit: float, covariance: np.ndarray | None = None) -> Pose:
        """The calm pose at a time later than the last one.

        covariance: (6, 6) of the rotation vector in the frame that rotations lead to, radians, and of the position.
        """


class Unfiltered:
    """Poses as they are."""

    def update(self, measured: Pose, seconds: float, unit: float, covariance: np.ndarray | None = None) -> Pose:
        return measured


class OneEuro:
    """A low pass whose cutoff grows with the speed (Casiez, Roussel and Vogel, CHI 2012), for rotation and position.

    min_cutoff: of a head at rest, Hz; beta: Hz per radian or unit per second; speed_cutoff: of the speed, Hz.
    """

    def __init__(self, min_cutoff: float = 0.8, beta: float = 4.0, speed_cutoff: float = 1.0) -> None:
        self._min_cutoff, self._beta, self._speed_cutoff = min_cutoff, beta, speed_cutoff
        self._last: tuple[float, Pose, Pose] | None = None  # seconds, measured, calm
        self._speeds = np.zeros((2, 3))  # of rotation and position

    def update(self, measured: Pose, seconds: float, unit: float, covariance: np.ndarray | None = None) -> Pose:
        if self._last is None or not 0 < seconds - self._last[0] < LONGEST_GAP:
            self._last, self._speeds = (seconds, measured, measured), np.zeros((2, 3))
            return measured
        before, raw, calm = self._last
        step = seconds - before
        moved = np.stack(_difference(measured, raw)) / [[1.0], [unit]]
        self._speeds += _low_pass(self._speed_cutoff, step) * (moved / step - self._speeds)
        weights = [_low_pass(self._min_cutoff + self._beta * float(np.linalg.norm(s)), step) for s in self._speeds]
        turn, shift = _difference(measured, calm)
        result = _moved(calm, turn * weights[0], shift * weights[1])
        self._last = seconds, measured, result
        return result


def _low_pass(cutoff: float, step: float) -> float:
    """Weight of a new value `step` seconds after the last one."""
    rate = 2 * math.pi * cutoff * step
    return rate / (rate + 1)


class Kalman:
    """Error-state Kalman filter with constant velocity, whose head may rest or move.

    State: rotation, position and their velocities; its error, (12,) with rotation vectors in the frame that rotations
    lead to, has a covariance. Innovations of a head that does as predicted point anywhere; when those of the last moment
    point the same way, accelerations are as much likelier.

    agility: spectral density of a resting head's accelerations, radians or units per second^1.5; memory: the last moment,
    seconds; power: how fast the variance of accelerations grows with the square of the mean innovation's length.
    """

    def __init__(self, agility: float = 0.1, memory: float = 0.06, power: float = 6.0) -> None:
        self._agility, self._memory, self._power = agility, memory, power
        self._seconds = -math.inf

    def update(self, measured: Pose, seconds: float, unit: float, covariance: np.ndarray | None = None) -> Pose:
        scale = np.repeat([1.0, unit], 3)
        noise = np.diag((USUAL_STD * scale) ** 2)
        if covariance is not None:
            noise = covariance + np.diag((LEAST_STD * scale) ** 2)
        step = seconds - self._seconds
        self._seconds = seconds
        if not 0 < step < LONGEST_GAP:
            self._pose, self._velocity, self._drift = measured, np.zeros(6), np.zeros(6)
            self._covariance = np.zeros((12, 12))
            self._covariance[:6, :6], self._covariance[6:, 6:] = noise, np.diag(scale**2)
            return measured
        self._predict(step)
        by_time = [[step**3 / 3, step**2 / 2], [step**2 / 2, step]]
        growth = np.kron(by_time, np.diag((self._agility * scale) ** 2))  # of the covariance, by accelerations
        self._covariance += growth
        innovation = np.concatenate(_difference(measured, self._pose))
        excess = self._acceleration(innovation, noise, step) - 1
        self._covariance += growth * np.tile(excess, 2)
        self._correct(innovation, noise)
        return self._pose

    def _predict(self, step: float) -> None:
        turn, shift = self._velocity[:3] * step, self._velocity[3:] * step
        self._pose = _moved(self._pose, turn, shift)
        transition = np.eye(12)
        transition[:3, :3] = to_matrix(from_rotvec(turn))
        transition[:6, 6:] = step * np.eye(6)
        self._covariance = transition @ self._covariance @ transition.T

    def _acceleration(self, innovation: np.ndarray, noise: np.ndarray, step: float) -> np.ndarray:
        """(6,) factors of the variance of accelerations, one for rotation and one for position."""
        weight = 1 - math.exp(-step / self._memory)
        factors = np.ones(6)
        for part in (slice(0, 3), slice(3, 6)):
            root = np.linalg.cholesky((self._covariance[:6, :6] + noise)[part, part])
            self._drift[part] += weight * (np.linalg.solve(root, innovation[part]) - self._drift[part])
            expected = 3 * weight / (2 - weight)  # squared length of the mean of innovations that point anywhere
            factors[part] = np.clip((self._drift[part] @ self._drift[part]) / expected, 1, MOST_EXCESS) ** self._power
        return factors

    def _correct(self, innovation: np.ndarray, noise: np.ndarray) -> None:
        expected = self._covariance[:6, :6] + noise
        gain = np.linalg.solve(expected, self._covariance[:6]).T  # (12, 6)
        error = gain @ innovation
        self._pose = _moved(self._pose, error[:3], error[3:6])
        self._velocity = self._velocity + error[6:]
        keep = np.eye(12)
        keep[:, :6] -= gain
        self._covariance = keep @ self._covariance @ keep.T + gain @ noise @ gain.T  # never loses its positive sign


class DeadZone:
    """What a filter says, but nothing as long as it moves less than `size`, in radians and units.

    Beyond, the pose follows at that distance, so that it never jumps.
    """

    def __init__(self, inner: Filter, size: float) -> None:
        self._inner, self._size = inner, size
        self._pose: Pose | None = None
        self._seconds = -math.inf

    def update(self, measured: Pose, seconds: float, unit: float, covariance: np.ndarray | None = None) -> Pose:
        calm = self._inner.update(measured, seconds, unit, covariance)
        if self._pose is None or not 0 < seconds - self._seconds < LONGEST_GAP:
            self._pose = calm
        else:
            turn, shift = _difference(calm, self._pose)
            self._pose = _moved(self._pose, _beyond(turn, self._size), _beyond(shift, self._size * unit))
        self._seconds = seconds
        return self._pose


FILTERS: dict[str, Callable[[], Filter]] = {"none": Unfiltered, "one-euro": OneEuro, "kalman": Kalman}
DEFAULT = "kalman"  # by measurement: docs/tracking.md


def _difference(new: Pose, old: Pose) -> tuple[np.ndarray, np.ndarray]:
    """Rotation vector and shift, (3,) each, that take the old pose to the new one."""
    return to_rotvec(multiply(new.rotation, conjugate(old.rotation))), new.position - old.position


def _moved(pose: Pose, turn: np.ndarray, shift: np.ndarray) -> Pose:
    rotation = multiply(from_rotvec(turn), pose.rotation)
    return Pose(rotation / np.linalg.norm(rotation), pose.position + shift)


def _beyond(vector: np.ndarray, size: float) -> np.ndarray:
    """(3,) shortened by `size`, at most to nothing."""
    length = float(np.linalg.norm(vector))
    return vector * max(0.0, 1.0 - size / length) if length > 0 else vector
