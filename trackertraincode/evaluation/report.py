"""Rows of results as tables and files."""

import csv
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from trackertraincode.evaluation.evaluate import Result
from trackertraincode.files import whole_file
from trackertraincode.geometry.euler import matrix_to_aflw
from trackertraincode.geometry.rotation import quat_to_matrix

COLUMNS = {  # key of a row -> heading, digits
    "model": ("model", None),
    "protocol": ("protocol", None),
    "n": ("n", None),
    "pitch": ("pitch°", 3),
    "yaw": ("yaw°", 3),
    "roll": ("roll°", 3),
    "mae": ("MAE°", 3),
    "geodesic": ("geodesic°", 3),
    "maev": ("MAEV°", 3),
    "xy": ("XY %", 2),
    "size": ("S %", 2),
    "nme3d": ("NME 3D %", 2),
    "nme2d": ("NME 2D %", 2),
}


def told_apart(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same rows; protocols that come with several crop factors have them in their names."""
    factors = {row["protocol"]: {r["factor"] for r in rows if r["protocol"] == row["protocol"]} for row in rows}
    return [
        row | {"protocol": f"{row['protocol']} × {row['factor']:g}"} if len(factors[row["protocol"]]) > 1 else row
        for row in rows
    ]


def format_table(rows: Sequence[dict[str, Any]]) -> str:
    """For terminals: the numbers, then what crops, labels and models are, and the marks."""
    rows = told_apart(rows)
    marks = list(dict.fromkeys(mark for row in rows for mark in row["marks"]))
    cells = []
    for row in rows:
        line = [_cell(row[key], digits) for key, (_, digits) in COLUMNS.items()]
        line[0] = str(line[0]) + ",".join("*" * (marks.index(mark) + 1) for mark in row["marks"])
        cells.append(line)
    text = tabulate(cells, [heading for heading, _ in COLUMNS.values()], disable_numparse=True, stralign="right")
    notes = [describe_protocol(row) for row in rows] + [describe_model(row) for row in rows]
    notes += [f"{'*' * (i + 1)} {mark}" for i, mark in enumerate(marks)]
    return text + "\n\n" + "\n".join(dict.fromkeys(notes))


def describe_protocol(row: dict[str, Any]) -> str:
    """In words: what was evaluated."""
    return f"{row['protocol']}: n = {row['n']}, box: {row['box']}, {row['crop']}, labels: {row['labels']}"


def describe_model(row: dict[str, Any]) -> str:
    """In words: which images made its weights, and which chose them."""
    trained, selected = (", ".join(row[key]) for key in ("trained_on", "selected_on"))
    if not trained and not selected:
        return f"{row['model']}: doesn't say what it was trained or selected on"
    return f"{row['model']}: trained on {trained or 'what it does not say'}, selected on {selected or 'no data set'}"


def _cell(value: Any, digits: int | None) -> str:
    if value is None:
        return "–"
    return str(value) if digits is None else f"{value:.{digits}f}"


def write_json(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """A list of rows."""
    with whole_file(path) as temporary:
        temporary.write_text(
            json.dumps(list(rows), indent=1, ensure_ascii=False) + "\n", encoding="utf-8", errors="backslashreplace"
        )


def write_csv(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """One line per row."""
    with (
        whole_file(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows({k: "; ".join(v) if isinstance(v, list) else v for k, v in row.items()} for row in rows)


def write_predictions(results: Sequence[Result], path: Path) -> None:
    """One line per image: what was predicted, what is true, and the error."""
    measured = ["pitch", "yaw", "roll", "x", "y", "size"]
    names = ["model", "protocol", "factor", "row", *measured, "geodesic", *(f"true_{name}" for name in measured)]
    with (
        whole_file(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(names)
        for result in results:
            columns = [_pose_columns(p.rotation, p.head) for p in (result.prediction, result.truth)]
            errors = result.geodesic.tolist()  # computed anew each time it is asked for
            for i, row in enumerate(result.rows):
                numbers = [*columns[0][i], errors[i], *columns[1][i]]
                about = [result.model, result.protocol, result.factor, row]
                writer.writerow([*about, *("" if math.isnan(v) else f"{v:.4f}" for v in numbers)])


def _pose_columns(rotation: Any, head: Any) -> np.ndarray:
    """(n, 6): pitch, yaw, roll in degrees, x, y, size in pixels."""
    angles = np.degrees(matrix_to_aflw(quat_to_matrix(rotation.double())).numpy())
    return np.concatenate([angles, head.double().numpy()], axis=1)
