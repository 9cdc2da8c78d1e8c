"""Microsoft's FaceSynthetics: rendered faces with 70 landmarks and label images, no poses.

NNNNNN.png           512 × 512 image
NNNNNN_seg.png       classes 0 to 18, or 255
NNNNNN_ldmks.txt     70 lines `x y`: iBUG's 68, then the pupils
"""

import re
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from trackertraincode.conversion.archive import naming, one_of_each, open_archive, unknown_images
from trackertraincode.conversion.faces import check_on_face
from trackertraincode.conversion.run import Source
from trackertraincode.conversion.textfile import number_rows, read_lines
from trackertraincode.errors import ArchiveError
from trackertraincode.facemodel.landmarks68 import COUNT
from trackertraincode.rendering.labels import CLASSES
from trackertraincode.sample.images import decode, decode_labels, encode_jpeg
from trackertraincode.sample.moving import from_centres
from trackertraincode.sample.sample import Sample

LARGEST_CLASS = 18
BACKGROUND, SKIN, NOSE, IGNORE = (CLASSES[name] for name in ("background", "skin", "nose", "ignore"))
LANDMARKS_IN_FILE = 70
SMALLEST_BOX = 32  # pixels; boxes with a side up to this are left out
_IMAGE = re.compile(r"(?:^|/)\d+\.png$", re.IGNORECASE)


def make_source(archive: Path, segmentation: bool) -> Source:
    """List the archive, in the order of the names. Raises ArchiveError when it is none."""
    opened = open_archive(archive)
    found, copies = one_of_each(
        opened.names,
        lambda name: name.rsplit("/", 1)[-1].lower() if _IMAGE.search(name) else None,
        lambda name: f"{name[:-4]}_ldmks.txt" in opened,
    )
    stems = [name[:-4] for _, name in sorted(found.items())]
    if not stems:
        raise ArchiveError(f"{archive}: no NNNNNN.png in it; give dataset_100000.zip or the folder it was unpacked to.")
    for ending, what in (("_seg.png", "label images"), ("_ldmks.txt", "landmarks")):
        if not any(f"{stem}{ending}" in opened for stem in stems):
            raise ArchiveError(f"{archive}: {len(stems)} images but no {what} (NNNNNN{ending}); download it again.")
    notes = (*copies, *unknown_images(opened, lambda name: re.search(r"\d+(_seg)?\.png$", name, re.IGNORECASE)))
    return Source(items=stems, convert=partial(convert_item, archive, segmentation), notes=notes)


def convert_item(path: Path, segmentation: bool, stem: str) -> list[Sample]:
    """One image -> one sample. Raises ArchiveError naming the member that is missing, damaged or wrong."""
    archive = open_archive(path)
    image, labels, points = f"{stem}.png", f"{stem}_seg.png", f"{stem}_ldmks.txt"
    landmarks = read_landmarks(archive.read(points), points)
    label_file = archive.read(labels)
    with naming(labels):
        classes = decode_labels(label_file)
    box = face_box(classes, labels)
    check_on_face(landmarks, box, points)
    with naming(image):
        pixels = decode(archive.read(image), color=True)
    if pixels.shape[:2] != classes.shape:
        found = f"{pixels.shape[1]} × {pixels.shape[0]}"
        raise ArchiveError(f"{image}: {found} pixels, its label image {classes.shape[1]} × {classes.shape[0]}.")
    return [
        Sample(
            image=encode_jpeg(pixels),
            name=image,
            face_box=box,
            segmentation=label_file if segmentation else None,
            **from_centres({"landmarks": np.column_stack([landmarks, np.zeros(COUNT)])}),  # depths aren't known
        )
    ]


def read_landmarks(data: bytes, name: str) -> np.ndarray:
    """(68, 2) pixels. Raises ArchiveError naming file and line."""
    lines = [line for line in read_lines(data, name) if line.strip()]
    if len(lines) != LANDMARKS_IN_FILE:
        raise ArchiveError(f"{name}: {len(lines)} lines, expected {LANDMARKS_IN_FILE} landmarks.")
    return number_rows(lines, name, 2)[:COUNT]


def face_box(classes: np.ndarray, name: str) -> np.ndarray:
    """(H, W) label image -> box of skin and nose, or of all that isn't background where there is neither.

    Raises ArchiveError when a class is unknown or the box is small.
    """
    if classes.max() > LARGEST_CLASS:  # few label images have pixels to ignore
        unknown = classes[(classes > LARGEST_CLASS) & (classes != IGNORE)]
        if unknown.size:
            raise ArchiveError(f"{name}: class {unknown[0]}, expected 0 to {LARGEST_CLASS} or {IGNORE}.")
    face = cv2.inRange(classes, min(SKIN, NOSE), max(SKIN, NOSE))
    if not cv2.countNonZero(face):
        face = cv2.inRange(classes, BACKGROUND + 1, IGNORE)
    x, y, width, height = cv2.boundingRect(face)
    if min(width, height) <= SMALLEST_BOX:
        raise ArchiveError(f"{name}: no face larger than {SMALLEST_BOX} pixels.")
    return np.array([x, y, x + width, y + height], dtype=np.float64)  # from the corner
