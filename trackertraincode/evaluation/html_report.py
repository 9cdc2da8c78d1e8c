"""Results as one HTML file that opens offline: tables, curves, the worst pictures with truth and prediction.

Results --tables, matplotlib, visualize--> sections --> report.html (pictures inside, as base64)
"""

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trackertraincode.evaluation.evaluate import Result
from trackertraincode.evaluation.metrics import bootstrap_interval
from trackertraincode.evaluation.pages import LEGEND, sheet, spread, worst
from trackertraincode.evaluation.report import COLUMNS
from trackertraincode.sample.images import encode_jpeg

YAW_EDGES = np.arange(0, 100, 10)
MAX_SHOWN_ERROR = 30.0  # degrees, right end of the cumulative curves
SHOWN = 8  # pictures per sheet

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1d2733; max-width: 1080px; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.7em; margin-bottom: .2em } h2 { font-size: 1.2em; margin: 2em 0 .5em; border-bottom: 2px solid #dde4ec }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .88em }
th, td { padding: .3em .7em; text-align: right; border-bottom: 1px solid #e3e9f0 } th { background: #f1f5f9 }
td:first-child, th:first-child { text-align: left } td.best { font-weight: 700; background: #e9f7ee }
img { max-width: 100%; border-radius: 4px } p.note { color: #5a6876; font-size: .88em }
pre { background: #0f1a26; color: #d8e4ef; padding: 1em; border-radius: 6px; overflow-x: auto; font-size: .85em }
"""


@dataclass(frozen=True)
class Section:
    """A heading and ready HTML."""

    title: str
    body: str


def write_report(path: Path, title: str, sections: Sequence[Section]) -> None:
    """One self-contained file."""
    parts = [f"<section><h2>{html.escape(s.title)}</h2>{s.body}</section>" for s in sections]
    text = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>'
        f"<body><h1>{html.escape(title)}</h1>{''.join(parts)}</body></html>\n"
    )
    path.write_text(text, encoding="utf-8")


def result_sections(results: Sequence[Result]) -> list[Section]:
    """Tables, curves and pictures of one or several models under one or several protocols."""
    sections = [Section("Errors", error_table(results)), Section("Curves", figure_image(_curves(results)))]
    for result in results:
        for name, indices in (("worst", worst(result, SHOWN)), ("typical", spread(result, SHOWN))):
            title = f"{result.model}, {result.protocol}: {name} pictures"
            picture = _image_bytes(encode_jpeg(sheet(result, indices), 88))
            sections.append(Section(title, f'{picture}<p class="note">{LEGEND}</p>'))
    return sections


def error_table(results: Sequence[Result]) -> str:
    """HTML table; of each protocol, the best value of a column is marked. 95 % intervals by bootstrap."""
    rows = [result.row() for result in results]
    numeric = [key for key, (_, digits) in COLUMNS.items() if digits is not None]
    best = {
        (protocol, key): min((r[key] for r in rows if r["protocol"] == protocol and r[key] is not None), default=None)
        for protocol in {r["protocol"] for r in rows}
        for key in numeric
    }
    head = "".join(f"<th>{html.escape(heading)}</th>" for heading, _ in COLUMNS.values())
    lines = []
    for row, result in zip(rows, results):
        cells = []
        for key, (_, digits) in COLUMNS.items():
            if row[key] is None or digits is None:
                cells.append(f"<td>{html.escape('–' if row[key] is None else str(row[key]))}</td>")
                continue
            interval = ""
            if key in ("mae", "geodesic"):
                values = result.geodesic if key == "geodesic" else result.euler.mean(-1)
                low, high = bootstrap_interval(values)
                interval = f" <small>[{low:.2f}, {high:.2f}]</small>"
            several = sum(r["protocol"] == row["protocol"] for r in rows) > 1
            mark = ' class="best"' if several and row[key] == best[row["protocol"], key] else ""
            cells.append(f"<td{mark}>{row[key]:.{digits}f}{interval}</td>")
        lines.append(f"<tr>{''.join(cells)}</tr>")
    notes = [
        f"{r['protocol']}: n = {r['n']}, box: {r['box']}, {r['crop']}, labels: {r['labels']}"
        + (f" — {r['model']}: {', '.join(r['marks'])}" if r["marks"] else "")
        for r in rows
    ]
    text = "<br>".join(html.escape(note) for note in dict.fromkeys(notes))
    return f'<table><tr>{head}</tr>{"".join(lines)}</table><p class="note">{text}<br>[ ]: 95 % confidence.</p>'


def training_section(rows: Sequence[dict[str, float]]) -> Section:
    """Loss and error of each epoch, from the rows of a metrics.csv."""
    plt = pyplot()
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.2), layout="constrained")
    epochs = [row["epoch"] for row in rows]
    for axis, names, title in (
        (axes[0], ("train/loss", "val/loss"), "loss"),
        (axes[1], ("val/geodesic", "val/mae"), "validation error, degrees"),
        (axes[2], ("lr",), "learning rate"),
    ):
        lines = {name: [row[name] for row in rows] for name in names if all(name in row for row in rows)}
        for name, values in lines.items():
            axis.plot(epochs, values, marker=".", label=name)
        positive = all(value > 0 for values in lines.values() for value in values)  # likelihoods can be below 0
        axis.set(title=title, xlabel="epoch", yscale="log" if positive else "linear")
        axis.grid(alpha=0.3)
        axis.legend()
    return Section("Training", figure_image(figure))


def commands_section(commands: Sequence[str]) -> Section:
    """What was typed."""
    return Section("Commands", "<pre>" + html.escape("\n".join(commands)) + "</pre>")


def _curves(results: Sequence[Result]) -> Any:
    plt = pyplot()
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for result in results:
        label = f"{result.model}, {result.protocol}"
        errors = np.sort(result.geodesic.numpy())
        left.plot(errors, np.linspace(0, 100, len(errors)), label=label)
        bins = np.digitize(result.yaw.abs().numpy(), YAW_EDGES) - 1
        means = [
            result.geodesic.numpy()[bins == i].mean() if (bins == i).any() else np.nan for i in range(len(YAW_EDGES))
        ]
        right.plot(YAW_EDGES + 5, means, marker="o", label=label)
    left.set(title="cumulative geodesic error", xlabel="degrees", ylabel="% of pictures", xlim=(0, MAX_SHOWN_ERROR))
    right.set(title="mean geodesic error by |yaw|", xlabel="|yaw|, degrees", ylabel="degrees", ylim=(0, None))
    for axis in (left, right):
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    return figure


def pyplot() -> Any:
    """matplotlib's pyplot, drawing into memory."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    return plt


def figure_image(figure: Any) -> str:
    """HTML image of a matplotlib figure, which is closed."""
    return _image_bytes(figure_png(figure))


def figure_png(figure: Any) -> bytes:
    """PNG file of a matplotlib figure, which is closed."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    pyplot().close(figure)
    return buffer.getvalue()


def _image_bytes(data: bytes) -> str:
    kind = "png" if data.startswith(b"\x89PNG") else "jpeg"
    return f'<img alt="" src="data:image/{kind};base64,{base64.b64encode(data).decode()}">'
