"""WIDER FACE, for the localizer: from each image of exactly one face a section with it and one without.

WIDER_train.zip, WIDER_val.zip     WIDER_{train,val}/images/EVENT/NAME.jpg
wider_face_split.zip               wider_face_split/wider_face_{train,val}_bbx_gt.txt

The source is the folder with the three, zipped or unpacked, or one zip of all. Sections are drawn from a random
generator that depends on the seed and the image's name alone.
"""

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from trackertraincode.conversion.archive import Archive, naming, open_archive
from trackertraincode.conversion.run import Source
from trackertraincode.conversion.textfile import number_rows, read_lines
from trackertraincode.errors import ArchiveError
from trackertraincode.sample.images import Size, check_image, decode, encode_jpeg
from trackertraincode.sample.sample import Sample
from trackertraincode.spelling import normal_name

SUBSETS = ("train", "val")
FACE_SHARE = (0.10, 0.33)  # of the section's width; the localizer's faces
MIN_WIDTH = 64  # pixels of a section without a face; less shows nothing
_IMAGE = re.compile(r"^(?:.*/)?WIDER_(train|val)/images/([^/]+/[^/]+\.jpe?g)$", re.IGNORECASE)
_BOX_VALUES = 10  # x y w h blur expression illumination invalid occlusion pose
_INVALID = 7


class ImageSection(NamedTuple):
    """Part of an image, whole pixels."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Item:
    """An image of exactly one face."""

    archive: Path  # where it lies
    image: str
    box: tuple[int, int, int, int]  # x0, y0, x1, y1

    def __str__(self) -> str:
        return self.image


def make_source(folder: Path, seed: int, max_size: int) -> Source:
    """List images of one face. Raises ArchiveError when parts are missing or an annotation file is damaged."""
    archives = _archives(folder)
    images = _images(archives)
    items: list[Item] = []
    notes = []
    missing = 0
    for subset in SUBSETS:
        if not any(key[0] == subset for key in images):
            notes.append(f"{folder}: no images of WIDER_{subset} (WIDER_{subset}.zip or its folder); left out.")
            continue
        for path, box in _single_faces(archives, folder, subset):
            place = images.get((subset, normal_name(path).casefold()))
            if place is None:
                missing += 1
            else:
                items.append(Item(*place, box))
    if len(notes) == len(SUBSETS):
        raise ArchiveError(f"{folder}: no WIDER_train.zip, WIDER_val.zip or their folders in it; get at least one.")
    if missing:
        notes.append(f"{folder}: {missing} annotated images of one face aren't in the archives.")
    if not items:
        raise ArchiveError(f"{folder}: not one image of exactly one face; the annotations don't fit the images.")
    return Source(items=items, convert=partial(convert_item, seed, max_size), notes=tuple(notes))


def _archives(source: Path) -> list[Path]:
    """The source itself, and the zip files of WIDER FACE in it."""
    if not source.is_dir():
        return [source]
    return [source, *sorted(p for p in source.iterdir() if p.suffix.lower() == ".zip" and "wider" in p.name.lower())]


def _images(archives: list[Path]) -> dict[tuple[str, str], tuple[Path, str]]:
    """(subset, EVENT/NAME.jpg without capitals) -> archive and member."""
    found: dict[tuple[str, str], tuple[Path, str]] = {}
    for path in archives:
        for name in sorted(open_archive(path).names, key=lambda name: (name.count("/"), name)):  # others are copies
            if match := _IMAGE.match(name):
                found.setdefault((match[1].lower(), match[2].casefold()), (path, name))
    return found


def _single_faces(archives: list[Path], folder: Path, subset: str) -> Iterator[tuple[str, tuple[int, int, int, int]]]:
    """Images of a subset with exactly one face, and its box."""
    wanted = f"wider_face_{subset}_bbx_gt.txt"
    for path in archives:
        archive = open_archive(path)
        name = next((n for n in archive.names if n.rsplit("/", 1)[-1].lower() == wanted), None)
        if name is not None:
            yield from read_single_faces(archive, name)
            return
    raise ArchiveError(f"{folder}: {wanted} is missing; put wider_face_split.zip there.")


def read_single_faces(archive: Archive, name: str) -> Iterator[tuple[str, tuple[int, int, int, int]]]:
    """Annotations: image, number of boxes, then a line each; 0 boxes have one line of zeros.

    Faces of no size don't count; an image whose only face is marked as invalid is left out.
    Raises ArchiveError naming file and line.
    """
    lines = [line.strip() for line in read_lines(archive.read(name), name)]
    position = 0
    while position < len(lines):
        if not lines[position]:
            position += 1
            continue
        place = f"{name}: line {position + 1}"
        image = lines[position]
        if not image.lower().endswith((".jpg", ".jpeg")):
            raise ArchiveError(f"{place} should be the path of an image, found '{image[:60]}'.")
        count = lines[position + 1] if position + 1 < len(lines) else ""
        if not count.isdecimal():
            raise ArchiveError(f"{place}: the number of boxes should follow '{image}', found '{count[:60]}'.")
        first, rows = position + 2, max(1, int(count))
        if first + rows > len(lines):
            raise ArchiveError(f"{name}: ends within the {count} boxes of '{image}'; get the file again.")
        boxes = number_rows(lines[first : first + rows], name, _BOX_VALUES, first=first + 1)
        faces = boxes[(boxes[:, 2] > 0) & (boxes[:, 3] > 0)]
        if len(faces) == 1 and not faces[0][_INVALID]:
            x, y, width, height = (int(v) for v in faces[0][:4])
            yield image, (x, y, x + width, y + height)
        position = first + rows


def convert_item(seed: int, max_size: int, item: Item) -> list[Sample]:
    """One image -> a section with the face and, where there is room, one without.

    Raises ArchiveError naming the member that is missing, damaged or wrong.
    """
    data = open_archive(item.archive).read(item.image)
    with naming(item.image):
        size = check_image(data)
    x0, y0, x1, y1 = item.box
    x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1, size.width), min(y1, size.height)
    if x1 <= x0 or y1 <= y0:
        raise ArchiveError(f"{item.image}: the face box {item.box} lies outside the image of {size}.")
    box = (x0, y0, x1, y1)
    rng = np.random.default_rng([seed, zlib.crc32(item.image.rsplit("/", 1)[-1].encode())])
    with_face = section_with_face(size, box, rng)
    if with_face is None:
        raise ArchiveError(f"{item.image}: no 4:3 section of the image of {size} holds the face {item.box}.")
    image = decode(data, color=True)
    samples = [_cut(image, with_face, item, max_size, np.array(box, dtype=np.float64))]
    without = section_without_face(size, box, rng)
    if without is not None:
        samples.append(_cut(image, without, item, max_size, None))
    return samples


def section_with_face(size: Size, box: tuple[int, int, int, int], rng: np.random.Generator) -> ImageSection | None:
    """A random 4:3 section around the box, which takes `FACE_SHARE` of its width, or more where the image is small.

    None when the image is too narrow or too low for one.
    """
    x0, y0, x1, y1 = box
    wanted = max((x1 - x0) / rng.uniform(*FACE_SHARE), (y1 - y0) * 4 / 3)
    width = int(min(wanted, size.width, size.height * 4 / 3))
    height = width * 3 // 4
    if width < x1 - x0 or height < y1 - y0:
        return None
    x = rng.integers(max(0, x1 - width), min(x0, size.width - width), endpoint=True)
    y = rng.integers(max(0, y1 - height), min(y0, size.height - height), endpoint=True)
    return ImageSection(int(x), int(y), width, height)


def section_without_face(size: Size, box: tuple[int, int, int, int], rng: np.random.Generator) -> ImageSection | None:
    """The largest 4:3 section beside, above or below the box, at a random place of that side; None without room."""
    x0, y0, x1, y1 = box
    sides = (
        ImageSection(0, 0, x0, size.height),
        ImageSection(x1, 0, size.width - x1, size.height),
        ImageSection(0, 0, size.width, y0),
        ImageSection(0, y1, size.width, size.height - y1),
    )
    widths = [int(min(side.width, side.height * 4 / 3)) for side in sides]
    side, width = sides[int(np.argmax(widths))], max(widths)
    if width < MIN_WIDTH:
        return None
    height = width * 3 // 4
    x = side.x + rng.integers(0, side.width - width, endpoint=True)
    y = side.y + rng.integers(0, side.height - height, endpoint=True)
    return ImageSection(int(x), int(y), width, height)


def _cut(whole: np.ndarray, section: ImageSection, item: Item, max_size: int, box: np.ndarray | None) -> Sample:
    """The section as a sample. box: of the face in the whole image; None: there is none."""
    x, y, width, height = section
    image = np.ascontiguousarray(whole[y : y + height, x : x + width])
    scale = min(1.0, max_size / width)
    if scale < 1.0:
        stored = Size(round(width * scale), round(height * scale))
        image = cv2.resize(image, stored, interpolation=cv2.INTER_AREA)
    stored_height, stored_width = image.shape[:2]
    ratio = np.array([stored_width / width, stored_height / height] * 2)
    if box is None:
        face_box = np.array([0.25, 0.25, 0.75, 0.75]) * [stored_width, stored_height, stored_width, stored_height]
    else:
        face_box = (box - [x, y, x, y]) * ratio
    return Sample(
        image=encode_jpeg(image),
        name=f"{item.image} {'without' if box is None else 'with'} face",
        face_box=face_box,
        has_face=box is not None,
    )
