"""Poses as rows of CSV and JSON files, written while they come."""

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from trackertraincode.files import whole_file
from trackertraincode.tracking.openness import OPENINGS, openness
from trackertraincode.tracking.pose import HeadPose
from trackertraincode.tracking.sources import Frame


class Columns(NamedTuple):
    """Some columns that belong together."""

    names: tuple[str, ...]
    doc: str
    values: Callable[[HeadPose], Any]  # as many numbers, or None where the model doesn't tell them


COLUMNS = (  # of a face; a column more is an entry more
    Columns(("pitch", "yaw", "roll"),
            "degrees; all 0 looks into the camera from where the head is, pitch > 0 looks up, yaw > 0 turns the nose to the "
            "image's left, roll > 0 tilts the head clockwise (AFLW2000-3D)", lambda p: p.pitch_yaw_roll_deg),
    Columns(("qi", "qj", "qk", "qw"), "the same as a quaternion", lambda p: p.rotation),
    Columns(("x", "y", "radius"), "head between the eyes, pixels of the frame", lambda p: p.head),
    Columns(("x0", "y0", "x1", "y1"), "bounding box, pixels of the frame", lambda p: p.box),
    Columns(
        ("world_x_mm", "world_y_mm", "world_z_mm"),
        "head relative to the camera, OpenTrack's axes: x negative before the camera, y up, z to the image's left",
        lambda p: p.position_mm,
    ),
    Columns(("std_x", "std_y", "std_z"), "predicted deviation about the image's axes, degrees",
            lambda p: p.rotation_std_deg),
    Columns(tuple(OPENINGS), "height over width of the opening, seen from the front; of models with landmarks",
            lambda p: None if p.landmarks is None else openness(p.landmarks, p.rotation)),
)  # fmt: skip
ABOUT = {
    "frame": "name of the image, or number of the frame",
    "time": "seconds since the first frame; not of images",
    "face": "whether there is one",
    "id": "number of the head, for --faces",
}
NAMES = (*ABOUT, *(name for columns in COLUMNS for name in columns.names))

Row = dict[str, Any]


def pose_row(frame: Frame, pose: HeadPose | None, number: int = 1) -> Row:
    """What is known of a head in a frame, by column. number: whose head it is."""
    time = {} if frame.time is None else {"time": round(frame.time, 6)}
    if pose is None:
        return {"frame": frame.name, **time, "face": False}
    row: Row = {"frame": frame.name, **time, "face": True, "id": number}
    for columns in COLUMNS:
        values = columns.values(pose)
        if values is not None:
            row |= zip(columns.names, map(float, values))
    return row


@contextmanager
def row_writer(*, json_file: Path | None, csv_file: Path | None) -> Iterator[Callable[[Row], None]]:
    """A function that adds a row to each file. An exception, such as Ctrl-C, doesn't cost what was written before it,
    but for an error of writing.

    Files are made with their first row, and have their names at the end.
    """
    failed: BaseException | None = None
    broken = False  # a row was written in part, as on a full disk
    with ExitStack() as stack:
        sinks: list[Callable[[Row], None]] = []

        def open_files() -> None:
            for path, writer in ((json_file, _json_sink), (csv_file, _csv_sink)):
                if path is not None:
                    temporary = stack.enter_context(whole_file(path))
                    sinks.append(stack.enter_context(writer(temporary)))

        def write(row: Row) -> None:
            nonlocal broken
            if not sinks:
                open_files()
            try:
                for sink in sinks:
                    sink(row)
            except OSError:
                broken = True
                raise

        try:
            yield write
        except BaseException as error:
            if broken:
                raise
            failed = error
    if failed is not None:
        if sinks:
            kept = " and ".join(str(path) for path in (json_file, csv_file) if path is not None)
            failed.add_note(f"{kept}: what was tracked before is there.")
        raise failed


@contextmanager
def _json_sink(path: Path) -> Iterator[Callable[[Row], None]]:
    with path.open("w", encoding="utf-8") as file:
        separator = "[\n"

        def write(row: Row) -> None:
            nonlocal separator
            file.write(separator + json.dumps(row))
            separator = ",\n"

        yield write
        file.write("\n]\n")


@contextmanager
def _csv_sink(path: Path) -> Iterator[Callable[[Row], None]]:
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.DictWriter(file, NAMES)
        writer.writeheader()
        yield writer.writerow
