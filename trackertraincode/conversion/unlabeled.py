"""Images and videos without labels: the faces that MTCNN finds, each cut out with its box.

    folder, zip file or video --frames--> MtcnnDetector --boxes--> one crop per face

Frames of a video form a sequence.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from trackertraincode.conversion.archive import VIDEO_EXTENSIONS, files_below, naming, open_archive
from trackertraincode.conversion.faces import store_crop
from trackertraincode.conversion.run import Source
from trackertraincode.conversion.videos import Video, open_video
from trackertraincode.detection.mtcnn import MtcnnDetector
from trackertraincode.errors import ArchiveError
from trackertraincode.sample.images import IMAGE_EXTENSIONS, OTHER_IMAGES, check_image, decode
from trackertraincode.sample.orientation import orientation
from trackertraincode.sample.sample import Sample

CONVERT = "images aren't JPEG or PNG files, such as {}: left out; convert them first"
LEFT_OUT = "files are neither images nor videos that are read, such as {}: left out"
NOWHERE = "links lead nowhere, such as {}: left out"


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


def make_source(source: Path, min_confidence: float, min_face: int, all_faces: bool, every: int) -> Source:
    """List images and frames, by name and number.

    min_face: pixels. all_faces: not only the largest of each image. every: take each such frame of videos.
    Raises ArchiveError when there is nothing to convert, ConfigError when there is no detector.
    """
    detector = MtcnnDetector(min_face=min_face)
    detector.check()
    items: list[Item] = []
    videos = 0
    names, notes = _list(source)
    for name in names:
        if name.lower().endswith(IMAGE_EXTENSIONS):
            items.append(Item(name, None))
        else:
            videos += 1
            items += [Item(name, frame) for frame in _frames(source, name, every)]
    if not items:
        raise ArchiveError(f"{source}: no images (.jpg, .jpeg, .png) or videos ({', '.join(VIDEO_EXTENSIONS)}) in it.")
    settings = Settings(source, detector, min_confidence, all_faces, sequences=videos > 0)
    return Source(items=items, convert=partial(convert_item, settings), notes=notes)


def _frames(source: Path, name: str, every: int) -> range:
    """Those of a video that are taken; of a damaged one among other files the first, which then can't be read."""
    try:
        return range(0, Video(source, name).told(), every)
    except ArchiveError:
        if source.is_file() and source.suffix.lower() in VIDEO_EXTENSIONS:
            raise
        return range(1)


def _list(source: Path) -> tuple[list[str], tuple[str, ...]]:
    """Names of images and videos in the source, and notes on what isn't read. Raises ArchiveError for an image."""
    if source.is_file() and source.suffix.lower() in VIDEO_EXTENSIONS:
        return [source.name], ()
    if source.is_file() and source.suffix.lower() in (*IMAGE_EXTENSIONS, *OTHER_IMAGES):
        raise ArchiveError(f"{source}: is one image; give the folder with your images, or a zip file of them.")
    kinds: dict[str, list[str]] = {"": [], CONVERT: [], LEFT_OUT: [], NOWHERE: []}
    for name in sorted(open_archive(source).names):
        end = name.lower()
        known, other = (*IMAGE_EXTENSIONS, *VIDEO_EXTENSIONS), CONVERT if end.endswith(OTHER_IMAGES) else LEFT_OUT
        kinds["" if end.endswith(known) else other].append(name)
    if source.is_dir():
        kinds[NOWHERE] += sorted(str(path.relative_to(source)) for path in files_below(source) if not path.exists())
    notes = [f"{len(names)} {text.format(names[0])}" for text, names in kinds.items() if text and names]
    return kinds[""], tuple(notes)


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
        video = open_video(settings.source, item.name, item.frame)
        frame = video.read(item.frame)
        if frame is None:
            raise ArchiveError(f"{item}: can't be read; the video ends after {video.position} frames.")
        data = pixels = frame
    found = settings.detector(pixels)
    boxes = [box for box, sure in zip(found.boxes, found.confidences) if sure > settings.min_confidence]
    if not boxes:
        raise ArchiveError(f"{item}: no face found.")
    if not settings.all_faces:
        boxes = [max(boxes, key=lambda box: float((box[2:] - box[:2]).prod()))]
    sequence = item.name if settings.sequences else None
    return [Sample(name=str(item), sequence=sequence, **store_crop(data, box, name=str(item))) for box in boxes]
