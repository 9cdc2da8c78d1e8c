"""INRIA Pointing'04 (Head Pose Image Database): 15 people, 2 series of 93 poses, marked by what they looked at.

PersonPP/personPPSNN±tilt±pan.jpg      P person, S series, N number; degrees in steps of 15
PersonPP/personPPSNN±tilt±pan.txt      name of the image, "Face", then centre x, y, width and height of the face
"""

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from trackertraincode.conversion.archive import Archive, naming, one_of_each, open_archive, unknown_images
from trackertraincode.conversion.run import Source
from trackertraincode.conversion.textfile import finite_number, read_lines
from trackertraincode.errors import ArchiveError
from trackertraincode.geometry.euler import pointing04_to_matrix
from trackertraincode.geometry.rotation import matrix_to_quat
from trackertraincode.sample.images import check_image
from trackertraincode.sample.sample import Sample

# The folder Front repeats the frontal images; the oldest copies spell "personne".
_IMAGE = re.compile(
    r"^(?:(?P<folder>.*)/)?person(?:ne)?(?P<person>\d\d)(?P<series>\d)(?P<number>\d\d)"
    r"(?P<tilt>[+-]\d{1,2})(?P<pan>[+-]\d{1,2})\.jpe?g$",
    re.IGNORECASE,
)
_STEP = 15  # degrees between poses
_NUMBER = re.compile(r"^[+-]?[\d.]+$")


@dataclass(frozen=True)
class Item:
    """One image; angles in degrees as in its name."""

    image: str
    person: int
    series: int
    number: int
    tilt: int
    pan: int

    def __str__(self) -> str:
        return self.image


def make_source(archive: Path) -> Source:
    """List the archive. Raises ArchiveError when it is none."""
    opened = open_archive(archive)
    items, copies = list_items(opened)
    if not items:
        raise ArchiveError(
            f"{archive}: no PersonPP/personPPSNN±tilt±pan.jpg in it; give the folder HeadPoseImageDatabase or its zip."
        )
    notes = (*copies, *unknown_images(opened, _IMAGE.match))
    return Source(items=items, convert=partial(convert_item, archive), notes=notes)


def list_items(archive: Archive) -> tuple[list[Item], tuple[str, ...]]:
    """By person, series and number; and a note on copies, which count once."""

    def key(name: str) -> tuple[int, ...] | None:
        match = _IMAGE.match(name)
        if match is None or (match["folder"] or "").lower().split("/")[-1] == "front":
            return None
        return tuple(int(match[part]) for part in ("person", "series", "number"))

    found, copies = one_of_each(archive.names, key, lambda name: _labels_of(name) in archive)
    items = []
    for _, name in sorted(found.items()):
        match = _IMAGE.match(name)
        assert match is not None
        items.append(Item(name, *(int(match[part]) for part in ("person", "series", "number", "tilt", "pan"))))
    return items, copies


def _labels_of(image: str) -> str:
    return Path(image).with_suffix(".txt").as_posix()


def convert_item(archive: Path, item: Item) -> list[Sample]:
    """One image -> one sample. Raises ArchiveError naming the member that is missing, damaged or wrong."""
    opened = open_archive(archive)
    if item.tilt % _STEP or item.pan % _STEP or abs(item.tilt) > 90 or abs(item.pan) > 90:
        raise ArchiveError(
            f"{item.image}: tilt {item.tilt} and pan {item.pan} in its name; they go from -90 to 90 in steps of 15."
        )
    image = opened.read(item.image)
    with naming(item.image):
        size = check_image(image)
    label = _labels_of(item.image)
    box = read_box(opened.read(label), label, Path(item.image).stem)
    if (box[:2] >= size).any() or (box[2:] <= 0).any():
        raise ArchiveError(f"{label}: the face box {box.tolist()} lies outside the image of {size}.")
    angles = torch.deg2rad(torch.tensor([item.tilt, item.pan], dtype=torch.float64))
    return [
        Sample(
            image=image,
            name=item.image,
            sequence=f"{item.person}/{item.series}",
            rotation=matrix_to_quat(pointing04_to_matrix(angles)).numpy(),
            face_box=box,
            individual=item.person,
        )
    ]


def read_box(data: bytes, name: str, stem: str) -> np.ndarray:
    """(4,) x0, y0, x1, y1. Raises ArchiveError naming the file when there isn't one box, or it is another image's."""
    words = " ".join(read_lines(data, name)).split()
    image = next((word for word in words if word.lower().endswith((".jpg", ".jpeg"))), None)
    if image is not None and _pose_of(image.rsplit(".", 1)[0]) != _pose_of(stem):
        raise ArchiveError(f"{name}: says it is of '{image}', expected '{stem}.jpg'.")
    numbers = [finite_number(word, f"{name}: the face box") for word in words if _NUMBER.match(word)]
    if len(numbers) != 4:
        raise ArchiveError(f"{name}: has {len(numbers)} numbers, expected 4: centre x, y, width, height of the face.")
    x, y, width, height = numbers
    if width <= 0 or height <= 0:
        raise ArchiveError(f"{name}: the face box is {width:g} wide and {height:g} high.")
    return np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2])


def _pose_of(stem: str) -> str:
    """Person to pan; the spelling before it varies."""
    return stem.lower().replace("personne", "person")
