"""Results as one HTML file that opens offline: tables, curves, the worst images with truth and prediction.

Results --tables, matplotlib, visualize--> sections --templates/report.html--> one file (images inside, as base64)
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import numpy as np

from trackertraincode.evaluation.evaluate import Result
from trackertraincode.evaluation.metrics import bootstrap_interval
from trackertraincode.evaluation.pages import LEGEND, sheet, spread, worst
from trackertraincode.evaluation.plots import draw_epochs, figure_png, plot_label, pyplot
from trackertraincode.evaluation.report import COLUMNS, describe_model, describe_protocol, told_apart
from trackertraincode.files import whole_file
from trackertraincode.sample.images import encode_jpeg, sniff

YAW_EDGES = np.arange(0, 100, 10)
MAX_SHOWN_ERROR = 30.0  # degrees, right end of the cumulative curves
SHOWN = 8  # images per sheet


class Cell(NamedTuple):
    """Of a table."""

    text: str
    small: str = ""  # behind it, in small print
    best: bool = False  # of its column


@dataclass(frozen=True, kw_only=True)
class Section:
    """What stands under a heading, from top to bottom."""

    title: str
    headings: Sequence[str] = ()  # of a table
    rows: Sequence[Sequence[Cell]] = ()
    image: bytes = b""  # a PNG or JPEG file
    notes: Sequence[str] = ()  # lines in small print
    code: str = ""


def write_report(path: Path, title: str, sections: Sequence[Section]) -> None:
    """One self-contained file."""
    text = _template("report.html").render(title=title, sections=sections)
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def section_html(section: Section) -> str:
    """One section of a report, for notebooks."""
    return _template("section.html").render(section=section)


def _template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__), autoescape=True, trim_blocks=True, keep_trailing_newline=True
    )
    environment.filters["data_address"] = _data_address
    return environment.get_template(name)


def result_sections(results: Sequence[Result]) -> list[Section]:
    """Tables, curves and images of one or several models under one or several protocols."""
    sections = [error_section(results), Section(title="Curves", image=figure_png(_curves(results)))]
    for result in results:
        for name, indices in (("worst", worst(result, SHOWN)), ("typical", spread(result, SHOWN))):
            title = f"{result.model}, {result.protocol}: {name} images"
            sections.append(Section(title=title, image=encode_jpeg(sheet(result, indices), 88), notes=[LEGEND]))
    return sections


def error_section(results: Sequence[Result]) -> Section:
    """A table; of each protocol, the best value of a column is marked. 95 % intervals by bootstrap."""
    rows = told_apart([result.row() for result in results])
    of_protocol = {name: [r for r in rows if r["protocol"] == name] for name in {r["protocol"] for r in rows}}

    def cell(row: dict[str, Any], result: Result, key: str, digits: int | None) -> Cell:
        if row[key] is None or digits is None:
            return Cell("–" if row[key] is None else str(row[key]))
        interval = ""
        if key in ("mae", "geodesic"):
            low, high = bootstrap_interval(result.geodesic if key == "geodesic" else result.mean_angles)
            interval = f"[{low:.2f}, {high:.2f}]"
        others = of_protocol[row["protocol"]]
        best = len(others) > 1 and row[key] == min(r[key] for r in others if r[key] is not None)
        return Cell(f"{row[key]:.{digits}f}", interval, best)

    notes = [describe_protocol(r) + (f" — {r['model']}: {', '.join(r['marks'])}" if r["marks"] else "") for r in rows]
    notes += [describe_model(row) for row in rows]
    return Section(
        title="Errors",
        headings=[heading for heading, _ in COLUMNS.values()],
        rows=[[cell(*pair, key, digits) for key, (_, digits) in COLUMNS.items()] for pair in zip(rows, results)],
        notes=[*dict.fromkeys(notes), "[ ]: 95 % confidence."],
    )


def training_section(rows: Sequence[dict[str, float]]) -> Section:
    """Loss and error of each epoch, from the rows of a metrics.csv."""
    plt = pyplot()
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.2), layout="constrained")
    for axis, title, names in (
        (axes[0], "loss", ("train/loss", "val/loss")),
        (axes[1], "validation error, degrees", ("val/geodesic", "val/mae")),
        (axes[2], "learning rate", ("lr",)),
    ):
        draw_epochs(axis, title, rows, {name: name for name in names})
    return Section(title="Training", image=figure_png(figure))


def _curves(results: Sequence[Result]) -> Any:
    plt = pyplot()
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for result in results:
        label = plot_label(f"{result.model}, {result.protocol}")
        errors = result.rotation_errors.numpy()
        left.plot(np.sort(errors), 100 * np.arange(1, len(errors) + 1) / len(errors), label=label)
        bins = np.digitize(result.yaw.abs().numpy(), YAW_EDGES) - 1
        means = [errors[bins == i].mean() if (bins == i).any() else np.nan for i in range(len(YAW_EDGES))]
        right.plot(YAW_EDGES + 5, means, marker="o", label=label)
    left.set(
        title="error of the rotation, cumulative", xlabel="degrees", ylabel="% of images", xlim=(0, MAX_SHOWN_ERROR)
    )
    right.set(title="mean error of the rotation by |yaw|", xlabel="|yaw|, degrees", ylabel="degrees", ylim=(0, None))
    for axis in (left, right):
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    return figure


def _data_address(image: bytes) -> str:
    return f"data:image/{sniff(image)};base64,{base64.b64encode(image).decode()}"
