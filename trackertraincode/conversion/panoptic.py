"""CMU Panoptic Studio: people in a dome of 31 HD cameras, with head poses from skeletons and tracked face meshes.

SEQUENCE/calibration_SEQUENCE.json                       cameras: K, R, t in cm, distCoef, resolution, panel, node
SEQUENCE/hdVideos/hd_00_NN.mp4                           camera NN
SEQUENCE/hdPose3d_stage1_coco19/body3DScene_FFFFFFFF.json    19 joints of each person, cm
SEQUENCE/hdFace3d/faceRecon3D_hdFFFFFFFF.json            70 landmarks of each person, and which cameras see them
SEQUENCE/meshTrack_face/meshTrack_FFFFFFFF.txt           rotation vector of each face

The landmarks are too rough to be labels; they tell how well a face is seen. Rotations are relative to the viewing ray.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trackertraincode.conversion.archive import Archive, open_archive
from trackertraincode.conversion.faces import box_around, store_crop
from trackertraincode.conversion.run import Source
from trackertraincode.conversion.textfile import number_rows, read_lines
from trackertraincode.conversion.videos import open_video
from trackertraincode.errors import ArchiveError
from trackertraincode.facemodel.embedded import embedded_head
from trackertraincode.facemodel.head_model import COEFFICIENT_COUNT
from trackertraincode.geometry.rotation import matrix_to_quat, rotvec_to_matrix
from trackertraincode.sample.sample import Sample

NOSE, LEFT_EYE, LEFT_EAR, RIGHT_EYE, RIGHT_EAR = 1, 15, 16, 17, 18  # of the 19 joints
HEAD_SIZE = 0.7  # head radius, distances of the ears
SKULL_UP = 0.25  # middle of the skull above that of the ears, half distances of the ears
MIN_CONFIDENCE = 0.1  # of a joint
NOT_CHIN = slice(17, 68)  # landmarks that must be seen by some camera
MAX_DISTANCE = 3.0  # of those landmarks from the skull's middle, skull radii
MIN_ALIGNMENT = 0.8  # cosine between the tracked face's x axis and the line of the ears
FRONTAL, MIN_SEEN = np.cos(np.radians(45.0)), 22  # a face turned less than that must show so many landmarks
MIN_BOX = 64  # pixels
MIN_CONTRAST = 5.0  # standard deviation of grey values; less is no person
_FLIP = np.diag([1.0, -1.0, -1.0])  # the data base's head axes (y up, z out of the face) -> ours
_LABELS = re.compile(
    r"^(?P<sequence>.*?)/?(?P<kind>hdPose3d_stage1_coco19/body3DScene_|hdFace3d/faceRecon3D_hd|meshTrack_face/meshTrack_)"
    r"(?P<frame>\d{8})\.(?:json|txt)$"
)
_VIDEO = re.compile(r"^(?P<sequence>.*?)/?hdVideos/hd_00_(?P<camera>\d\d)\.mp4$")
_CALIBRATION = re.compile(r"^(?P<sequence>.*?)/?calibration_[^/]*\.json$")
KINDS = ("hdPose3d_stage1_coco19/body3DScene_", "hdFace3d/faceRecon3D_hd", "meshTrack_face/meshTrack_")


@dataclass(frozen=True)
class Item:
    """A frame of a camera."""

    sequence: str
    number: int  # of the sequence
    camera: int
    frame: int

    def __str__(self) -> str:
        return f"{self.video}, frame {self.frame}"

    @property
    def video(self) -> str:
        return f"{self.sequence}/hdVideos/hd_00_{self.camera:02d}.mp4".lstrip("/")

    def label(self, kind: str) -> str:
        """Member with one kind of labels."""
        extension = "txt" if kind.startswith("mesh") else "json"
        return f"{self.sequence}/{kind}{self.frame:08d}.{extension}".lstrip("/")


@dataclass(frozen=True)
class Camera:
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
        x, y = (points[:, :2] / points[:, 2:]).T
        k1, k2, p1, p2, k3 = self.distortion
        r = x * x + y * y
        radial = 1 + k1 * r + k2 * r**2 + k3 * r**3
        bent = np.stack([
            x * radial + 2 * p1 * x * y + p2 * (r + 2 * x * x),
            y * radial + 2 * p2 * x * y + p1 * (r + 2 * y * y),
            np.ones_like(x),
        ])  # fmt: skip
        return (self.intrinsics @ bent)[:2].T + 0.5


@dataclass(frozen=True)
class Person:
    """A head of a frame, in the world."""

    number: int
    joints: np.ndarray  # (19, 4) x, y, z, confidence
    landmarks: np.ndarray  # (70, 3)
    seen_by: list[set[int]]  # per landmark the cameras
    rotation: np.ndarray  # (3, 3) head, its axes, to world

    @property
    def eyes(self) -> np.ndarray:
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


def make_source(archive: Path, every: int) -> Source:
    """List frames: by sequence, camera, number. every: of the frames with labels only multiples of it.

    Raises ArchiveError when parts are missing.
    """
    opened = open_archive(archive)
    frames: dict[str, dict[str, set[int]]] = {}
    videos: dict[str, set[int]] = {}
    sequences = set()
    for name in opened.names:
        if match := _LABELS.match(name):
            frames.setdefault(match["sequence"], {}).setdefault(match["kind"], set()).add(int(match["frame"]))
        elif match := _VIDEO.match(name):
            videos.setdefault(match["sequence"], set()).add(int(match["camera"]))
        elif match := _CALIBRATION.match(name):
            sequences.add(match["sequence"])
    items, notes = [], []
    for number, sequence in enumerate(sorted(sequences)):
        labelled = set.intersection(*(frames.get(sequence, {}).get(kind, set()) for kind in KINDS))
        chosen = [frame for frame in sorted(labelled) if frame % every == 0]
        cameras = sorted(videos.get(sequence, set()) & set(calibration(archive, sequence)))
        if not labelled:
            notes.append(
                f"{sequence or archive}: no frames with hdPose3d_stage1_coco19, hdFace3d and meshTrack_face; left out"
            )
        elif not cameras:
            notes.append(f"{sequence or archive}: no hdVideos/hd_00_NN.mp4 of its cameras; left out")
        elif not chosen:
            notes.append(
                f"{sequence or archive}: none of its {len(labelled)} frames is a multiple of {every} (--every)"
            )
        items += [Item(sequence, number, camera, frame) for camera in cameras for frame in chosen]
    if not items:
        reason = notes[0] if notes else "no SEQUENCE/calibration_SEQUENCE.json in it"
        raise ArchiveError(f"{archive}: {reason}; give the folder of one or more unpacked sequences.")
    return Source(items=items, convert=partial(convert_item, archive), notes=tuple(notes))


@cache
def calibration(archive: Path, sequence: str) -> dict[int, Camera]:
    """HD cameras by number. Raises ArchiveError naming the file."""
    opened = open_archive(archive)
    (name, *_) = sorted(n for n in opened.names if (m := _CALIBRATION.match(n)) and m["sequence"] == sequence)
    found = {}
    for entry in _list(opened, name, "cameras"):
        if entry.get("panel") == 0:
            K, R, t, bent, size = (
                _numbers(entry.get(key), shape, f"{name}: '{key}' of camera {entry.get('name')}")
                for key, shape in (("K", (3, 3)), ("R", (3, 3)), ("t", (3,)), ("distCoef", (5,)), ("resolution", (2,)))
            )
            if not np.allclose(R @ R.T, np.eye(3), atol=1e-2) or not isinstance(entry.get("node"), int):
                raise ArchiveError(f"{name}: camera {entry.get('name')} has no rotation or no number.")
            found[entry["node"]] = Camera(K, bent, R, t, (int(size[0]), int(size[1])))
    return found


def convert_item(archive: Path, item: Item) -> list[Sample]:
    """One frame of a camera -> a sample per person that it sees well. Raises ArchiveError naming what is wrong."""
    opened = open_archive(archive)
    camera = calibration(archive, item.sequence)[item.camera]
    labels = [(person, *found) for person in read_people(opened, item) if (found := seen(person, camera, item.camera))]
    if not labels:
        return []
    image = open_video(archive, item.video, item.frame).read(item.frame)
    if image is None:
        raise ArchiveError(f"{item}: the video ends before.")
    if image.shape[1::-1] != camera.size:
        raise ArchiveError(f"{item}: {image.shape[1]} × {image.shape[0]} pixels, the camera has {camera.size}.")
    samples = []
    for person, rotation, head, box in labels:
        x0, y0, x1, y1 = (max(0, round(float(v))) for v in box)
        if image[y0:y1, x0:x1].reshape(-1, 3).std(0).max() <= MIN_CONTRAST:
            continue
        name = f"{item}, person {person.number}"
        samples.append(
            Sample(
                name=name,
                sequence=item.sequence or archive.name,
                rotation=matrix_to_quat(torch.from_numpy(rotation)).numpy(),
                individual=1000 * item.number + person.number,
                **store_crop(image, box, {"head": head}, name=name),
            )
        )
    return samples


def seen(person: Person, camera: Camera, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
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


def read_people(archive: Archive, item: Item) -> Iterator[Person]:
    """Those with a skeleton, landmarks and a tracked face. Raises ArchiveError naming the member."""
    body_name, face_name, mesh_name = (item.label(kind) for kind in KINDS)
    bodies = {entry.get("id"): entry.get("joints19") for entry in _list(archive, body_name, "bodies")}
    faces: dict[Any, Any] = {entry.get("id"): entry.get("face70") for entry in _list(archive, face_name, "people")}
    rotations = read_rotations(archive.read(mesh_name), mesh_name)
    for number in sorted(rotations):
        if number not in bodies or number not in faces:
            continue
        joints = _numbers(bodies[number], (19, 4), f"{body_name}: 'joints19' of {number}")
        face = faces[number] if isinstance(faces[number], dict) else {}
        landmarks = _numbers(face.get("landmarks"), (70, 3), f"{face_name}: landmarks of {number}")
        cameras = face.get("visibility")
        if not isinstance(cameras, list) or len(cameras) != 70 or not all(isinstance(c, list) for c in cameras):
            raise ArchiveError(f"{face_name}: 'visibility' of {number} isn't a list of cameras per landmark.")
        seen_by = [{c for c in ids if isinstance(c, int)} for ids in cameras]
        yield Person(number, joints, landmarks, seen_by, rotations[number])


def read_rotations(data: bytes, name: str) -> dict[int, np.ndarray]:
    """meshTrack: a line "Face ..."; five lines before it the person's number, two after it the rotation vector.

    Raises ArchiveError naming file and line.
    """
    lines = read_lines(data, name)
    found = {}
    for place in range(2, len(lines)):  # behind the header
        if lines[place].startswith("Face"):
            person = lines[place - 5].strip() if place >= 7 else ""
            if not person.isdigit() or place + 2 >= len(lines):
                raise ArchiveError(f"{name}: line {place + 1}: no person and rotation around this 'Face'.")
            vector = number_rows([lines[place + 2]], name, 3, first=place + 3)[0]
            found[int(person)] = rotvec_to_matrix(torch.from_numpy(vector)).numpy()
    return found


def _list(archive: Archive, name: str, key: str) -> list[dict[str, Any]]:
    """A list of objects in a JSON file. Raises ArchiveError naming the file."""
    try:
        content = json.loads(archive.read(name))
    except (ValueError, RecursionError) as error:
        raise ArchiveError(f"{name}: not a JSON file ({error}).") from error
    entries = content.get(key) if isinstance(content, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ArchiveError(f"{name}: no list '{key}' in it.")
    return entries


def _numbers(value: Any, shape: tuple[int, ...], where: str) -> np.ndarray:
    """Finite numbers of a JSON file. Raises ArchiveError, which begins with `where`."""
    try:
        array = np.array(value, dtype=np.float64).reshape(shape)
    except (TypeError, ValueError, OverflowError):
        array = np.full(shape, np.nan)
    if not np.isfinite(array).all():
        raise ArchiveError(f"{where} isn't {' × '.join(map(str, shape))} finite numbers.")
    return array
