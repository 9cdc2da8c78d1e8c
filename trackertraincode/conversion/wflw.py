"""WFLW: 98 landmarks of faces in large images.

WFLW_images/FOLDER/NAME.jpg
WFLW_annotations/list_98pt_rect_attr_train_test/list_98pt_rect_attr_{train,test}.txt
    per line 196 coordinates, box x0 y0 x1 y1, 6 attributes, image
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from trackertraincode.conversion.archive import Archive, open_archive
from trackertraincode.conversion.faces import check_on_face, store_crop
from trackertraincode.conversion.landmark_schemes import WFLW_COUNT, wflw_to_68
from trackertraincode.conversion.run import Source
from trackertraincode.conversion.textfile import finite_number, read_lines
from trackertraincode.errors import ArchiveError
from trackertraincode.sample.images import IMAGE_EXTENSIONS
from trackertraincode.sample.moving import from_centres
from trackertraincode.sample.sample import Sample
from trackertraincode.spelling import normal_name

ATTRIBUTES = 6  # pose, expression, illumination, make-up, occlusion, blur
NUMBERS = 2 * WFLW_COUNT + 4 + ATTRIBUTES
_BOX_START = 2 * WFLW_COUNT


@dataclass(frozen=True)
class Item:
    """One line of the list: one face."""

    number: int  # of the line, from 1
    words: str  # the line
    image: str  # as the list names it
    member: str | None  # of the archive; None: not there


def make_source(archive: Path, split: str, min_box_width: int) -> Source:
    """List the faces of one split in the order of its file. Raises ArchiveError when parts of the archive are missing.

    min_box_width: pixels; faces with narrower boxes are left out.
    """
    opened = open_archive(archive)
    list_name = _find_list(opened, split)
    images = [name for name in opened.names if name.lower().endswith(IMAGE_EXTENSIONS)]
    if not images:
        raise ArchiveError(f"{archive}: no images; WFLW_images belongs beside WFLW_annotations (unpack both there).")
    find = _ImageFinder(images)
    items, narrow = [], 0
    for number, line in enumerate(read_lines(opened.read(list_name), list_name), 1):
        words = line.split(maxsplit=NUMBERS)
        if not words:
            continue
        if _is_narrow(words, min_box_width):
            narrow += 1
            continue
        image = words[-1].strip()
        items.append(Item(number, line, image, find(image)))
    if not items:
        raise ArchiveError(f"{archive}: {list_name} has no face with a box at least {min_box_width} pixels wide.")
    if all(item.member is None for item in items):
        raise ArchiveError(f"{archive}: none of the images of {list_name}, such as '{items[0].image}', is there.")
    note = f"{narrow} faces with boxes narrower than {min_box_width} pixels are left out (--min-box-width)"
    return Source(
        items=items,
        convert=partial(convert_item, archive, list_name),
        notes=(note,) if narrow else (),
    )


def _find_list(archive: Archive, split: str) -> str:
    """The annotation file; mirrors put it into other folders."""
    file_name = f"list_98pt_rect_attr_{split}.txt"
    found = sorted(
        (n for n in archive.names if PurePosixPath(n).name.casefold() == file_name), key=lambda n: (n.count("/"), n)
    )
    if not found:
        raise ArchiveError(
            f"{archive.path}: no {file_name}; give the folder or zip file that holds WFLW_annotations and WFLW_images."
        )
    return found[0]


IMAGES = "wflw_images"  # folder of the published archive


class _ImageFinder:
    """Image of the list -> member of the archive, wherever the mirror's folders lie; one below WFLW_images first."""

    def __init__(self, names: Sequence[str]) -> None:
        self._by_path: dict[tuple[str, ...], str | None] = {}
        for name in sorted(names, key=lambda name: (IMAGES not in name.casefold().split("/"), name.count("/"), name)):
            parts = PurePosixPath(name.casefold()).parts
            self._by_path.setdefault(parts[-2:], name)  # further ones are copies
            self._by_path[parts[-1:]] = name if parts[-1:] not in self._by_path else None  # None: not unique

    def __call__(self, image: str) -> str | None:
        parts = PurePosixPath(normal_name(image).casefold()).parts
        return self._by_path.get(parts[-2:]) or self._by_path.get(parts[-1:])


def _is_narrow(words: list[str], min_box_width: int) -> bool:
    """Whether to leave a face out. Lines that aren't right are kept: their conversion says what is wrong."""
    try:
        return float(words[_BOX_START + 2]) - float(words[_BOX_START]) < min_box_width
    except (ValueError, IndexError):
        return False


def convert_item(archive: Path, list_name: str, item: Item) -> list[Sample]:
    """One face -> one sample. Raises ArchiveError naming list and line, or image."""
    where = f"{list_name}: line {item.number}"
    words = item.words.split(maxsplit=NUMBERS)
    if len(words) != NUMBERS + 1 or not re.search(r"\.\w+$", words[-1].strip()):
        raise ArchiveError(f"{where} has {len(words)} words, expected {NUMBERS} numbers and an image.")
    numbers = np.array([finite_number(word, where) for word in words[:NUMBERS]])
    box = numbers[_BOX_START : _BOX_START + 4]
    if not (box[2] > box[0] and box[3] > box[1]):
        raise ArchiveError(f"{where} has the empty box {box.tolist()}.")
    if item.member is None:
        raise ArchiveError(f"{where}: image '{item.image}' is missing in WFLW_images.")
    landmarks = wflw_to_68(numbers[:_BOX_START].reshape(WFLW_COUNT, 2))
    check_on_face(landmarks, box, where)
    image = open_archive(archive).read(item.member)
    kept = store_crop(image, box, from_centres({"landmarks_2d": landmarks}), name=item.member)
    return [Sample(name=f"{item.member}, line {item.number}", **kept)]
