"""300W and its parts (AFW, HELEN, LFPW, IBUG): images of faces, each beside a file of 68 landmarks.

.../NAME.png (or .jpg; where there are both, the .png, which is 300W's own)
.../NAME.pts      3 lines of header, 68 lines `x y`, "}"; pixels count from 1, as in MATLAB

All archives of this layout are read, such as Menpo's frontal faces. The origin is that of Menpo's importer (its class
`PTSImporter` says so), which the authors of 300W wrote, too.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from trackertraincode.conversion.archive import one_of_each, open_archive
from trackertraincode.conversion.faces import annotated_face
from trackertraincode.conversion.run import Source
from trackertraincode.conversion.w300vw import parse_points
from trackertraincode.detection.mtcnn import MtcnnDetector
from trackertraincode.errors import ArchiveError
from trackertraincode.sample.images import IMAGE_EXTENSIONS
from trackertraincode.sample.moving import from_centres
from trackertraincode.sample.sample import Sample
from trackertraincode.spelling import any_spelling

MATLAB_ORIGIN = 1.0  # where .pts files have the middle of the first pixel


@dataclass(frozen=True)
class Item:
    """A face: image and landmarks."""

    image: str
    landmarks: str

    def __str__(self) -> str:
        return self.image


def make_source(archive: Path, mtcnn: bool) -> Source:
    """List the archive, by folder and name. mtcnn: take its boxes.

    Raises ArchiveError when no image has landmarks, ConfigError when there is no detector.
    """
    opened = open_archive(archive)
    names = opened.names
    landmarks = [name for name in names if name.lower().endswith(".pts")]
    images = [name for name in names if name.lower().endswith(IMAGE_EXTENSIONS)]
    shown_by: dict[str, list[str]] = {}
    for image in images:
        shown_by.setdefault(any_spelling(image.rpartition(".")[0]), []).append(image)
    firsts = [min(group, key=lambda image: (not image.lower().endswith(".png"), image)) for group in shown_by.values()]
    pairs = {image: points for image in firsts if (points := f"{image.rpartition('.')[0]}.pts") in opened}
    if not pairs:
        raise ArchiveError(
            f"{archive}: no NAME.pts beside a NAME.png or NAME.jpg; give the zip file of 300W or its folder."
        )
    points_of = {image: digest(opened.read(points)) for image, points in pairs.items()}
    several = Counter(points_of.values())

    def shown(image: str) -> tuple[bytes, bytes]:  # faces that differ have other landmarks, but for drawn ones
        same_points = several[points_of[image]] > 1
        return points_of[image], digest(opened.read(image)) if same_points else b""

    found, notes = one_of_each(pairs, shown)
    if again := len(images) - len(firsts):
        notes += (f"{again} images are there again in another format beside them: left out",)
    lonely = len(firsts) - len(pairs), len(landmarks) - len({any_spelling(points) for points in pairs.values()})
    for count, what in zip(lonely, ("images have no .pts file", "files of landmarks have no image")):
        notes += (f"{count} {what} beside them: left out",) if count else ()
    if mtcnn:
        MtcnnDetector().check()
    order = sorted(found.values(), key=lambda image: (PurePosixPath(image).parts[-2:], image))
    items = [Item(image, pairs[image]) for image in order]
    return Source(items=items, convert=partial(convert_item, archive, mtcnn), notes=notes)


def digest(data: bytes) -> bytes:
    """Of a member."""
    return hashlib.sha256(data).digest()


def convert_item(path: Path, mtcnn: bool, item: Item) -> list[Sample]:
    """One face. Raises ArchiveError naming the member that is missing, damaged or wrong."""
    archive = open_archive(path)
    points = parse_points(archive.read(item.landmarks), item.landmarks) - MATLAB_ORIGIN
    labels = from_centres({"landmarks_2d": points})
    return [annotated_face(archive.read(item.image), points, labels, mtcnn=mtcnn, name=item.image)]
