"""What is in a sample file, in numbers.

file --row_quantities--> pitch, yaw, roll, size, box_width, box_height, measures: (N,) each --summarize--> Summary --> text
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tabulate import tabulate

from trackertraincode.datasets.sample_file import NO_INDEX, absent_rows
from trackertraincode.datasets.shards import Samples, open_samples
from trackertraincode.datasets.spread import evenly_spread
from trackertraincode.errors import SampleFormatError
from trackertraincode.geometry.euler import matrix_to_aflw
from trackertraincode.geometry.rotation import quat_to_matrix
from trackertraincode.sample.images import ImageDecodeError, image_size, sniff
from trackertraincode.sample.sample import LABELS, MEASURES

CHUNK_ROWS = 1024  # whose labels are in memory at once
SAMPLED_IMAGES = 64  # evenly spread rows whose headers tell about the images
ANGLES = ("pitch", "yaw", "roll")
QUANTITIES = {  # that rows can be chosen by -> unit; angles are those of AFLW2000-3D
    **dict.fromkeys(ANGLES, "degrees"),
    **dict.fromkeys(("size", "box_width", "box_height"), "pixels"),
    **{name: LABELS[name].unit for name in MEASURES},
}


@dataclass(frozen=True)
class FieldSummary:
    """One field of a file."""

    name: str  # in the file
    attribute: str  # of a sample
    layout: str  # shape and type, or storage
    present: int  # rows that have it


@dataclass(frozen=True)
class Summary:
    """One file."""

    path: Path
    rows: int
    face_model: str | None  # None without coefficients
    source: dict[str, object]
    fields: list[FieldSummary]
    unknown: tuple[str, ...]  # fields that the format doesn't know
    sequences: int | None
    persons: int | None
    faces: int | None  # rows with a face, where the file tells
    images: str  # kinds and sizes of some
    quantities: dict[str, np.ndarray]  # of QUANTITIES, those that the file has; (N,), NaN where a row lacks it


def quantities_of(labels: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """labels: attribute -> (n, ...). Those of QUANTITIES that follow from them, (n,) float32 each."""
    found: dict[str, np.ndarray] = {}
    if "rotation" in labels:
        angles = np.degrees(matrix_to_aflw(quat_to_matrix(torch.from_numpy(labels["rotation"]))).numpy())
        found |= dict(zip(ANGLES, angles.T))
    if "head" in labels:
        found["size"] = labels["head"][:, 2]
    if "face_box" in labels:
        box = labels["face_box"]
        found |= {"box_width": box[:, 2] - box[:, 0], "box_height": box[:, 3] - box[:, 1]}
    return found | {name: labels[name] for name in MEASURES if name in labels}


def row_quantities(path: Path) -> dict[str, np.ndarray]:
    """Those of QUANTITIES that a file has, (N,) each: 4 bytes each per row, read in chunks. Raises SampleFormatError."""
    with open_samples(path) as file:
        return _quantities(file)


def _quantities(file: Samples) -> dict[str, np.ndarray]:
    wanted = [a for a in ("rotation", "head", "face_box", *MEASURES) if a in file.fields]
    for attribute in wanted:
        file.check(attribute)
    parts = [quantities_of({a: file.label(a, rows) for a in wanted}) for rows in chunks(len(file))]
    return {q: np.concatenate([part[q] for part in parts]) for q in (parts[0] if parts else {})}


def chunks(count: int) -> Iterator[range]:
    """All rows in ranges of CHUNK_ROWS."""
    return (range(start, min(start + CHUNK_ROWS, count)) for start in range(0, count, CHUNK_ROWS))


def summarize(path: Path) -> Summary:
    """Read a file once from end to end, images excepted. Raises SampleFormatError."""
    with open_samples(path) as file:
        for attribute in file.fields:
            file.check(attribute)
        persons, faces = _persons_and_faces(file)
        return Summary(
            path=path,
            rows=len(file),
            face_model=file.face_model if "shape" in file.fields else None,
            source=file.source,
            fields=[FieldSummary(file.name(a), a, file.layout(a), _present(file, a)) for a in file.fields],
            unknown=file.unknown,
            sequences=None if file.starts is None else len(file.starts) - 1,
            persons=persons,
            faces=faces,
            images=_describe_images(file),
            quantities=_quantities(file),
        )


def _present(file: Samples, attribute: str) -> int:
    """Rows that have a field."""
    if attribute not in LABELS:
        return len(file)
    return sum(int((~absent_rows(attribute, file.raw(attribute, rows))).sum()) for rows in chunks(len(file)))


def _persons_and_faces(file: Samples) -> tuple[int | None, int | None]:
    persons: set[int] = set()
    faces = 0
    for rows in chunks(len(file)):
        if "individual" in file.fields:
            values = file.raw("individual", rows)
            persons |= set(values[values != NO_INDEX].tolist())
        if "has_face" in file.fields:
            faces += int(file.raw("has_face", rows).sum())
    return len(persons) if "individual" in file.fields else None, faces if "has_face" in file.fields else None


def _describe_images(file: Samples) -> str:
    """Kinds and range of sizes of some images; what is wrong with the first that can't be read."""
    kinds: set[str] = set()
    sizes = []
    try:
        for row in evenly_spread(len(file), SAMPLED_IMAGES).tolist():
            data = file.images([row])[0]
            kinds.add(sniff(data) or "")
            sizes.append(image_size(data))
    except (SampleFormatError, ImageDecodeError) as error:
        return f"not readable: {error}"
    if not sizes:
        return "none"
    low, high = np.min(sizes, axis=0), np.max(sizes, axis=0)
    span = f"{low[0]} × {low[1]}" + ("" if (low == high).all() else f" to {high[0]} × {high[1]}")
    return f"{' and '.join(sorted(kinds))}, {span} pixels ({len(sizes)} looked at)"


def describe(summary: Summary) -> str:
    """The summary as text of several lines."""
    lines = [f"{summary.path}: {summary.rows} samples", f"images: {summary.images}"]
    for word, value in (
        ("sequences", summary.sequences),
        ("persons", summary.persons),
        ("samples with a face", summary.faces),
        ("face model", summary.face_model),
    ):
        if value is not None:
            lines.append(f"{word}: {value}")
    if summary.source:
        shown = ("description", "converter", "version", "archive")
        lines.append("source: " + ", ".join(f"{summary.source[k]}" for k in shown if summary.source.get(k)))
    if summary.unknown:
        lines.append(f"not part of the format: {', '.join(summary.unknown)}")
    rows = [(f.name, f.attribute, f.layout, f.present) for f in summary.fields]
    lines += ["", tabulate(rows, headers=("field", "attribute", "layout", "samples with it"))]
    table = [_statistics_row(name, values) for name, values in summary.quantities.items()]
    if table:
        headers = ("", "samples", "least", "5 %", "median", "mean", "95 %", "most", "std")
        lines += ["", tabulate(table, headers=headers, floatfmt=".1f")]
    return "\n".join(lines)


def _statistics_row(name: str, values: np.ndarray) -> tuple[object, ...]:
    known = values[np.isfinite(values)].astype(np.float64)  # where squares of huge ones find room
    if not len(known):
        return (f"{name}, {QUANTITIES[name]}", 0)
    low, lower, middle, upper, high = np.percentile(known, (0, 5, 50, 95, 100))
    return (f"{name}, {QUANTITIES[name]}", len(known), low, lower, middle, known.mean(), upper, high, known.std())
