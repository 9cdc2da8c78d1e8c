"""300VW: videos of faces with 68 landmarks in each frame.

300VW_Dataset_*/VVV/vid.avi
300VW_Dataset_*/VVV/annot/FFFFFF.pts      frames count from 1; 3 lines of header, 68 lines `x y`, "}"

A video is a sequence, and all its frames share one crop. Work items are short runs of frames, so that a long video
needs no more memory than a short one; a worker goes on in the video that it has open. A last item per video reports
frames without annotation, annotations without frame, and annotations that are damaged.
"""

import math
import re
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from pathlib import Path

import cv2
import numpy as np

from trackertraincode.conversion.archive import one_of_each, open_archive
from trackertraincode.conversion.faces import Placement, box_around
from trackertraincode.conversion.run import Source
from trackertraincode.conversion.textfile import number_rows, read_lines
from trackertraincode.conversion.videos import open_video
from trackertraincode.detection.mtcnn import MIN_IOU, MtcnnDetector, best_overlap
from trackertraincode.errors import ArchiveError
from trackertraincode.sample.images import Size, encode_jpeg
from trackertraincode.sample.moving import from_centres, to_centres
from trackertraincode.sample.sample import Sample

LARGEST_FACE = 1.5 * 129  # pixels of a face box's longer side in stored images
MIN_PADDING = 10  # pixels around the box of all landmarks
FRAMES_PER_ITEM = 32
MAX_SIZE_RATIO = 4  # of a face's size to the median of its video
_ANNOTATION = re.compile(r"^(?P<folder>(?:.*/)?\d{3})/annot/(?P<frame>\d+)\.pts$", re.IGNORECASE)
_VIDEO = re.compile(r"^(?P<folder>(?:.*/)?\d{3})/[^/]+\.(?:avi|mp4)$", re.IGNORECASE)


@dataclass(frozen=True)
class AnnotatedVideo:
    """A video and its annotations."""

    folder: str
    member: str | None
    annotations: dict[int, str]  # number of the frame, from 1, in order -> member

    @property
    def number(self) -> int:
        return int(self.folder.rsplit("/", 1)[-1])


@dataclass(frozen=True)
class Item:
    """A run of a video's annotations; none: the report at its end."""

    folder: str
    first: int  # among the video's annotations, from 0
    count: int

    def __str__(self) -> str:
        return f"{self.folder}, annotations from {self.first + 1}" if self.count else self.folder


@dataclass(frozen=True)
class Landmarks:
    """What can be read of a video's annotations."""

    points: dict[int, np.ndarray]  # frame -> (68, 2) pixels
    around: np.ndarray  # (4,) box of all of them
    largest: float  # pixels, longest side of all faces
    damaged: tuple[str, ...]  # what is wrong with the others


def make_source(archive: Path, mtcnn: bool) -> Source:
    """List the archive. Raises ArchiveError when it is none, ConfigError when the face detector is missing."""
    videos = list_videos(archive)
    if not any(video.annotations for video in videos.values()):
        raise ArchiveError(f"{archive}: no VVV/annot/FFFFFF.pts in it; give the zip file of 300VW or its folder.")
    if all(video.member is None for video in videos.values()):
        raise ArchiveError(f"{archive}: no VVV/vid.avi in it, only annotations; the videos are part of the download.")
    if mtcnn:
        MtcnnDetector().check()
    items = []
    for folder, video in videos.items():
        if video.member is not None:
            count = len(video.annotations)
            starts = range(0, count, FRAMES_PER_ITEM)
            items += [Item(folder, start, min(FRAMES_PER_ITEM, count - start)) for start in starts]
        items.append(Item(folder, len(video.annotations), 0))
    return Source(items=items, convert=partial(convert_item, archive, mtcnn))


@cache
def list_videos(archive: Path) -> dict[str, AnnotatedVideo]:
    """Videos by folder, in the order of their numbers; of copies the one in the fewest folders."""
    annotations: dict[str, dict[int, str]] = {}
    videos: dict[str, list[str]] = {}
    for name in sorted(open_archive(archive).names):
        if match := _ANNOTATION.match(name):
            annotations.setdefault(match["folder"], {})[int(match["frame"])] = name
        elif match := _VIDEO.match(name):
            videos.setdefault(match["folder"], []).append(name)
    annotated = {folder: _annotated(names) for folder, names in videos.items()}
    members = {folder: name for folder, name in annotated.items() if name is not None}
    found, _ = one_of_each(
        {*members, *annotations},
        lambda folder: folder.rsplit("/", 1)[-1],
        lambda folder: folder in members and folder in annotations,
    )
    return {
        folder: AnnotatedVideo(folder, members.get(folder), dict(sorted(annotations.get(folder, {}).items())))
        for _, folder in sorted(found.items())
    }


def _annotated(videos: list[str]) -> str | None:
    """The one that is called "vid", else the only one; others may be smaller, or have drawings."""
    named = [name for name in videos if Path(name).stem.lower() == "vid"]
    return named[0] if named else videos[0] if len(videos) == 1 else None


def convert_item(archive: Path, mtcnn: bool, item: Item) -> list[Sample]:
    """Some frames of a video -> a sample each; none for the report.

    Raises ArchiveError naming the video when it can't be decoded, and as the report.
    """
    video = list_videos(archive)[item.folder]
    landmarks = read_landmarks(archive, item.folder)
    if item.count == 0:
        report(archive, video, landmarks)
        return []
    assert video.member is not None
    samples = []
    for frame in list(video.annotations)[item.first : item.first + item.count]:
        if frame not in landmarks.points:
            continue
        image = open_video(archive, video.member, frame - 1).read(frame - 1)
        if image is None:
            break
        samples.append(_sample(mtcnn, video, frame, image, landmarks))
    return samples


def _sample(mtcnn: bool, video: AnnotatedVideo, frame: int, image: np.ndarray, landmarks: Landmarks) -> Sample:
    name = video.annotations[frame]
    placement = shared_crop(Size(image.shape[1], image.shape[0]), landmarks, f"{video.member}")
    moved = placement.move_labels(from_centres({"landmarks_2d": landmarks.points[frame]}))
    crop = placement.move_pixels(image, cv2.INTER_AREA)
    box = box_around(to_centres(moved)["landmarks_2d"])  # as the other archives' boxes
    if mtcnn:
        detected = best_overlap(MtcnnDetector()(crop).boxes, box, MIN_IOU)
        box = box if detected is None else detected
    return Sample(
        image=encode_jpeg(crop),
        name=name,
        sequence=video.folder,
        face_box=box,
        individual=video.number,
        **moved,
    )


def shared_crop(size: Size, landmarks: Landmarks, name: str) -> Placement:
    """The crop of all frames: the box of all landmarks, padded by half its diagonal, within the image.

    Scaled so that the largest face isn't above `LARGEST_FACE`. Raises ArchiveError when the box is outside.
    """
    factor = min(1.0, LARGEST_FACE / landmarks.largest)
    scaled = Size(max(1, round(size.width * factor)), max(1, round(size.height * factor)))
    low, high = landmarks.around[:2] * scaled / size, landmarks.around[2:] * scaled / size
    if (low >= scaled).any() or (high <= 0).any():
        raise ArchiveError(f"{name}: all landmarks lie outside its {size.width} × {size.height} pixels.")
    padding = max(MIN_PADDING, 0.5 * float(np.linalg.norm(high - low)))
    x0, y0 = (max(0, math.floor(v - padding)) for v in low)
    x1, y1 = (min(edge, math.ceil(v + padding)) for v, edge in zip(high, scaled))
    return Placement(size, scaled, (x0, y0, x1, y1))


def report(archive: Path, video: AnnotatedVideo, landmarks: Landmarks) -> None:
    """Raise ArchiveError, naming the video, when some frames or annotations had to be left out."""
    if video.member is None:
        raise ArchiveError(f"{video.folder}/vid.avi: is missing, {len(video.annotations)} annotations are left out.")
    frames = open_video(archive, video.member, None).count()
    common = sum(1 <= frame <= frames for frame in landmarks.points)
    problems = []
    if set(video.annotations) != set(range(1, frames + 1)):
        problems.append(f"{frames} frames, but {len(video.annotations)} annotations; the common {common} are kept.")
    if landmarks.damaged:
        problems.append(f"{len(landmarks.damaged)} annotations are left out, such as {landmarks.damaged[0]}")
    if problems:
        raise ArchiveError(f"{video.member}: {' '.join(problems)}")


@lru_cache(maxsize=2)
def read_landmarks(archive: Path, folder: str) -> Landmarks:
    """All annotations of a video that can be read."""
    opened = open_archive(archive)
    points = {}
    damaged = []
    for frame, name in list_videos(archive)[folder].annotations.items():
        try:
            if frame < 1:
                raise ArchiveError(f"{name}: frames count from 1.")
            points[frame] = parse_points(opened.read(name), name)
        except ArchiveError as error:
            damaged.append(str(error))
    sizes = {frame: float((values.max(0) - values.min(0)).max()) for frame, values in points.items()}
    usual = float(np.median(list(sizes.values()))) if sizes else 0.0
    for frame, size in sizes.items():  # one such face would shrink the whole video
        if size > MAX_SIZE_RATIO * usual:
            name = list_videos(archive)[folder].annotations[frame]
            damaged.append(f"{name}: a face of {size:.0f} pixels, the other frames' are about {usual:.0f}.")
            del points[frame]
    largest = max((sizes[frame] for frame in points), default=0.0)
    every = box_around(np.concatenate(list(points.values()))) if points else np.zeros(4)
    return Landmarks(points, every, largest, tuple(damaged))


def parse_points(data: bytes, name: str) -> np.ndarray:
    """A .pts file -> (68, 2). Raises ArchiveError naming file and line."""
    lines = read_lines(data, name)
    opening = next((i for i, line in enumerate(lines) if line.strip() == "{"), len(lines))
    closing = next((i for i, line in enumerate(lines) if line.strip() == "}"), None)
    if closing is None or closing - opening != 69:
        found = max(0, (len(lines) if closing is None else closing) - opening - 1)
        raise ArchiveError(f"{name}: {found} lines of points between braces, expected 68.")
    points = number_rows(lines[opening + 1 : closing], name, 2, first=opening + 2)
    if (points.max(0) - points.min(0) < 1).any():
        raise ArchiveError(f"{name}: all 68 points lie on one line.")
    return points
