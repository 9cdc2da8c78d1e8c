"""Frames from a picture, a folder of pictures, a video or a camera; annotated frames and poses to files."""

import csv
import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import cv2
import numpy as np

from trackertraincode.errors import UserError
from trackertraincode.files import whole_file
from trackertraincode.sample.images import ImageDecodeError, decode, encode_jpeg, encode_png
from trackertraincode.tracking.tracker import HeadPose
from trackertraincode.visualize import draw_sample, draw_text

PICTURES = (".jpg", ".jpeg", ".png")
USUAL_FPS = 30.0  # where a source doesn't say


class Frame(NamedTuple):
    """One picture of a source."""

    name: str
    image: np.ndarray  # (H, W, 3) RGB uint8
    fps: float = USUAL_FPS  # of the video


def is_camera(source: str) -> bool:
    """Whether a source is the number of a camera."""
    return source.isdigit() and not Path(source).exists()


def iter_frames(source: str) -> Iterator[Frame]:
    """Frames of a picture, a folder of pictures (by name), a video file, or a camera given by its number.

    Raises UserError when the source can't be opened.
    """
    path = Path(source)
    if is_camera(source):
        yield from _video_frames(cv2.VideoCapture(int(source)), f"camera {source}")
    elif path.is_dir():
        pictures = sorted(p for p in path.iterdir() if p.suffix.lower() in PICTURES)
        if not pictures:
            raise UserError(f"{path}: no pictures ({', '.join(PICTURES)}) in this folder.")
        for picture in pictures:
            yield _read_picture(picture)
    elif not path.is_file():
        raise UserError(f"{source}: no such file, folder or camera number.")
    elif path.suffix.lower() in PICTURES:
        yield _read_picture(path)
    else:
        yield from _video_frames(cv2.VideoCapture(str(path)), str(path))


def _read_picture(path: Path) -> Frame:
    try:
        return Frame(path.name, decode(path.read_bytes(), color=True))
    except ImageDecodeError as error:
        raise UserError(f"{path}: {error}.") from error


def _video_frames(capture: cv2.VideoCapture, name: str) -> Iterator[Frame]:
    if not capture.isOpened():
        raise UserError(f"{name}: can't be opened as a video; give a picture, a video or a camera number.")
    try:
        index = 0
        fps = capture.get(cv2.CAP_PROP_FPS) or USUAL_FPS
        while True:
            found, image = capture.read()
            if not found:
                return
            yield Frame(f"{index:06d}", cv2.cvtColor(image, cv2.COLOR_BGR2RGB), fps)
            index += 1
    finally:
        capture.release()


def draw_pose(image: np.ndarray, pose: HeadPose | None, fps: float | None = None) -> np.ndarray:
    """A copy of the (H, W, 3) RGB picture with axes, box, landmarks, angles, their uncertainty and the frame rate."""
    lines = [] if fps is None else [f"{fps:.0f} fps"]
    if pose is None:
        return draw_text(image, [*lines, "no face"])
    std = pose.rotation_std_deg
    for index, (word, angle) in enumerate(zip(("pitch", "yaw", "roll"), pose.pitch_yaw_roll_deg)):
        spread = "" if std is None else f" +- {std[index]:.1f}"
        lines.append(f"{word} {angle:6.1f}{spread}")
    return draw_text(draw_sample(image, _labels(pose)), lines)


def _labels(pose: HeadPose) -> dict[str, np.ndarray | None]:
    return {"rotation": pose.rotation, "head": pose.head, "face_box": pose.box, "landmarks": pose.landmarks}


class AnnotatedOutput:
    """Writes drawn frames: a picture for .jpg or .png (the last frame), a folder of pictures for a name without
    suffix, else a video. A context manager; pictures and videos have their name only when all went well.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._whole = ExitStack()
        self._temporary = path
        self._video: cv2.VideoWriter | None = None
        self._size = (0, 0)

    def write(self, frame: Frame) -> None:
        """All frames of a video are fitted into the first one's size. Raises UserError when it can't be written."""
        suffix = self._path.suffix.lower()
        if not suffix:
            self._path.mkdir(parents=True, exist_ok=True)
            (self._path / f"{Path(frame.name).stem}.png").write_bytes(encode_png(frame.image))
        elif suffix in PICTURES:
            data = encode_png(frame.image) if suffix == ".png" else encode_jpeg(frame.image)
            self._temporary.write_bytes(data)
        else:
            if self._video is None:
                self._video = self._open(frame)
            self._video.write(cv2.cvtColor(_fitted(frame.image, self._size), cv2.COLOR_RGB2BGR))

    def _open(self, frame: Frame) -> cv2.VideoWriter:
        height, width = frame.image.shape[:2]
        self._size = (width, height)
        code = cv2.VideoWriter.fourcc(*("mp4v" if self._path.suffix.lower() == ".mp4" else "MJPG"))
        video = cv2.VideoWriter(str(self._temporary), code, frame.fps, self._size)
        if not video.isOpened():
            raise UserError(f"{self._path}: can't be written as a video; name it .mp4, .avi, .jpg or .png.")
        return video

    def __enter__(self) -> "AnnotatedOutput":
        if self._path.suffix:
            self._temporary = self._whole.enter_context(whole_file(self._path))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._video is not None:
            self._video.release()
        self._whole.__exit__(kind, error, trace)


def _fitted(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The (H, W, 3) picture scaled into width and height of `size`, with black margins."""
    height, width = image.shape[:2]
    if (width, height) == size:
        return image
    scale = min(size[0] / width, size[1] / height)
    scaled = cv2.resize(image, (max(1, int(width * scale)), max(1, int(height * scale))), interpolation=cv2.INTER_AREA)
    right, bottom = size[0] - scaled.shape[1], size[1] - scaled.shape[0]
    return cv2.copyMakeBorder(scaled, 0, bottom, 0, right, cv2.BORDER_CONSTANT)


def pose_row(name: str, pose: HeadPose | None) -> dict[str, object]:
    """One line of the CSV or JSON output: angles in degrees, pixels of the frame, millimetres."""
    if pose is None:
        return {"frame": name, "face": False}
    pitch, yaw, roll = pose.pitch_yaw_roll_deg
    x, y, radius = (float(v) for v in pose.head)
    row: dict[str, object] = {"frame": name, "face": True, "pitch": pitch, "yaw": yaw, "roll": roll}
    row |= dict(zip(("qi", "qj", "qk", "qw"), (float(v) for v in pose.rotation)))
    row |= {"x": x, "y": y, "radius": radius}
    row |= dict(zip(("x0", "y0", "x1", "y1"), (float(v) for v in pose.box)))
    row |= dict(zip(("world_x_mm", "world_y_mm", "world_z_mm"), pose.position_mm))
    return row


def write_rows(rows: list[dict[str, object]], *, json_file: Path | None, csv_file: Path | None) -> None:
    """Write what `pose_row` made."""
    if json_file is not None:
        json_file.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    if csv_file is not None:
        longest: dict[str, object] = max(rows, key=len, default={})
        columns = list(longest) or ["frame", "face"]
        with csv_file.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)
