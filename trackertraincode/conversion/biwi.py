"""BIWI Kinect head pose database: 24 sequences of 20 people, poses from depth, colour images.

PP/frame_FFFFF_rgb.png      a frame of sequence PP, below faces_0/, kinect_head_pose_db/ or nothing
PP/frame_FFFFF_pose.txt     3 rows of the head's rotation, blank line, head centre in mm; depth camera
PP/rgb.cal                  3 rows of intrinsics, distortion, 3 rows of rotation, translation in mm, width and height

`rgb.cal` takes depth to colour: p_rgb = R_cal p + t_cal, as written. Lenses are taken as free of distortion, which the
database's are.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch

from trackertraincode.conversion import biwi_fsanet
from trackertraincode.conversion.archive import Archive, naming, one_of_each, open_archive, unknown_images
from trackertraincode.conversion.run import Source
from trackertraincode.conversion.textfile import finite_number, number_rows, read_lines
from trackertraincode.detection.mtcnn import MtcnnDetector, best_overlap
from trackertraincode.errors import ArchiveError, ConfigError
from trackertraincode.geometry.camera import HEAD_RADIUS_MM, focal_length
from trackertraincode.geometry.rotation import matrix_to_quat
from trackertraincode.sample.images import Size, decode, encode_jpeg
from trackertraincode.sample.moving import from_centres
from trackertraincode.sample.sample import Sample

HEAD_ORIGIN = np.array([0.03, -0.35, -0.2])  # from the database's head centre to ours, head radii; measured by eye
PUBLISHED_FOV = math.radians(65.0)  # horizontal, of the published conversion script
MIN_CONFIDENCE = 0.9  # of a detection
MIN_IOU = 0.01  # of a detection with the projected head
PEOPLE = (  # of sequences 1 to 24: four of the 20 people come twice (file list of the Hugging Face loader of the set)
    "F01", "F02", "F03", "F04", "F05", "F06", "M01", "M02", "M03", "M04", "M05", "M06",
    "M07", "M08", "F03", "M09", "M10", "F05", "M11", "M12", "F02", "M01", "M13", "M14",
)  # fmt: skip
_IMAGE = re.compile(r"^(?:.*/)?(?P<sequence>\d\d)/frame_(?P<frame>\d{5})_rgb\.png$", re.IGNORECASE)

Frame = tuple[int, int]  # number of the sequence, number of the frame


@dataclass(frozen=True)
class Item:
    """One frame."""

    image: str
    sequence: int
    box: tuple[float, float, float, float] | None  # annotated face; None: detect it

    @property
    def pose(self) -> str:
        return _pose_of(self.image)

    @property
    def calibration(self) -> str:
        return f"{self.image.rpartition('/')[0]}/rgb.cal"

    def __str__(self) -> str:
        return self.image


@dataclass(frozen=True)
class KinectCamera:
    """Colour camera of a sequence."""

    intrinsics: np.ndarray  # (3, 3) pixels
    rotation: np.ndarray  # (3, 3) depth to colour camera
    translation: np.ndarray  # (3,) mm
    width: float
    height: float


def make_source(archive: Path, opal_annotation: Path | None, published_projection: bool) -> Source:
    """List the archive, or FSA-Net's file.

    Raises ArchiveError when it is none or parts are missing, ConfigError without a detector or for options that don't fit.
    """
    if biwi_fsanet.is_fsanet(archive):
        if opal_annotation is not None or published_projection:
            raise ConfigError(f"{archive}: has crops; --opal-annotation and --published-projection don't fit.")
        return biwi_fsanet.make_source(archive)
    opened = open_archive(archive)
    images, copies = list_images(opened)
    if not images:
        raise ArchiveError(
            f"{archive}: no PP/frame_FFFFF_rgb.png in it; give the BIWI Kinect archive or its folder (faces_0 or "
            "kinect_head_pose_db), or FSA-Net's BIWI_done.npz."
        )
    notes = [*copies, *unknown_images(opened, lambda name: _IMAGE.match(name) or "mask" in name.lower())]
    boxes: dict[Frame, tuple[float, float, float, float]] | None = None
    if opal_annotation is not None:
        boxes = read_opal_annotation(opal_annotation)
        if absent := [frame for frame in boxes if frame not in images]:
            first = "{:02d}/frame_{:05d}".format(*absent[0])
            notes.append(f"{len(absent)} frames of {opal_annotation.name} aren't in {archive}, such as {first}.")
        images = {frame: name for frame, name in images.items() if frame in boxes}
        if not images:
            raise ArchiveError(f"{opal_annotation}: not one of its frames is in {archive}.")
    else:
        MtcnnDetector().check()
    items = [Item(name, frame[0], None if boxes is None else boxes[frame]) for frame, name in images.items()]
    uncalibrated = sorted({item.calibration for item in items if item.calibration not in opened})
    if len(uncalibrated) == len({item.calibration for item in items}):
        raise ArchiveError(
            f"{archive}: '{uncalibrated[0]}' and all other rgb.cal are missing; nothing can be projected."
        )
    if uncalibrated:
        notes.append(f"{archive}: missing, so that their frames are skipped: {', '.join(uncalibrated)}")
    convert = partial(convert_item, archive, published_projection)
    return Source(items=items, convert=convert, notes=tuple(notes))


def _pose_of(image: str) -> str:
    return re.sub(r"_rgb\.png$", "_pose.txt", image, flags=re.IGNORECASE)


def list_images(archive: Archive) -> tuple[dict[Frame, str], tuple[str, ...]]:
    """Members by sequence and frame, in this order; and a note on frames that are there in two layouts."""

    def key(name: str) -> Frame | None:
        match = _IMAGE.match(name)
        return match and (int(match["sequence"]), int(match["frame"]))

    found, copies = one_of_each(archive.names, key, lambda name: _pose_of(name) in archive)
    return dict(sorted(found.items())), copies


def read_opal_annotation(path: Path) -> dict[Frame, tuple[float, float, float, float]]:
    """Boxes of `biwi_ann.txt`: lines of `image;tl_x;tl_y;br_x;br_y;...`, the first one a header.

    Raises ArchiveError naming file and line.
    """
    if not path.is_file():
        raise ArchiveError(f"{path}: no such file; get annotations/biwi_ann.txt of opal23_headpose.")
    lines = read_lines(path.read_bytes(), str(path))
    boxes = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        words = line.split(";")
        match = _IMAGE.match(words[0].replace("\\", "/"))
        if match is None or len(words) < 5:
            raise ArchiveError(f"{path}: line {number} isn't 'PP/frame_FFFFF_rgb.png;left;top;right;bottom;...'.")
        x0, y0, x1, y1 = (finite_number(word, f"{path}: line {number}") for word in words[1:5])
        boxes[int(match["sequence"]), int(match["frame"])] = (x0, y0, x1, y1)
    if not boxes:
        raise ArchiveError(f"{path}: no frames in it.")
    return boxes


def convert_item(path: Path, published_projection: bool, item: Item) -> list[Sample]:
    """One frame -> one sample. Raises ArchiveError naming the member that is missing, damaged or wrong."""
    archive = open_archive(path)
    calibration = read_kinect_camera(path, item.calibration)
    rotation, center = read_pose(archive.read(item.pose), item.pose)
    rotation = calibration.rotation @ rotation
    center = calibration.rotation @ center + calibration.translation
    with naming(item.image):
        image = decode(archive.read(item.image), color=True)
    height, width = image.shape[:2]
    size = Size(width, height)
    if size != (calibration.width, calibration.height):
        found = f"{calibration.width:g} × {calibration.height:g}"
        raise ArchiveError(f"{item.image}: the image is {width} × {height}, {item.calibration} is for {found}.")
    xy, radius = project(center, calibration, published_projection)
    if not (-width < 2 * xy[0] < 3 * width and -height < 2 * xy[1] < 3 * height):
        raise ArchiveError(f"{item.pose}: the head lies at {xy.round().tolist()}, outside the image.")
    projected = np.concatenate([xy - radius, xy + radius])
    return [
        Sample(
            image=encode_jpeg(image),
            name=item.image,
            sequence=f"{item.sequence:02d}",
            rotation=matrix_to_quat(torch.from_numpy(rotation)).numpy(),
            face_box=_detect(image, projected, item.image) if item.box is None else _annotated(item, projected, size),
            individual=person_of(item.sequence),
            **from_centres({"head": np.array([*(xy + rotation[:2] @ HEAD_ORIGIN * radius), radius])}),
        )
    ]


def person_of(sequence: int) -> int:
    """Number of the person in a sequence, 0 to 19; sequences that the database doesn't have are people of their own."""
    people = sorted(set(PEOPLE))
    return people.index(PEOPLE[sequence - 1]) if 1 <= sequence <= len(PEOPLE) else len(people) + sequence


def project(center: np.ndarray, calibration: KinectCamera, published: bool) -> tuple[np.ndarray, float]:
    """Head centre (3,) in mm of the colour camera -> (2,) pixels and the radius in pixels.

    published: through the middle of the image at 65 degrees, instead of through the camera's intrinsics.
    """
    x, y, z = center
    if published:
        f = focal_length(calibration.width, PUBLISHED_FOV)
        xy = np.array([f * x / z + calibration.width / 2, f * y / z + calibration.height / 2])
        return xy, f * HEAD_RADIUS_MM / z
    u, v, w = calibration.intrinsics @ center
    return np.array([u / w, v / w]), float(calibration.intrinsics[0, 0] * HEAD_RADIUS_MM / z)


def read_pose(data: bytes, name: str) -> tuple[np.ndarray, np.ndarray]:
    """`_pose.txt` -> rotation (3, 3) and head centre (3,) in mm. Raises ArchiveError naming the file."""
    blocks = _blocks(read_lines(data, name), name, ((3, 3), (1, 3)))
    rotation, center = blocks[0], blocks[1][0]
    _check_rotation(rotation, name)
    if center[2] <= HEAD_RADIUS_MM:
        raise ArchiveError(f"{name}: the head centre {center.tolist()} isn't in front of the camera.")
    return rotation, center


@cache
def read_kinect_camera(archive: Path, name: str) -> KinectCamera:
    """`rgb.cal`. Raises ArchiveError naming the file."""
    lines = read_lines(open_archive(archive).read(name), name)
    intrinsics, _, rotation, translation, size = _blocks(lines, name, ((3, 3), None, (3, 3), (1, 3), (1, 2)))
    _check_rotation(rotation, name)
    if intrinsics[0, 0] <= 0 or intrinsics[1, 1] <= 0 or not np.allclose(intrinsics[2], [0, 0, 1]):
        raise ArchiveError(f"{name}: {intrinsics.tolist()} can't be a camera's intrinsics.")
    return KinectCamera(intrinsics, rotation, translation[0], *size[0])


def _blocks(lines: list[str], name: str, shapes: Sequence[tuple[int, int] | None]) -> list[np.ndarray]:
    """Blocks of numbers between blank lines. None: a block that isn't read."""
    starts = [i for i, line in enumerate(lines) if line.strip() and (i == 0 or not lines[i - 1].strip())]
    if len(starts) != len(shapes):
        raise ArchiveError(f"{name}: {len(starts)} blocks between blank lines, expected {len(shapes)}.")
    blocks = []
    for start, shape in zip(starts, shapes):
        rows, columns = shape or (0, 0)
        block = number_rows(lines[start : start + rows], name, columns, first=start + 1)
        after = lines[start + rows] if start + rows < len(lines) else ""
        if len(block) != rows or (shape is not None and after.strip()):
            raise ArchiveError(f"{name}: the block at line {start + 1} should have {rows} lines of {columns} numbers.")
        blocks.append(block)
    return blocks


def _check_rotation(matrix: np.ndarray, name: str) -> None:
    """The files have four digits or more."""
    if not np.allclose(matrix @ matrix.T, np.eye(3), atol=5e-3) or np.linalg.det(matrix) < 0:
        raise ArchiveError(f"{name}: {matrix.round(4).tolist()} isn't a rotation.")


def _annotated(item: Item, projected: np.ndarray, size: Size) -> np.ndarray:
    x0, y0, x1, y1 = item.box or (0.0, 0.0, 0.0, 0.0)
    if x1 <= x0 or y1 <= y0 or x0 >= size.width or y0 >= size.height or x1 <= 0 or y1 <= 0:
        raise ArchiveError(f"{item.image}: the annotated box {item.box} is empty or outside the image.")
    box = np.array([x0, y0, x1, y1])
    if (np.maximum(box[:2], projected[:2]) >= np.minimum(box[2:], projected[2:])).any():
        found = projected.round(1).tolist()
        raise ArchiveError(f"{item.image}: the annotated box {item.box} isn't where the pose puts the head, {found}.")
    return box


def _detect(image: np.ndarray, projected: np.ndarray, name: str) -> np.ndarray:
    """The detected face that overlaps the projected head most."""
    boxes, confidences = MtcnnDetector()(image)
    box = best_overlap(boxes[confidences > MIN_CONFIDENCE], projected, MIN_IOU)
    if box is None:
        raise ArchiveError(f"{name}: no detected face overlaps the projected head.")
    return box
