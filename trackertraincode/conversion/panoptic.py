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
from trackertraincode.conversion.faces import store_crop
from trackertraincode.conversion.panoptic_heads import DomeCamera, DomePerson, seen
from trackertraincode.conversion.run import Source
from trackertraincode.conversion.textfile import number_rows, read_lines
from trackertraincode.conversion.videos import open_video
from trackertraincode.errors import ArchiveError
from trackertraincode.geometry.rotation import matrix_to_quat, rotvec_to_matrix
from trackertraincode.sample.sample import Sample

MIN_CONTRAST = 5.0  # standard deviation of grey values; less is no person
_LABELS = re.compile(
    r"^(?P<sequence>.*?)/?(?P<kind>hdPose3d_stage1_coco19/body3DScene_|hdFace3d/faceRecon3D_hd|meshTrack_face/meshTrack_)"
    r"(?P<frame>\d{8})\.(?:json|txt)$"
)
_VIDEO = re.compile(r"^(?P<sequence>.*?)/?hdVideos/hd_00_(?P<camera>\d\d)\.mp4$")
_PERSON = re.compile(r"[0-9]{1,3}")  # of a sequence; thousands count the sequences
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
            reason = "no frames with hdPose3d_stage1_coco19, hdFace3d and meshTrack_face; left out"
        elif not cameras:
            reason = "no hdVideos/hd_00_NN.mp4 of its cameras; left out"
        else:
            reason = "" if chosen else f"none of its {len(labelled)} frames is a multiple of {every} (--every)"
        notes += [f"{sequence or archive}: {reason}"] if reason else []
        items += [Item(sequence, number, camera, frame) for camera in cameras for frame in chosen]
    if not items:
        reason = notes[0] if notes else "no SEQUENCE/calibration_SEQUENCE.json in it"
        raise ArchiveError(f"{archive}: {reason}; give the folder of one or more unpacked sequences.")
    return Source(items=items, convert=partial(convert_item, archive), notes=tuple(notes))


@cache
def calibration(archive: Path, sequence: str) -> dict[int, DomeCamera]:
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
            found[entry["node"]] = DomeCamera(K, bent, R, t, (int(size[0]), int(size[1])))
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
        raise ArchiveError(f"{item}: the video ends before this frame.")
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


def read_people(archive: Archive, item: Item) -> Iterator[DomePerson]:
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
        yield DomePerson(number, joints, landmarks, seen_by, rotations[number])


def read_rotations(data: bytes, name: str) -> dict[int, np.ndarray]:
    """meshTrack: a line "Face ..."; five lines before it the person's number, two after it the rotation vector.

    Raises ArchiveError naming file and line.
    """
    lines = read_lines(data, name)
    found = {}
    for place in range(2, len(lines)):  # behind the header
        if lines[place].startswith("Face"):
            person = lines[place - 5].strip() if place >= 7 else ""
            if not _PERSON.fullmatch(person) or place + 2 >= len(lines):
                raise ArchiveError(
                    f"{name}: line {place + 1}: no person and rotation around this 'Face'; persons are 0 to 999."
                )
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
