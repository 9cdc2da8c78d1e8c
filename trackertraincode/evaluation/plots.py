"""Plots with matplotlib, which draws into memory, and the curves of training runs."""

import io
import warnings
from collections.abc import Mapping, Sequence
from typing import Any


def pyplot() -> Any:
    """matplotlib's pyplot, drawing into memory; letters that its font lacks are boxes, without a word."""
    import matplotlib

    warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from")
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    return plt


def plot_label(text: str) -> str:
    """Text that matplotlib draws as it stands, dollar signs included; what of a file's name is no letter as an escape."""
    return text.replace("$", r"\$").encode(errors="backslashreplace").decode()


def figure_png(figure: Any) -> bytes:
    """PNG file of a matplotlib figure, which is closed."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    pyplot().close(figure)
    return buffer.getvalue()


def draw_epochs(axis: Any, title: str, rows: Sequence[Mapping[str, float]], columns: Mapping[str, str]) -> None:
    """Curves over epochs. rows: of a metrics.csv, of which some may lack columns; columns: label -> column."""
    for label, name in columns.items():
        points = [(row["epoch"], row[name]) for row in rows if name in row]
        if points:
            axis.plot(*zip(*points), label=label, marker="." if len(points) < 100 else None)
    axis.set(title=title, xlabel="epoch")
    use_log_scale(axis, [row[name] for row in rows for name in columns.values() if name in row])
    axis.grid(alpha=0.3)
    if len(axis.lines) > 1:
        axis.legend()


ALIKE = 1.0 + 1e-6  # ratio of values that no logarithmic axis can tell apart


def use_log_scale(axis: Any, values: Sequence[float]) -> None:
    """Of y, with numbers as people write them; linear where one isn't above 0, as likelihoods can be, or all are alike."""
    from matplotlib.ticker import LogFormatter

    if not values or min(values) <= 0 or max(values) < ALIKE * min(values):
        return
    axis.set_yscale("log")
    axis.yaxis.set_major_formatter(LogFormatter())
    axis.yaxis.set_minor_formatter(LogFormatter())
