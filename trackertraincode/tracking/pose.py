"""One head in one frame: what the network says of it, and what follows from that."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from trackertraincode.geometry.single import conjugate, multiply, quat_to_aflw_deg, to_matrix
from trackertraincode.tracking import opentrack_client as client
from trackertraincode.tracking.camera import Camera, Placed


def std_deg(tril: np.ndarray) -> np.ndarray:
    """Factor (3, 3) of a rotation's covariance, radians -> (3,) deviations about the axes, degrees."""
    return np.degrees(np.sqrt(np.square(tril).sum(-1)))


@dataclass(frozen=True)
class HeadPose:
    """One head in one frame. Where the model doesn't tell something, it is None."""

    rotation: np.ndarray  # (4,) i, j, k, w relative to the viewing ray, image axes
    head: np.ndarray  # (3,) x, y, radius; pixels of the frame
    box: np.ndarray  # (4,) x0, y0, x1, y1; pixels of the frame
    camera: Camera
    landmarks: np.ndarray | None = None  # (68, 3) pixels of the frame
    rotation_tril: np.ndarray | None = None  # (3, 3) factor of the covariance; radians about the image's axes
    head_tril: np.ndarray | None = None  # (3, 3) factor of the covariance of `head`; pixels

    @property
    def pitch_yaw_roll_deg(self) -> tuple[float, float, float]:
        """Angles in the convention of AFLW2000-3D."""
        return quat_to_aflw_deg(self.rotation)

    @property
    def rotation_std_deg(self) -> np.ndarray | None:
        """(3,) about the image's axes."""
        return None if self.rotation_tril is None else std_deg(self.rotation_tril)

    @cached_property
    def _placed(self) -> Placed:
        return self.camera.place(self.rotation, self.head)

    @property
    def position_mm(self) -> client.HeadPosition:
        """Relative to the camera, OpenTrack's axes."""
        return self._placed.position

    @property
    def world_rotation(self) -> np.ndarray:
        """(4,) i, j, k, w relative to the camera, OpenTrack's axes."""
        return self._placed.rotation

    @property
    def opentrack_values(self) -> tuple[float, ...]:
        """x, y, z in cm, yaw, pitch, roll in degrees, as OpenTrack gets them from its plugin."""
        return client.opentrack_values(self.position_mm, self.world_rotation)

    @property
    def covariance(self) -> np.ndarray | None:
        """(6, 6) of the rotation vector in the image's frame, radians, and of `head`, pixels."""
        if self.rotation_tril is None or self.head_tril is None:
            return None
        covariance = np.zeros((6, 6))
        for part, tril in ((slice(0, 3), self.rotation_tril), (slice(3, 6), self.head_tril)):
            factor = tril.astype(np.float64)
            covariance[part, part] = factor @ factor.T
        return covariance

    def moved_to(self, rotation: np.ndarray, head: np.ndarray) -> "HeadPose":
        """The same head, turned and moved stiffly: (4,) i, j, k, w and (3,) as the fields of these names."""
        scale = head[2] / self.head[2] if self.head[2] > 0 else 1.0
        corners = (self.box.reshape(2, 2) - self.head[:2]) * scale + head[:2]
        landmarks = self.landmarks
        if landmarks is not None:
            turn = to_matrix(multiply(rotation, conjugate(self.rotation)))
            landmarks = (landmarks - [*self.head[:2], 0.0]) @ turn.T * scale + [*head[:2], 0.0]
        return replace(self, rotation=rotation, head=head, box=corners.ravel(), landmarks=landmarks)

    def shifted(self, x: int, y: int) -> "HeadPose":
        """The same head in the pixels of a frame of which the one looked at is a part; x, y: where that begins."""
        offset = np.array([x, y, 0], np.float32)
        landmarks = None if self.landmarks is None else self.landmarks + offset
        return replace(self, head=self.head + offset, box=self.box + np.tile(offset[:2], 2), landmarks=landmarks)
