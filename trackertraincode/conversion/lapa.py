"""LaPa: 106 landmarks and label images of faces.

{train,val,test}/images/NAME.jpg
{train,val,test}/landmarks/NAME.txt      the number 106, then 106 lines `x y`
{train,val,test}/labels/NAME.png         classes, see CLASSES
"""

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from trackertraincode.conversion.archive import naming, one_of_each, open_archive, unknown_images
from trackertraincode.conversion.faces import annotated_face, check_on_face
from trackertraincode.conversion.landmark_schemes import LAPA_COUNT, lapa_to_68
from trackertraincode.conversion.run import Source
from trackertraincode.conversion.textfile import number_rows, read_lines
from trackertraincode.detection.mtcnn import MtcnnDetector
from trackertraincode.errors import ArchiveError
from trackertraincode.sample.images import decode_labels
from trackertraincode.sample.moving import from_centres
from trackertraincode.sample.sample import Sample

SPLITS = ("train", "val", "test")
CLASSES = (
    "background", "skin", "left brow", "right brow", "left eye", "right eye", "nose", "upper lip", "inner mouth",
    "lower lip", "hair",
)  # fmt: skip
_IMAGE = re.compile(rf"^(?P<root>(?:.*/)?(?P<split>{'|'.join(SPLITS)})/)images/(?P<name>[^/]+)\.jpg$", re.IGNORECASE)
_MEGAFACE = re.compile(r"^[\d_]+$")  # names of the images that come from MegaFace


@dataclass(frozen=True)
class Item:
    """One image."""

    root: str  # folder of its split, with "/"
    name: str  # without extension
    extension: str

    @property
    def image(self) -> str:
        return f"{self.root}images/{self.name}{self.extension}"

    @property
    def landmarks(self) -> str:
        return f"{self.root}landmarks/{self.name}.txt"

    @property
    def labels(self) -> str:
        return f"{self.root}labels/{self.name}.png"

    def __str__(self) -> str:
        return self.image


def make_source(archive: Path, split: str, only_megaface: bool, mtcnn: bool, segmentation: bool) -> Source:
    """List the archive: train, val, test, each by name.

    split: one of SPLITS or "all". mtcnn: take its boxes. segmentation: store label images.
    Raises ArchiveError when parts are missing, ConfigError when there is no detector.
    """
    opened = open_archive(archive)

    def key(name: str) -> tuple[int, str] | None:
        match = _IMAGE.match(name)
        if match is None or (split != "all" and match["split"].lower() != split):
            return None
        return SPLITS.index(match["split"].lower()), match["name"]

    def item_of(name: str) -> Item:
        stem = PurePosixPath(name).stem
        return Item(name[: -len("images/.jpg") - len(stem)], stem, name[-4:])

    found, copies = one_of_each(opened.names, key, lambda name: item_of(name).landmarks in opened)
    items = [item_of(name) for _, name in sorted(found.items())]
    if not items:
        wanted = "{train,val,test}" if split == "all" else split
        raise ArchiveError(f"{archive}: no {wanted}/images/NAME.jpg in it; give LaPa's zip file or its folder.")
    known = re.compile(r"/(images|labels)/[^/]+$", re.IGNORECASE)
    notes = [*copies, *unknown_images(opened, lambda name: _IMAGE.match(name) or known.search(name))]
    if only_megaface:
        kept = [item for item in items if _MEGAFACE.match(item.name)]
        notes.append(f"{len(items) - len(kept)} images that don't come from MegaFace are left out (--only-megaface)")
        items = kept
        if not items:
            raise ArchiveError(f"{archive}: none of its images has a name of MegaFace, of digits and '_' only.")
    if not any(item.landmarks in opened for item in items):
        raise ArchiveError(f"{archive}: {len(items)} images but no landmarks/NAME.txt; it isn't complete.")
    if segmentation and not any(item.labels in opened for item in items):
        notes.append("no label images (labels/NAME.png) in this archive: none are stored")
        segmentation = False
    if mtcnn:
        MtcnnDetector().check()
    return Source(items=items, convert=partial(convert_item, archive, mtcnn, segmentation), notes=tuple(notes))


def convert_item(path: Path, mtcnn: bool, segmentation: bool, item: Item) -> list[Sample]:
    """One image -> one sample. Raises ArchiveError naming the member that is missing, damaged or wrong."""
    archive = open_archive(path)
    points = read_landmarks(archive.read(item.landmarks), item.landmarks)
    image = archive.read(item.image)
    labels = from_centres({"landmarks_2d": lapa_to_68(points)})
    if segmentation or item.labels in archive:
        classes = archive.read(item.labels)
        check_on_face(points, face_box(classes, item.labels), item.landmarks)
        if segmentation:
            labels["segmentation"] = classes
    return [annotated_face(image, points, labels, mtcnn=mtcnn, name=item.image)]


def read_landmarks(data: bytes, name: str) -> np.ndarray:
    """(106, 2) pixels. Raises ArchiveError naming file and line."""
    lines = [line for line in read_lines(data, name) if line.strip()]
    if not lines or lines[0].strip() != str(LAPA_COUNT) or len(lines) != LAPA_COUNT + 1:
        first = f"'{lines[0].strip()[:20]}'" if lines else "nothing"
        raise ArchiveError(
            f"{name}: {first} in the first of {len(lines)} lines, expected {LAPA_COUNT} and then that many landmarks."
        )
    return number_rows(lines[1:], name, 2, first=2)


def face_box(data: bytes, name: str) -> np.ndarray:
    """A label image -> (4,) box of all that is neither background nor hair.

    Raises ArchiveError naming the file when a class is unknown or there is no face.
    """
    with naming(name):
        classes = decode_labels(data)
    if (largest := int(classes.max())) >= len(CLASSES):
        raise ArchiveError(f"{name}: class {largest}, expected 0 to {len(CLASSES) - 1}.")
    face = cv2.inRange(classes, CLASSES.index("skin"), CLASSES.index("lower lip"))
    if not cv2.countNonZero(face):
        raise ArchiveError(f"{name}: no face in it, only background and hair.")
    x, y, width, height = cv2.boundingRect(face)
    return np.array([x, y, x + width, y + height], dtype=np.float64)
