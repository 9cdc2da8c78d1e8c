"""300W and its parts (AFW, HELEN, LFPW, IBUG): images of faces, each beside a file of 68 landmarks.

.../NAME.png (or .jpg)
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
    landmarks = {name[:-4]: name for name in names if name.lower().endswith(".pts")}
    images = [name for name in names if name.lower().endswith(IMAGE_EXTENSIONS)]
    pairs = {image: landmarks[stem] for image in images if (stem := image.rpartition(".")[0]) in landmarks}
    if not pairs:
        raise ArchiveError(
            f"{archive}: no NAME.pts beside a NAME.png or NAME.jpg; give the zip file of 300W or its folder."
        )
    places = Counter(PurePosixPath(image).parts[-2:] for image in pairs)

    def shown(image: str) -> tuple[str, ...]:  # 01_Indoor/indoor_001.png lies in several folders, other names by chance
        place = PurePosixPath(image).parts[-2:]
        alike = opened.read(pairs[image]) if places[place] > 1 else b""
        return (*place, hashlib.sha256(alike).hexdigest())

    found, notes = one_of_each(pairs, shown)
    lonely = len(images) - len(pairs), len(landmarks) - len(set(pairs.values()))
    for count, what in zip(lonely, ("images have no .pts file", "files of landmarks have no image")):
        notes += (f"{count} {what} beside them: left out",) if count else ()
    if mtcnn:
        MtcnnDetector().check()
    items = [Item(image, pairs[image]) for _, image in sorted(found.items())]
    return Source(items=items, convert=partial(convert_item, archive, mtcnn), notes=notes)


def convert_item(path: Path, mtcnn: bool, item: Item) -> list[Sample]:
    """One face. Raises ArchiveError naming the member that is missing, damaged or wrong."""
    archive = open_archive(path)
    points = parse_points(archive.read(item.landmarks), item.landmarks) - MATLAB_ORIGIN
    labels = from_centres({"landmarks_2d": points})
    return [annotated_face(archive.read(item.image), points, labels, mtcnn=mtcnn, name=item.image)]
