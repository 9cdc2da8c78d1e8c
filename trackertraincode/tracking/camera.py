"""Cameras: where a head of the image is in space.

Optics, sizes of frames --Optics.camera--> Camera
rotation relative to the viewing ray, head in pixels --Camera.place--> rotation and position relative to the camera
"""

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import cv2
import numpy as np

from trackertraincode.errors import ConfigError
from trackertraincode.geometry.single import from_rotvec, multiply, to_matrix
from trackertraincode.tracking import opentrack_client as client

STEP = 1e-3  # radians between rays whose pixels tell how a camera enlarges


class Placed(NamedTuple):
    """A head relative to the camera, in OpenTrack's axes."""

    rotation: np.ndarray  # (4,) i, j, k, w
    position: client.HeadPosition  # millimetres


class Camera(Protocol):
    """How pixels become millimetres."""

    def place(self, rotation: np.ndarray, head: np.ndarray) -> Placed:
        """rotation: (4,) i, j, k, w relative to the viewing ray; head: (3,) x, y, radius in pixels of the frame."""


class Optics(Protocol):
    """What is known of a camera before its frames are seen."""

    def camera(self, frame: tuple[int, int], view: tuple[int, int], corner: tuple[int, int]) -> Camera:
        """Of frames of this width and height, of which a part is seen: its width, height, and where it begins."""


@dataclass(frozen=True)
class FieldOfView:
    """What OpenTrack's plugin knows: the diagonal field of view of the part that is seen, radians."""

    diagonal: float = client.DEFAULT_DIAGONAL_FOV

    @staticmethod
    def of_degrees(degrees: float) -> "FieldOfView":
        """Raises ConfigError for what no camera has."""
        if not 0.0 < degrees < 180.0:
            raise ConfigError(f"field of view of {degrees:g} degrees: expected more than 0 and less than 180.")
        return FieldOfView(math.radians(degrees))

    def camera(self, frame: tuple[int, int], view: tuple[int, int], corner: tuple[int, int]) -> Camera:
        return PluginCamera(*view, self.diagonal, corner)


@dataclass(frozen=True)
class PluginCamera:
    """A camera as OpenTrack's plugin knows it: only by its field of view."""

    width: int  # of the part of the frame that is seen, pixels
    height: int
    diagonal_fov: float  # of that part, radians
    corner: tuple[int, int] = (0, 0)  # where it begins

    def place(self, rotation: np.ndarray, head: np.ndarray) -> Placed:
        inside = head - np.array([*self.corner, 0], np.float32)
        position = client.world_position(inside, self.width, self.height, self.diagonal_fov)
        return Placed(client.world_rotation(rotation, position), position)


@dataclass(frozen=True)
class Lens:
    """A calibrated camera, in OpenCV's model."""

    matrix: tuple[float, float, float, float]  # fx, fy, cx, cy; pixels, the centre of the first one is 0
    distortion: tuple[float, ...] = ()  # k1, k2, p1, p2, k3…

    def place(self, rotation: np.ndarray, head: np.ndarray) -> Placed:
        """A head as large as the camera enlarges along this ray: off the axis more, and differently in each direction.

        What a network takes for turning and size of a head that is stretched so is the nearest similarity.
        """
        ray = self._ray(head[:2])
        turn = _turn_to(ray)
        stretch = self._stretch(turn)
        u, scales, vt = np.linalg.svd(stretch)
        twist = u @ vt  # in the image, from the turned axes
        angle = np.arctan2(twist[1, 0] - twist[0, 1], twist[0, 0] + twist[1, 1])
        distance = 0.5 * client.HEAD_DIAMETER_MM * scales.mean() / max(float(head[2]), client.SMALLEST_HEAD)
        untwisted = multiply(from_rotvec(np.array([0.0, 0.0, -angle])), rotation)
        i, j, k, w = multiply(turn, untwisted)
        x, y, z = (distance * ray).tolist()
        return Placed(np.array([-k, -j, -i, w]), client.HeadPosition(-z, -y, -x))

    def project(self, points: np.ndarray) -> np.ndarray:
        """(N, 3) in the camera's frame, X right, Y down, Z forwards -> (N, 2) pixels."""
        zero = np.zeros(3)
        return cv2.projectPoints(points, zero, zero, self._array, np.array(self.distortion))[0].reshape(-1, 2)

    @property
    def _array(self) -> np.ndarray:
        fx, fy, cx, cy = self.matrix
        return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])

    def _ray(self, pixel: np.ndarray) -> np.ndarray:
        """(2,) -> (3,) unit."""
        point = np.asarray(pixel, np.float64).reshape(1, 1, 2)
        criteria = (cv2.TERM_CRITERIA_COUNT + cv2.TERM_CRITERIA_EPS, 50, 1e-10)
        x, y = cv2.undistortPoints(point, self._array, np.array(self.distortion), criteria=criteria).ravel()
        return np.array([x, y, 1.0]) / np.sqrt(x * x + y * y + 1.0)

    def _stretch(self, turn: np.ndarray) -> np.ndarray:
        """(2, 2) pixels per radian along the image axes that a turn takes to a ray."""
        steps = STEP * np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
        around = np.column_stack([steps, np.ones(4)])
        right, left, down, up = self.project(around @ to_matrix(turn).T)
        return np.column_stack([right - left, down - up]) / (2 * STEP)


def _turn_to(ray: np.ndarray) -> np.ndarray:
    """(4,): the shortest turn that takes (0, 0, 1) to a unit vector (3,)."""
    turn = np.array([-ray[1], ray[0], 0.0, 1.0 + ray[2]])
    return turn / np.linalg.norm(turn)
