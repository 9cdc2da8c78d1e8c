"""Cameras: where a head of the image is in space.

rotation relative to the viewing ray, head in pixels --Camera.place--> rotation and position relative to the camera
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from trackertraincode.tracking import opentrack_client as client


class Placed(NamedTuple):
    """A head relative to the camera, in OpenTrack's axes."""

    rotation: np.ndarray  # (4,) i, j, k, w
    position: client.HeadPosition  # millimetres


class Camera(Protocol):
    """How pixels become millimetres."""

    def place(self, rotation: np.ndarray, head: np.ndarray) -> Placed:
        """rotation: (4,) i, j, k, w relative to the viewing ray; head: (3,) x, y, radius in pixels of the frame."""


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
