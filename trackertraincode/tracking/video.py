"""Frames with what was found drawn into them, to images, folders and videos."""

import math
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from trackertraincode.drawing import SMALLEST_SIZE, draw_labels, draw_text, put, readable_size
from trackertraincode.errors import UserError
from trackertraincode.files import resolved, utf8_name, whole_file
from trackertraincode.sample.images import ENCODED, encode_for
from trackertraincode.tracking.pose import HeadPose
from trackertraincode.tracking.sources import IMAGES, USUAL_FPS, Frame, images_in, quiet_opencv

VIDEOS = {".mp4": "mp4v", ".avi": "MJPG", ".mkv": "MJPG", ".mov": "mp4v"}  # suffix of an output -> its codec
LONGEST_GAP = 10.0  # seconds for which one frame may stand in a video
LARGEST_RATE = 240.0  # frames per second that a video can be meant to be seen with
LARGEST_TIMEBASE = 65_535  # of MPEG-4: a frame rate is a fraction with whole numbers up to this


def draw_pose(image: np.ndarray, pose: HeadPose | None, fps: float | None = None) -> np.ndarray:
    """A copy of the (H, W, 3) RGB image with axes, box, landmarks, angles, their uncertainty and the frame rate."""
    lines = [] if fps is None else [f"{fps:.0f} fps"]
    if pose is None:
        return _with_text(image, [*lines, "no face"])
    std = pose.rotation_std_deg
    for index, (word, angle) in enumerate(zip(("pitch", "yaw", "roll"), pose.pitch_yaw_roll_deg)):
        spread = "" if std is None else f" +- {std[index]:.1f}"
        lines.append(f"{word} {angle:6.1f}{spread}")
    return _with_text(draw_labels(image, _labels(pose)), lines)


def _with_text(image: np.ndarray, lines: list[str]) -> np.ndarray:
    """A copy (H, W, 3) with the lines, where they can be read."""
    size = readable_size(image)
    return draw_text(image, [] if size is None else lines, size or 0.0)


def draw_heads(
    image: np.ndarray, heads: dict[int, HeadPose], fps: float | None = None, *, numbered: bool = False
) -> np.ndarray:
    """As `draw_pose`, (H, W, 3), for any number of heads; angles are those of one alone. numbered: each has its number."""
    if len(heads) < 2:
        drawn = draw_pose(image, next(iter(heads.values()), None), fps)
    else:
        drawn = _with_text(image, [] if fps is None else [f"{fps:.0f} fps"])
        for pose in heads.values():
            drawn = draw_labels(drawn, _labels(pose))
    for number, pose in heads.items() if numbered else ():
        place = round(float(pose.box[0])) + 3, round(float(pose.box[1])) - 5
        put(drawn, str(number), place, 1.4 * (readable_size(drawn) or SMALLEST_SIZE), (255, 255, 255))
    return drawn


def _labels(pose: HeadPose) -> dict[str, np.ndarray]:
    known = {"rotation": pose.rotation, "head": pose.head, "face_box": pose.box}
    return known if pose.landmarks is None else {**known, "landmarks": pose.landmarks}


class AnnotatedOutput:
    """Writes drawn frames: an image for .jpg or .png (the last frame), a folder of images for a name without suffix, else
    a video. A context manager; images and videos have their name only when all went well, videos when they were read
    back.
    """

    def __init__(self, path: Path) -> None:
        """Raises UserError for a suffix that no writer knows, and for a video's name that isn't UTF-8."""
        suffix = path.suffix.lower()
        if suffix and suffix not in ENCODED and suffix not in VIDEOS:
            known = ", ".join([*VIDEOS, *ENCODED])
            raise UserError(f"{path}: can't be written; name it {known}, or without a suffix for a folder of images.")
        writer = _image_writer if suffix in ENCODED else _video_writer if suffix else _folder_writer
        if writer is _video_writer:
            utf8_name(path)
            utf8_name(resolved(path) if path.is_symlink() else path)  # which `whole_file` writes to
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
        file = path / f"{Path(frame.name).stem}.png"
        with whole_file(file) as temporary:
            temporary.write_bytes(encode_for(file, frame.image))

    yield write


@contextmanager
def _image_writer(path: Path) -> Iterator[Write]:
    with whole_file(path) as temporary:

        def write(frame: Frame) -> None:
            temporary.write_bytes(encode_for(path, frame.image))

        yield write


@contextmanager
def _video_writer(path: Path) -> Iterator[Write]:
    with whole_file(path) as temporary, quiet_opencv():  # what couldn't be written is found at the end
        opened: list[tuple[cv2.VideoWriter, tuple[int, int]]] = []
        last: list[np.ndarray] = []  # the image before this one
        count, rate = 0, writable_rate(USUAL_FPS)
        left_out = 0.0  # seconds of long gaps

        def write(frame: Frame) -> None:
            nonlocal count, rate, left_out
            if not opened:
                height, width = frame.image.shape[:2]
                rate = writable_rate(frame.fps)
                opened.append((_open_video(path, temporary, (width, height), rate), (width, height)))
            video, size = opened[0]
            image = cv2.cvtColor(_fitted(frame.image, size), cv2.COLOR_RGB2BGR)
            time = None if frame.time is None else frame.time - left_out
            for left in reversed(range(repetitions(time, count, rate))):
                video.write(last[0] if left and last else image)
                count += 1
            if time is not None:
                left_out += max(0.0, time - count / rate)
            last[:] = [image]

        try:
            yield write
        finally:
            for video, _ in opened:
                video.release()
        if (readable := _readable_frames(temporary)) < count:
            raise UserError(
                f"{path}: only {readable} of {count} frames can be read back; make sure the disk isn't full."
            )


def repetitions(time: float | None, written: int, rate: float) -> int:
    """How often a frame of this time, in seconds, is written to a video of a steady rate so that it is seen in time.

    Frames that come too fast are left out; in a gap, the frame before it is seen longer, LONGEST_GAP at most. written:
    frames so far.
    """
    return 1 if time is None else max(0, min(round(time * rate) + 1 - written, round(LONGEST_GAP * rate)))


def _open_video(path: Path, temporary: Path, size: tuple[int, int], rate: float) -> cv2.VideoWriter:
    codec = cv2.VideoWriter.fourcc(*VIDEOS[path.suffix.lower()])
    video = cv2.VideoWriter(utf8_name(temporary.absolute()), codec, rate, size)
    if not video.isOpened():
        raise UserError(
            f"{path}: OpenCV can't write a {path.suffix} video of {size[0]} × {size[1]} pixels at {rate:g} frames per "
            "second here; try another suffix, or a folder of images."
        )
    return video


def writable_rate(fps: float) -> float:
    """The frame rate with as many decimals as a video file can keep; the usual one for nonsense.

    Films of browsers tell the rate of their clock, 1,000: each of their frames would be written some 33 times.
    """
    if not 0.1 <= fps <= LARGEST_RATE:
        return USUAL_FPS
    return round(fps, min(3, int(math.log10(LARGEST_TIMEBASE / fps))))


def _readable_frames(path: Path) -> int:
    if not path.is_file():
        return 0
    capture, count = cv2.VideoCapture(utf8_name(path.absolute())), 0
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
    replaced = [path for path, target in targets.items() if target.exists() and target.samefile(path)]
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
