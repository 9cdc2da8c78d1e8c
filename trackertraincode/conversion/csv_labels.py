"""A user's own images, with their labels in a CSV file: one line per face.

FOLDER/labels.csv + images    --read header--> columns of each label --one line--> Sample
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trackertraincode.conversion.archive import naming, open_archive
from trackertraincode.conversion.archive_kinds import refuse_foreign
from trackertraincode.conversion.csv_images import COLUMN, CsvImages, forward
from trackertraincode.conversion.faces import box_around, check_on_face
from trackertraincode.conversion.run import Source, gathered
from trackertraincode.conversion.spreadsheet import UNKNOWN, Row, Table, read_table
from trackertraincode.conversion.written_numbers import is_number
from trackertraincode.datasets.plausibility import suspicions
from trackertraincode.datasets.sample_file import LARGEST_INDEX
from trackertraincode.errors import ArchiveError, closest_first
from trackertraincode.facemodel.landmarks68 import COUNT, centered_depth
from trackertraincode.geometry.euler import aflw_to_matrix
from trackertraincode.geometry.rotation import matrix_to_quat
from trackertraincode.sample.fields import Kind
from trackertraincode.sample.images import (
    ImageDecodeError,
    Size,
    check_image,
    decode,
    encode_jpeg,
    image_size,
)
from trackertraincode.sample.moving import from_centres
from trackertraincode.sample.orientation import orientation
from trackertraincode.sample.places import SIZES, misplaced, sizes_in_boxes
from trackertraincode.sample.sample import Sample
from trackertraincode.signatures import kind_of

COLUMNS_HELP = """\
Columns of the CSV file, in any order; the first line names them; cells are separated by , ; | or tabs:

  path                       image (.jpg or .png), relative to the CSV file's folder
  x0 y0 x1 y1                face box; pixels from the image's top-left corner
  pitch yaw roll             optional; degrees as in AFLW2000-3D: all 0 looks into the camera, pitch > 0 looks up,
                             yaw > 0 turns the nose to the image's left, roll > 0 tilts the head clockwise
  head_x head_y head_size    optional; point between the eyes and head radius (100 mm); pixels, the first pixel's
                             centre is (0, 0)
  lm0_x lm0_y ... lm67_y     optional; the 68 iBUG landmarks; pixels, counted like the head. With lm0_z ... lm67_z
                             they are 3-D landmarks: z in pixels, into the image, from any origin
  individual                 optional; whole number of the person
  sequence                   optional; name of the video that this frame belongs to

Cells of an optional label may be empty or NaN where it isn't known, but then all of them in that line.
Images are stored as they are, and an orientation tag (EXIF) is ignored unless --upright is given: labels count pixels
as they are stored. Text is UTF-8, UTF-16 or cp1252, as spreadsheets write it; a first line "sep=;" names the
separator. Lines that begin with # are comments; put names that do so in quotes. Numbers may have decimal commas; 1.100
is refused where it could be a thousand.
"""

PATH, SEQUENCE = COLUMN, "sequence"
WORKBOOK = ("xl/workbook.xml", "xl/workbook.bin", "content.xml", "Index/Document.iwa")  # Excel, LibreOffice, Numbers
BOX_COLUMNS = ("x0", "y0", "x1", "y1")
SIZED_BOX = {"x", "y", "w", "h", "width", "height", "left", "top"}  # of programs that give sizes instead
LABEL_COLUMNS: dict[str, tuple[str, ...]] = {  # attribute of Sample -> its columns
    "face_box": BOX_COLUMNS,
    "rotation": ("pitch", "yaw", "roll"),
    "head": ("head_x", "head_y", "head_size"),
    "landmarks": tuple(f"lm{i}_{axis}" for i in range(COUNT) for axis in "xyz"),
    "landmarks_2d": tuple(f"lm{i}_{axis}" for i in range(COUNT) for axis in "xy"),
    "individual": ("individual",),
}
SAMPLED_ROWS = 64  # that are looked at together before the conversion


@dataclass(frozen=True)
class Settings:
    """What all items of a run share."""

    images: CsvImages
    table: Table
    labels: tuple[str, ...]  # attributes that the header has columns of
    upright: bool  # whether labels count pixels of images as they are shown


def make_source(source: Path, upright: bool = False, allow_outside: bool = False) -> Source:
    """List the lines, those of a sequence one after the other. Raises ArchiveError naming the file and the column."""
    source, member, data = _read_csv(source)
    table, rows, notes = read_table(data, str(source) if member is None else f"{source}: {member}")
    labels, unused = _labels_of(table.header, table.name)
    images = CsvImages(source, member, allow_outside)
    settings = Settings(images, table, labels, upright)
    items, notes = rows, notes + unused
    if SEQUENCE in table.header:
        items = gathered(rows, partial(_cell, table, SEQUENCE))
        if items != rows:
            notes = (*notes, "rows are put in another order than the lines: those of a sequence follow each other")
    return Source(
        items=items,
        convert=partial(convert_item, settings),
        beside=partial(_image_files, images, table, rows),
        optional=tuple(label for label in labels if label != "face_box"),
        notes=(*notes, *(f"perhaps wrong: {text}" for text in _suspicions(settings, items))),
    )


def _image_files(images: CsvImages, table: Table, rows: Sequence[Row]) -> Iterator[Path]:
    """Files that rows name."""
    return images.files(_cell(table, PATH, row) for row in rows)


def _cell(table: Table, column: str, row: Row) -> str:
    """Empty where it can't be read."""
    try:
        return table.cell(row, column)
    except ArchiveError:
        return ""


def _read_csv(source: Path) -> tuple[Path, str | None, bytes]:
    """The CSV file, or the zip file and the member in it; and its bytes."""
    if not (source.is_file() and source.suffix.lower() in (".csv", ".tsv", ".txt")):
        archive = open_archive(source)
        found = [name for name in archive.names if name.lower().endswith((".csv", ".tsv"))]
        if not found and any(name in archive for name in WORKBOOK):
            raise ArchiveError(f"{source}: is a workbook; save its table as CSV (.csv) and give that.")
        if len(found) != 1:
            what = "no CSV file" if not found else f"{len(found)} CSV files ({', '.join(found[:3])})"
            raise ArchiveError(f"{source}: {what} in it; expected one. Give the path of the CSV file itself.")
        on_disk = archive.file(found[0])
        if on_disk is None:
            return source, found[0], archive.read(found[0])
        source = on_disk
    data = source.read_bytes()
    if kind_of(data[:512]) == "web page":
        refuse_foreign(source, data)
    return source, None, data


def _labels_of(header: Sequence[str], name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Attributes with columns in the header, and notes. Raises ArchiveError when columns are missing or twice there."""
    twice = [column for column, count in Counter(header).items() if count > 1 and column]
    if twice:
        raise ArchiveError(f"{name}: column '{twice[0]}' is there twice; each column must have a name of its own.")
    needed = [PATH, *BOX_COLUMNS]
    wanted = [label for label, columns in LABEL_COLUMNS.items() if any(column in header for column in columns)]
    if "landmarks" in wanted:  # of the two kinds only one
        wanted.remove("landmarks_2d" if any(f"lm{i}_z" in header for i in range(COUNT)) else "landmarks")
    needed += [column for label in wanted for column in LABEL_COLUMNS[label]]
    if not set(header) & set(needed) and any(is_number(cell, "") for cell in header):
        raise ArchiveError(
            f"{name}: no header, the first line holds numbers: {', '.join(header)[:60]}. It has to name the columns; --help "
            "lists them."
        )
    for column in needed:
        if column not in header:
            unknown = _unknown(header)
            similar = closest_first(column, unknown)[0] if unknown else None
            hint = f" There is a column '{similar}', which isn't known: misspelt?" if similar else ""
            if column in BOX_COLUMNS and len(SIZED_BOX & set(header)) >= 2:
                hint = " Boxes have corners here: x1 = x + width, y1 = y + height."
            elif column in BOX_COLUMNS and not set(BOX_COLUMNS) & set(header):
                hint += " `ttc track FOLDER --csv boxes.csv` finds boxes, of images as they are shown (--upright)."
            raise ArchiveError(f"{name}: no column '{column}' in the header.{hint} --help lists the columns.")
    unused = _unknown(header)
    notes = (f"columns that mean nothing here and aren't used: {', '.join(unused)}",) if unused else ()
    return tuple(wanted), notes


def _unknown(header: Sequence[str]) -> list[str]:
    known = {PATH, SEQUENCE, *(column for columns in LABEL_COLUMNS.values() for column in columns)}
    return [column for column in header if column and column not in known]


def _suspicions(settings: Settings, rows: Sequence[Row]) -> Iterator[str]:
    """What looks wrong in some of the rows together; those that can't be read are named later."""
    boxes, sizes, angles = [], [], []
    table = settings.table
    for row in rows[:: -(-len(rows) // SAMPLED_ROWS)]:
        try:
            named = table.cells(row)
            boxes.append(table.numbers(named, BOX_COLUMNS, ""))
            sizes.append(image_size(settings.images.read(named[PATH], "")))
            if "rotation" in settings.labels:
                angles.append(table.numbers(named, LABEL_COLUMNS["rotation"], ""))
        except (ArchiveError, ImageDecodeError):
            del boxes[len(sizes) :]
    yield from suspicions(
        np.array(boxes) if boxes else None, np.array(sizes, np.float64), np.array(angles) if angles else None
    )


def convert_item(settings: Settings, row: Row) -> list[Sample]:
    """One line -> one sample. Raises ArchiveError naming file, line and column, or the image."""
    where, named = settings.table.where(row), settings.table.cells(row)
    labels = dict(_read_labels(settings, named, where))
    image, shown = settings.images.read(named[PATH], where), forward(named[PATH])
    with naming(f"{where}, column 'path': '{shown}'"):
        size = check_image(image)
        if settings.upright and orientation(image) != 1:
            pixels = decode(image, color=True, upright=True)
            image, size = encode_jpeg(pixels), Size(pixels.shape[1], pixels.shape[0])
    x0, y0, x1, y1 = labels["face_box"]
    if x0 >= size.width or y0 >= size.height or x1 <= 0 or y1 <= 0:
        raise ArchiveError(
            f"{where}, columns 'x0' to 'y1': box {labels['face_box'].tolist()} lies outside of {shown}, which has "
            f"{size.width} × {size.height} pixels."
        )
    if not misplaced(Kind.BOX, labels["face_box"], size):  # which is told of every data set's
        _check_sizes(labels, where)
    sequence = named.get(SEQUENCE)
    if sequence is not None and sequence.lower() in UNKNOWN:
        found = f"has '{sequence}'" if sequence else "is empty"
        raise ArchiveError(f"{where}, column '{SEQUENCE}' {found}; each line needs one where the column is there.")
    return [Sample(image=image, name=f"{shown} (line {row.number})", sequence=sequence, **from_centres(labels))]


def _check_sizes(labels: Mapping[str, np.ndarray], where: str) -> None:
    """Raise ArchiveError where head or landmarks can't be of the face in the box: elsewhere, or in other units."""
    box = labels["face_box"]
    edge = (box[2:] - box[:2]).max()
    if "head" in labels:
        far = np.abs(labels["head"][:2] - (box[:2] + box[2:]) / 2) > 1.5 * edge
        if far.any() or not _is_of_size("head", box, labels["head"]):
            raise ArchiveError(
                f"{where}, columns 'head_x' to 'head_size': {_rounded(labels['head'])} isn't the head of the face box "
                f"{_rounded(box)}; all are pixels, head_size is about half of the box's height."
            )
    for label in ("landmarks", "landmarks_2d"):
        if label in labels:
            points = labels[label][:, :2]
            check_on_face(points, box, where)
            if not _is_of_size("landmarks", box, points):
                raise ArchiveError(
                    f"{where}, columns 'lm0_x' to 'lm67_y': landmarks within {_rounded(box_around(points))} aren't those of "
                    f"the face box {_rounded(box)}; both are pixels."
                )


def _is_of_size(name: str, box: np.ndarray, value: np.ndarray) -> bool:
    low, high = SIZES[name]
    return bool(low <= sizes_in_boxes(box[None], name, value[None])[0] <= high)


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(value), 2) for value in values]


def _read_labels(settings: Settings, named: dict[str, str], where: str) -> Iterator[tuple[str, Any]]:
    """Attributes of Sample with their values."""
    for label in settings.labels:
        columns = LABEL_COLUMNS[label]
        if label != "face_box" and all(named[column].lower() in UNKNOWN for column in columns):
            continue
        for column in columns:
            if not named[column]:
                raise ArchiveError(f"{where}, column '{column}' is empty.")
        if label == "individual":
            yield label, _person(settings.table, named, where)
        else:
            yield label, _value_of(label, np.array(settings.table.numbers(named, columns, where)), named, where)


def _person(table: Table, named: dict[str, str], where: str) -> int:
    number = table.whole(named, "individual", where)
    if not 0 <= number <= LARGEST_INDEX:
        raise ArchiveError(
            f"{where}, column 'individual' has '{named['individual'][:40]}', expected 0 to {LARGEST_INDEX}."
        )
    return number


def _value_of(label: str, values: np.ndarray, named: dict[str, str], where: str) -> Any:
    if label == "face_box" and not (values[2] > values[0] and values[3] > values[1]):
        wrong = "x1" if values[2] <= values[0] else "y1"
        raise ArchiveError(f"{where}, column '{wrong}': box {values.tolist()} is empty; x0 < x1 and y0 < y1.")
    if label == "head" and values[2] <= 0:
        raise ArchiveError(f"{where}, column 'head_size' has '{named['head_size']}', expected a radius above 0.")
    if label == "rotation":
        for column, value in zip(LABEL_COLUMNS[label], values):
            if abs(value) > 360:
                raise ArchiveError(f"{where}, column '{column}' has '{named[column]}', expected -360 to 360 degrees.")
        return matrix_to_quat(aflw_to_matrix(torch.as_tensor(values) * (math.pi / 180))).numpy()
    if label == "landmarks":
        return centered_depth(values.reshape(COUNT, 3))
    if label == "landmarks_2d":
        return values.reshape(COUNT, 2)
    return values
