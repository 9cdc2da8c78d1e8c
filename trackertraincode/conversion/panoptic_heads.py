"""Heads of CMU Panoptic in the images of its cameras: which ones a camera sees well, and their labels there.

DomePerson (world, cm), DomeCamera --seen--> rotation relative to the viewing ray, head, box; pixels from the image's corner
"""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from trackertraincode.conversion.faces import box_around
from trackertraincode.facemodel.embedded import embedded_head
from trackertraincode.facemodel.head_model import COEFFICIENT_COUNT
from trackertraincode.geometry.pixels import HALF_PIXEL

NOSE, LEFT_EYE, LEFT_EAR, RIGHT_EYE, RIGHT_EAR = 1, 15, 16, 17, 18  # of the 19 joints
HEAD_SIZE = 0.7  # head radius, distances of the ears
SKULL_UP = 0.25  # middle of the skull above that of the ears, half distances of the ears
MIN_CONFIDENCE = 0.1  # of a joint
NOT_CHIN = slice(17, 68)  # landmarks that must be seen by some camera
MAX_DISTANCE = 3.0  # of those landmarks from the skull's middle, skull radii
MIN_ALIGNMENT = 0.8  # cosine between the tracked face's x axis and the line of the ears
FRONTAL, MIN_SEEN = np.cos(np.radians(45.0)), 22  # a face turned less than that must show so many landmarks
MIN_BOX = 64  # pixels
_FLIP = np.diag([1.0, -1.0, -1.0])  # the database's head axes (y up, z out of the face) -> ours


@dataclass(frozen=True)
class DomeCamera:
    """An HD camera; world points are in cm."""

    intrinsics: np.ndarray  # (3, 3)
    distortion: np.ndarray  # (5,) k1, k2, p1, p2, k3
    rotation: np.ndarray  # (3, 3) world to camera
    shift: np.ndarray  # (3,)
    size: tuple[int, int]  # pixels

    def to_camera(self, points: np.ndarray) -> np.ndarray:
        """World (..., 3) -> camera (..., 3), cm."""
        return points @ self.rotation.T + self.shift

    def project(self, points: np.ndarray) -> np.ndarray:
        """Camera points (N, 3) -> (N, 2) pixels from the image's corner (Brown's model of distortion)."""
        zero = np.zeros(3)
        return cv2.projectPoints(points, zero, zero, self.intrinsics, self.distortion)[0].reshape(-1, 2) + HALF_PIXEL


@dataclass(frozen=True)
class DomePerson:
    """A head of a frame, in the world."""

    number: int
    joints: np.ndarray  # (19, 4) x, y, z, confidence
    landmarks: np.ndarray  # (70, 3)
    seen_by: list[set[int]]  # per landmark the cameras
    rotation: np.ndarray  # (3, 3) head, its axes, to world

    @property
    def eyes(self) -> np.ndarray:
        """(3,) between them."""
        return self.joints[[LEFT_EYE, RIGHT_EYE], :3].mean(0)

    @property
    def ears(self) -> np.ndarray:
        """(3,) from the right one to the left one."""
        return self.joints[LEFT_EAR, :3] - self.joints[RIGHT_EAR, :3]

    def is_sure(self) -> bool:
        """Whether skeleton, landmarks and mesh agree."""
        places = self.joints[[LEFT_EYE, RIGHT_EYE, LEFT_EAR, RIGHT_EAR], :3]
        skull = places.mean(0)
        radius = 0.5 * np.linalg.norm(places - skull, axis=1).mean()
        near = np.linalg.norm(self.landmarks[NOT_CHIN] - skull, axis=1) < MAX_DISTANCE * radius
        sure = self.joints[[NOSE, LEFT_EYE, LEFT_EAR, RIGHT_EYE, RIGHT_EAR], 3] > MIN_CONFIDENCE
        aligned = self.rotation[:, 0] @ self.ears > MIN_ALIGNMENT * np.linalg.norm(self.ears)
        return bool(near.all() and sure.all() and aligned and all(self.seen_by[NOT_CHIN]))

    def outline(self) -> np.ndarray:
        """(N, 3) points of face and skull in the world."""
        face = embedded_head().face_hull_points(np.zeros(COEFFICIENT_COUNT)).astype(np.float64)
        width = float(np.linalg.norm(self.ears))
        ears = self.joints[[LEFT_EAR, RIGHT_EAR], :3].mean(0)
        skull = (_sphere() + [0.0, SKULL_UP, 0.0]) * width / 2
        return np.concatenate([
            face @ _FLIP @ self.rotation.T * HEAD_SIZE * width + self.eyes,
            skull @ self.rotation.T + ears,
        ])  # fmt: skip


@cache
def _sphere() -> np.ndarray:
    """(500, 3) points evenly on the unit sphere."""
    z = 1 - (2 * np.arange(500) + 1) / 500
    angle = np.arange(500) * np.pi * (3 - np.sqrt(5))
    return np.stack([np.sqrt(1 - z * z) * np.cos(angle), np.sqrt(1 - z * z) * np.sin(angle), z], axis=1)


def seen(person: DomePerson, camera: DomeCamera, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Rotation (3, 3) relative to the viewing ray, head (3,) and box (4,) in a camera's image, from its corner.

    None where the person isn't seen well.
    """
    if not person.is_sure():
        return None
    eyes = camera.to_camera(person.eyes)
    radius = HEAD_SIZE * float(np.linalg.norm(person.ears))
    outline = camera.to_camera(person.outline())
    if eyes[2] <= radius or outline[:, 2].min() <= 0:
        return None
    step = 1e-3 * np.eye(3)[:2]
    xy, right, down = camera.project(np.stack([eyes, *(eyes + step)]))
    pixels_per_cm = np.sqrt(abs(np.linalg.det(np.stack([right - xy, down - xy])))) / 1e-3
    box = box_around(camera.project(outline))
    if not (xy > 0).all() or not (xy < camera.size).all() or (box[2:] - box[:2]).min() <= MIN_BOX:
        return None
    rotation = ray_axes(eyes).T @ camera.rotation @ person.rotation
    landmarks = sum(number in cameras for cameras in person.seen_by)
    if -rotation[2, 2] >= FRONTAL and landmarks < MIN_SEEN:
        return None
    return rotation @ _FLIP, np.array([*xy, pixels_per_cm * radius]), box


def ray_axes(point: np.ndarray) -> np.ndarray:
    """(3,) of a camera -> (3, 3): columns x, horizontal, and y, both across the viewing ray, and z along it."""
    z = point / np.linalg.norm(point)
    x = np.cross([0.0, 1.0, 0.0], z)
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z], axis=1)
