"""Frames from an image, a folder of images, a video, a camera or a stream, each with its time."""

import math
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from trackertraincode.errors import UserError
from trackertraincode.files import is_stream, utf8_name
from trackertraincode.sample.images import ALSO_DECODED, IMAGE_EXTENSIONS, OTHER_IMAGES, ImageDecodeError, decode
from trackertraincode.signatures import kind_of

IMAGES = (*IMAGE_EXTENSIONS, *ALSO_DECODED)
NOT_READ = tuple(sorted(set(OTHER_IMAGES) - set(ALSO_DECODED)))
OF_PHONES = ("heif", "avif")  # FFmpeg would give the first of the tiles that phones' images are made of
_CAMERA = re.compile(r"[0-9]{1,4}")  # OpenCV's numbers, which have its drivers' in their hundreds
COUNTED = (".avi", ".mp4", ".mov")  # of others the number of frames is guessed by the time, in which sound may go on
USUAL_FPS = 30.0  # where a source doesn't say, or says nonsense
LEAST_STEP = 1e-3  # seconds between frames, where a file tells the same time twice
JUMP_BACK = 1.0  # seconds; beyond, the times of a file begin anew, as where recordings were joined


class Frame(NamedTuple):
    """One image of a source."""

    name: str
    image: np.ndarray  # (H, W, 3) RGB uint8
    fps: float = USUAL_FPS  # of the video
    time: float | None = None  # seconds since the first frame; None: of an image, which has no time
    live: bool = False  # of a camera or a stream that doesn't wait


class CameraMode(NamedTuple):
    """What is asked of a camera; None: as it likes."""

    size: tuple[int, int] | None = None  # width, height; pixels
    fps: float | None = None


AS_IT_LIKES = CameraMode()


def is_camera(source: str) -> bool:
    """Whether a source isn't a file: the number of a camera, its device, or the address of a stream."""
    path = Path(source)
    return "://" in source or path.is_char_device() or (_is_number(source) and not path.exists())


def _is_number(source: str) -> bool:
    return _CAMERA.fullmatch(source) is not None


def images_in(folder: Path) -> list[Path]:
    """Images of a folder by name, but for hidden ones, folders, devices and pipes. Raises UserError when there are none."""
    found = sorted(p for p in _named(folder, IMAGES) if not is_stream(p))
    if not found:
        raise UserError(f"{folder}: no images ({', '.join(IMAGES)}) in this folder; those below it aren't looked at.")
    return found


def _named(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """What isn't hidden and no folder; links to nowhere, too."""
    named = (p for p in folder.iterdir() if p.suffix.lower() in suffixes and not p.name.startswith("."))
    return [p for p in named if not p.is_dir()]


def _print_note(note: str) -> None:
    print(note, file=sys.stderr)


def iter_frames(
    source: str, tell: Callable[[str], None] = _print_note, mode: CameraMode = AS_IT_LIKES
) -> Iterator[Frame]:
    """Frames of an image, a folder of images (by name), a video file, a camera (number or device) or a stream's address.

    Images are turned upright as their orientation tags say. What has an address is a recorded video where it tells how
    many frames it has, else live. tell: gets a line for each image of a folder that can't be
    read, for a video that ends early, and for a camera that doesn't do as asked. Raises UserError when there is nothing
    to read.
    """
    path = Path(source)
    if is_camera(source):
        yield from _video_frames(int(source) if _is_number(source) else source, source, tell, mode)
    elif path.is_dir():
        yield from _folder_frames(path, tell)
    elif not path.is_file():
        raise UserError(f"{source}: no such file, folder or camera number.")
    elif path.suffix.lower() in IMAGES:
        yield _read_image(path)
    elif _begins_of_phones(path):
        raise UserError(f"{path}: an image of a kind that isn't read here (HEIF or AVIF); convert it to JPEG or PNG.")
    else:
        yield from _video_frames(str(path.absolute()), source, tell, AS_IT_LIKES)  # else a colon would end a protocol


def _begins_of_phones(path: Path) -> bool:
    with path.open("rb") as file:
        return kind_of(file.read(512)) in OF_PHONES


def _folder_frames(folder: Path, tell: Callable[[str], None]) -> Iterator[Frame]:
    if count := len(_named(folder, NOT_READ)):
        tell(
            f"{folder}: {count} left out, of kinds that aren't read here ({', '.join(NOT_READ)}); convert to JPEG or PNG."
        )
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
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror or error}).") from error


def _video_frames(video: str | int, name: str, tell: Callable[[str], None], mode: CameraMode) -> Iterator[Frame]:
    with quiet_opencv():
        capture = cv2.VideoCapture(video if isinstance(video, int) else utf8_name(video))
    if not capture.isOpened():
        if "://" in name:
            raise UserError(f"{name}: no video comes from this address; is the camera on, and the address right?")
        if is_camera(name):
            raise UserError(
                f"{name}: there is no such camera, another program has it, or this one may not use it: close the other one, "
                "look at the system's privacy settings (Linux: the group video), or give another camera."
            )
        raise UserError(
            f"{name}: can't be opened as a video: it is none, or cut off, damaged or of a kind that OpenCV lacks here."
        )
    try:
        _set_mode(capture, name, mode, tell)
        fps = capture.get(cv2.CAP_PROP_FPS)
        fps = fps if fps > 0 and math.isfinite(fps) else USUAL_FPS
        recorded = not is_camera(name) or ("://" in name and 0 < capture.get(cv2.CAP_PROP_FRAME_COUNT) < math.inf)
        clock = _clock(capture, fps, live=not recorded)
        index = 0
        while (image := capture.read()[1]) is not None:
            yield Frame(f"{index:06d}", cv2.cvtColor(image, cv2.COLOR_BGR2RGB), fps, next(clock), not recorded)
            index += 1
        announced = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    finally:
        capture.release()
    if index == 0:
        raise UserError(
            f"{name}: no frame can be read: it is empty, damaged, or of a codec that OpenCV lacks here, such as AV1; "
            "convert it to H.264, or an image to JPEG or PNG."
        )
    if not recorded:
        tell(f"{name}: gives no more frames after {index}; is it still connected?")
    elif index + (0 if Path(name).suffix.lower() in COUNTED else fps) < announced < math.inf:
        tell(f"{name}: ends after {index} of the {announced:.0f} frames that it announces; it is cut off or damaged.")


def _set_mode(capture: cv2.VideoCapture, name: str, mode: CameraMode, tell: Callable[[str], None]) -> None:
    """Ask a camera for a size and a rate, and tell where it does something else."""
    size = mode.size or (None, None)
    wishes = {cv2.CAP_PROP_FRAME_WIDTH: size[0], cv2.CAP_PROP_FRAME_HEIGHT: size[1], cv2.CAP_PROP_FPS: mode.fps}
    for name_of, value in wishes.items():
        if value is not None:
            capture.set(name_of, value)
    got = [capture.get(name_of) for name_of in wishes]
    if any(value is not None and abs(value - found) > 0.5 for value, found in zip(wishes.values(), got)):
        tell(f"{name}: the camera gives {got[0]:.0f} × {got[1]:.0f} pixels at {got[2]:g} frames per second instead.")


def _clock(capture: cv2.VideoCapture, fps: float, *, live: bool) -> Iterator[float]:
    """Seconds of the frame that was read last, since the first: by the clock where it is live, else as the file says.

    Where a file tells no time, or begins them anew, a steady frame rate gives it. Times always grow.
    """

    def now() -> float:
        return time.perf_counter() if live else capture.get(cv2.CAP_PROP_POS_MSEC) / 1000

    first = now()
    begin = before = first if math.isfinite(first) else 0.0
    told = 0.0
    yield told
    while True:
        stamp = now()
        if 0 < stamp < math.inf:
            if stamp < before - JUMP_BACK:
                begin = stamp - told - 1 / fps
            before, told = stamp, max(stamp - begin, told + LEAST_STEP)
        else:  # as OpenCV says of frames without a time
            told += 1 / fps
        yield told


@contextmanager
def quiet_opencv() -> Iterator[None]:
    """Without its own lines about what can't be opened; the exception says it."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)
