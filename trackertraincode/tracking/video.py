"""Frames from an image, a folder of images, a video, a camera or a stream; annotated frames and poses to files."""

import csv
import json
import math
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from trackertraincode.errors import UserError
from trackertraincode.files import whole_file
from trackertraincode.sample.images import ImageDecodeError, decode, encode_jpeg, encode_png
from trackertraincode.tracking.tracker import HeadPose

IMAGES = (".jpg", ".jpeg", ".png")
VIDEOS = {".mp4": "mp4v", ".avi": "MJPG", ".mkv": "MJPG", ".mov": "mp4v"}  # suffix of an output -> its codec
USUAL_FPS = 30.0  # where a source doesn't say, or says nonsense
LARGEST_TIMEBASE = 65_535  # of MPEG-4: a frame rate is a fraction with whole numbers up to this


class Frame(NamedTuple):
    """One image of a source."""

    name: str
    image: np.ndarray  # (H, W, 3) RGB uint8
    fps: float = USUAL_FPS  # of the video


def is_camera(source: str) -> bool:
    """Whether a source isn't a file: the number of a camera, its device, or the address of a stream."""
    path = Path(source)
    return "://" in source or path.is_char_device() or (source.isdigit() and not path.exists())


def images_in(folder: Path) -> list[Path]:
    """Images of a folder by name, but for hidden ones. Raises UserError when there are none."""
    found = sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGES and not p.name.startswith("."))
    if not found:
        raise UserError(f"{folder}: no images ({', '.join(IMAGES)}) in this folder.")
    return found


def _print_note(note: str) -> None:
    print(note, file=sys.stderr)


def iter_frames(source: str, tell: Callable[[str], None] = _print_note) -> Iterator[Frame]:
    """Frames of an image, a folder of images (by name), a video file, a camera (number or device) or a stream's address.

    Images are turned upright as their orientation tags say. tell: gets a line for each image of a folder that can't be
    read, and for a video that ends early. Raises UserError when there is nothing to read.
    """
    path = Path(source)
    if is_camera(source):
        yield from _video_frames(int(source) if source.isdigit() else source, source, tell)
    elif path.is_dir():
        yield from _folder_frames(path, tell)
    elif not path.is_file():
        raise UserError(f"{source}: no such file, folder or camera number.")
    elif path.suffix.lower() in IMAGES:
        yield _read_image(path)
    else:
        yield from _video_frames(str(path), source, tell)


def _folder_frames(folder: Path, tell: Callable[[str], None]) -> Iterator[Frame]:
    readable = 0
    for path in images_in(folder):
        try:
            frame = _read_image(path)
        except UserError as error:
            tell(f"skipped: {error}")
            continue
        readable += 1
        yield frame
    if not readable:
        raise UserError(f"{folder}: none of its images can be read.")


def _read_image(path: Path) -> Frame:
    try:
        return Frame(path.name, decode(path.read_bytes(), color=True, upright=True))
    except ImageDecodeError as error:
        raise UserError(f"{path}: {error}.") from error


def _video_frames(video: str | int, name: str, tell: Callable[[str], None]) -> Iterator[Frame]:
    with _quiet_opencv():
        capture = cv2.VideoCapture(video)
    if not capture.isOpened():
        raise UserError(
            f"{name}: can't be opened as a video; give an image, a video, a camera number or a stream's address."
        )
    try:
        fps = capture.get(cv2.CAP_PROP_FPS)
        fps = fps if fps > 0 and math.isfinite(fps) else USUAL_FPS
        index = 0
        while (image := capture.read()[1]) is not None:
            yield Frame(f"{index:06d}", cv2.cvtColor(image, cv2.COLOR_BGR2RGB), fps)
            index += 1
        announced = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    finally:
        capture.release()
    if index == 0:
        raise UserError(f"{name}: no frame can be read; the video is empty or damaged.")
    if index < announced < math.inf:
        tell(f"{name}: ends after {index} of the {announced:.0f} frames that it announces; it is cut off or damaged.")


@contextmanager
def _quiet_opencv() -> Iterator[None]:
    """Without its own lines about what can't be opened; the exception says it."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)


def draw_pose(image: np.ndarray, pose: HeadPose | None, fps: float | None = None) -> np.ndarray:
    """A copy of the (H, W, 3) RGB image with axes, box, landmarks, angles, their uncertainty and the frame rate."""
    from trackertraincode.visualize import draw_sample, draw_text  # imports torch

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
    """Writes drawn frames: an image for .jpg or .png (the last frame), a folder of images for a name without suffix, else
    a video. A context manager; images and videos have their name only when all went well, videos when they were read
    back.
    """

    def __init__(self, path: Path) -> None:
        """Raises UserError for a suffix that no writer knows."""
        suffix = path.suffix.lower()
        if suffix and suffix not in IMAGES and suffix not in VIDEOS:
            known = ", ".join([*VIDEOS, *IMAGES])
            raise UserError(f"{path}: can't be written; name it {known}, or without a suffix for a folder of images.")
        writer = _image_writer if suffix in IMAGES else _video_writer if suffix else _folder_writer
        self._writing = writer(path)

    def __enter__(self) -> "AnnotatedOutput":
        self._write = self._writing.__enter__()
        return self

    def write(self, frame: Frame) -> None:
        """All frames of a video are fitted into the first one's size. Raises UserError when it can't be written."""
        self._write(frame)

    def __exit__(self, *reason: Any) -> None:
        self._writing.__exit__(*reason)


Write = Callable[[Frame], None]


@contextmanager
def _folder_writer(path: Path) -> Iterator[Write]:
    def write(frame: Frame) -> None:
        with whole_file(path / f"{Path(frame.name).stem}.png") as temporary:
            temporary.write_bytes(encode_png(frame.image))

    yield write


@contextmanager
def _image_writer(path: Path) -> Iterator[Write]:
    encode = encode_png if path.suffix.lower() == ".png" else encode_jpeg
    with whole_file(path) as temporary:

        def write(frame: Frame) -> None:
            temporary.write_bytes(encode(frame.image))

        yield write


@contextmanager
def _video_writer(path: Path) -> Iterator[Write]:
    with whole_file(path) as temporary, _quiet_opencv():  # what couldn't be written is found at the end
        opened: list[tuple[cv2.VideoWriter, tuple[int, int]]] = []
        count = 0

        def write(frame: Frame) -> None:
            nonlocal count
            if not opened:
                height, width = frame.image.shape[:2]
                opened.append((_open_video(path, temporary, (width, height), frame.fps), (width, height)))
            video, size = opened[0]
            video.write(cv2.cvtColor(_fitted(frame.image, size), cv2.COLOR_RGB2BGR))
            count += 1

        try:
            yield write
        finally:
            for video, _ in opened:
                video.release()
        if (readable := _readable_frames(temporary)) < count:
            raise UserError(
                f"{path}: only {readable} of {count} frames can be read back; make sure the disk isn't full."
            )


def _open_video(path: Path, temporary: Path, size: tuple[int, int], fps: float) -> cv2.VideoWriter:
    rate = writable_rate(fps)
    codec = cv2.VideoWriter.fourcc(*VIDEOS[path.suffix.lower()])
    video = cv2.VideoWriter(str(temporary), codec, rate, size)
    if not video.isOpened():
        raise UserError(
            f"{path}: OpenCV can't write a {path.suffix} video of {size[0]} × {size[1]} pixels at {rate:g} frames per "
            "second here; try another suffix, or a folder of images."
        )
    return video


def writable_rate(fps: float) -> float:
    """The frame rate with as many decimals as a video file can keep; the usual one for nonsense."""
    if not 0.1 <= fps <= LARGEST_TIMEBASE:
        return USUAL_FPS
    return round(fps, min(3, int(math.log10(LARGEST_TIMEBASE / fps))))


def _readable_frames(path: Path) -> int:
    if not path.is_file():
        return 0
    capture, count = cv2.VideoCapture(str(path)), 0
    while capture.grab():
        count += 1
    capture.release()
    return count


def check_image_folder(source: Path, output: Path) -> None:
    """Raise UserError when drawn images would replace each other, or what they are drawn from (links resolved).

    source: an image, or a folder of images; nothing else has names of its own. output: the folder they are drawn into.
    """
    images = images_in(source) if source.is_dir() else [source] if source.suffix.lower() in IMAGES else []
    targets = {path: output / f"{path.stem}.png" for path in images}
    counts = Counter(str(target).casefold() for target in targets.values())
    same = [path.name for path, target in targets.items() if counts[str(target).casefold()] > 1]
    if same:
        raise UserError(
            f"{source}: {' and '.join(same[:2])} would both be drawn into one .png file; rename one of them."
        )
    replaced = {path.resolve() for path in targets} & {target.resolve() for target in targets.values()}
    if replaced:
        raise UserError(
            f"{min(replaced)}: is also an input, which would be destroyed; choose another folder for the output."
        )


def check_display() -> None:
    """Raise UserError where no window can be opened. Asked in a process of its own, which OpenCV may abort."""
    command = [sys.executable, "-c", "import cv2; cv2.namedWindow('head pose'); cv2.destroyAllWindows()"]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        raise UserError("--show needs a display, and no window can be opened here; write --output instead.")


def _fitted(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The (H, W, 3) image scaled into width and height of `size`, with black margins."""
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
    """Write what `pose_row` made, each file whole."""
    if json_file is not None:
        with whole_file(json_file) as temporary:
            temporary.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    if csv_file is not None:
        longest: dict[str, object] = max(rows, key=len, default={})
        with whole_file(csv_file) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(longest) or ["frame", "face"])
            writer.writeheader()
            writer.writerows(rows)
