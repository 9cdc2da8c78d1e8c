"""Images and videos without labels: the faces that MTCNN finds, each cut out with its box.

    folder, zip file or video --frames--> MtcnnDetector --boxes--> one crop per face

Frames of a video form a sequence.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from trackertraincode.conversion.archive import IMAGE_EXTENSIONS, VIDEO_EXTENSIONS, naming, open_archive
from trackertraincode.conversion.faces import store_crop
from trackertraincode.conversion.run import Source
from trackertraincode.detection.mtcnn import MtcnnDetector
from trackertraincode.errors import ArchiveError
from trackertraincode.sample.images import check_image, decode, orientation
from trackertraincode.sample.sample import Sample

MIN_CONFIDENCE = 0.9
BYTES_PER_FRAME = 16  # no video packs frames closer; more frames than that are a damaged header's


@dataclass(frozen=True)
class Item:
    """An image, or a frame of a video."""

    name: str  # below the source; of the file itself where the source is a video
    frame: int | None  # of a video, from 0

    def __str__(self) -> str:
        return self.name if self.frame is None else f"{self.name}, frame {self.frame}"


@dataclass(frozen=True)
class Settings:
    """What all items of a run share."""

    source: Path
    detector: MtcnnDetector
    min_confidence: float
    all_faces: bool
    sequences: bool


def _video_path(source: Path, name: str) -> Path:
    """Where a video lies on the disk."""
    return (source.is_dir() and open_archive(source).file(name)) or source


def make_source(source: Path, min_confidence: float, min_face: int, all_faces: bool, every: int) -> Source:
    """List images and frames, by name and number.

    min_face: pixels. all_faces: not only the largest of each image. every: take each such frame of videos.
    Raises ArchiveError when there is nothing to convert, ConfigError when there is no detector.
    """
    detector = MtcnnDetector(min_face=min_face)
    detector.check()
    notes: list[str] = []
    items: list[Item] = []
    videos = 0
    for name in _list(source, notes):
        if name.lower().endswith(IMAGE_EXTENSIONS):
            items.append(Item(name, None))
        else:
            videos += 1
            items += [Item(name, frame) for frame in range(0, Video(_video_path(source, name)).count(), every)]
    if not items:
        raise ArchiveError(
            f"{source}: no images ({', '.join(IMAGE_EXTENSIONS)}) or videos ({', '.join(VIDEO_EXTENSIONS)}) in it."
        )
    settings = Settings(source, detector, min_confidence, all_faces, sequences=videos > 0 and not all_faces)
    return Source(items=items, convert=partial(convert_item, settings), notes=tuple(notes))


def _list(source: Path, notes: list[str]) -> Iterator[str]:
    """Names of images and videos below the source."""
    if source.is_file() and source.suffix.lower() in VIDEO_EXTENSIONS:
        yield source.name
        return
    names = sorted(open_archive(source).names)
    videos = [name for name in names if name.lower().endswith(VIDEO_EXTENSIONS)]
    if videos and source.is_file():
        notes.append(f"{len(videos)} videos in the zip file, such as {videos[0]}, are left out: unpack it for them")
    for name in names:
        is_video = name.lower().endswith(VIDEO_EXTENSIONS)
        if name.lower().endswith(IMAGE_EXTENSIONS) or (is_video and source.is_dir()):
            yield name


def convert_item(settings: Settings, item: Item) -> list[Sample]:
    """One image or frame -> a sample per face. Raises ArchiveError naming it when it is damaged or without a face."""
    data: bytes | np.ndarray
    if item.frame is None:
        data = open_archive(settings.source).read(item.name)
        with naming(item.name):
            check_image(data)
        pixels = decode(data, color=True, upright=True)
        if orientation(data) != 1:
            data = pixels  # as every viewer shows it
    else:
        data = pixels = _open_video(_video_path(settings.source, item.name)).frame(item.frame)
    found = settings.detector(pixels)
    boxes = [box for box, sure in zip(found.boxes, found.confidences) if sure > settings.min_confidence]
    if not boxes:
        raise ArchiveError(f"{item}: no face found.")
    if not settings.all_faces:
        boxes = [max(boxes, key=lambda box: float((box[2:] - box[:2]).prod()))]
    sequence = item.name if settings.sequences else None
    return [Sample(name=str(item), sequence=sequence, **store_crop(data, box, name=str(item))) for box in boxes]


class Video:
    """Frames by number. Going forward is quick, going back starts again."""

    def __init__(self, path: Path) -> None:
        """Raises ArchiveError when it can't be opened."""
        self.path = path
        self._start()

    def _start(self) -> None:
        self._capture = cv2.VideoCapture(str(self.path))
        self._next = 0
        if not self._capture.isOpened():
            raise ArchiveError(
                f"{self.path}: can't be opened as a video; it is damaged, or of a kind that isn't known."
            )

    def count(self) -> int:
        """Number of frames, as the header says, or counted where it can't be right."""
        told = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        if 0 < told <= self.path.stat().st_size // BYTES_PER_FRAME:
            return told
        while self._capture.grab():
            self._next += 1
        return self._next

    def frame(self, number: int) -> np.ndarray:
        """(H, W, 3) RGB. Raises ArchiveError when the video ends before."""
        if number < self._next:
            self._start()
        while self._next < number and self._capture.grab():
            self._next += 1
        found, image = self._capture.read()
        if self._next < number or not found:
            raise ArchiveError(f"{self.path}: frame {number} can't be read; the video ends after {self._next}.")
        self._next += 1
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


_open_videos: dict[int, Video] = {}  # process -> the one it reads; one that a parent opened is of no use after a fork


def _open_video(path: Path) -> Video:
    video = _open_videos.get(os.getpid())
    if video is None or video.path != path:
        video = _open_videos[os.getpid()] = Video(path)
    return video
