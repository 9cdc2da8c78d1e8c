"""Several runs side by side: error against epoch, size and latency.

    run folders --read_run--> RunSummary --draw_comparison--> compare.png, and compare-FAMILY.png where there are several

A run folder is what `training.run` writes: config.toml names the backbone, metrics.csv holds the errors, environment.json
says of which rows they are, .ckpt and .onnx hold the network. A run that was stopped early, or made without ONNX files, is
compared by what it has.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from trackertraincode.errors import ConfigError
from trackertraincode.evaluation.plots import plot_label, pyplot, use_log_scale
from trackertraincode.evaluation.report import write_json
from trackertraincode.files import resolved, whole_file
from trackertraincode.models.checkpoint import load_network
from trackertraincode.models.onnx_model import latencies
from trackertraincode.training.callbacks.records import read_metrics
from trackertraincode.training.options import read_toml
from trackertraincode.training.outdir import CONFIG_FILE, ENVIRONMENT_FILE, METRICS_FILE

WEIGHTS = ("last", "best", "swa", "ema")  # of one network, so that the first that is there tells size and latency
REPEATS = 100  # passes for the median of latency
ERRORS = {"geodesic": "geodesic error, degrees", "mae": "Euler MAE, degrees", "loss": "validation loss"}
FAMILIES = ("efficientnet_lite", "hybrid_vit")  # whose names have more than one word


@dataclass(frozen=True)
class RunSummary:
    """What is compared of one run; None where the folder doesn't tell."""

    name: str
    family: str  # of the backbone
    backbone: str
    input_size: int  # edge of the crops, pixels
    epochs: tuple[int, ...]  # that have an error
    errors: tuple[float, ...]  # of those epochs, on the validation samples
    validated_on: dict[str, int] | None  # data set -> number of its rows: errors of others can't be compared
    parameters: int | None  # of the network as it is trained
    megabytes: float | None  # of the .onnx file; 1 MB is 10^6 bytes
    latency: float | None  # milliseconds of the .onnx file on one thread, median

    @property
    def best(self) -> float:
        """The lowest error of all epochs."""
        return min(self.errors)


def read_run(folder: Path, *, error: str = "geodesic", repeats: int = REPEATS) -> RunSummary:
    """error: key of ERRORS. Raises ConfigError without a run or such an error, ModelFileError for damaged files."""
    for name in (CONFIG_FILE, METRICS_FILE):
        if not (folder / name).is_file():
            raise ConfigError(
                f"{folder / name}: no such file, so {folder} isn't a run with a finished epoch; give the --outdir of "
                "`ttc train`."
            )
    options = read_toml(folder / CONFIG_FILE)
    column = f"val/{error}"
    try:
        points = [(int(row["epoch"]), row[column]) for row in read_metrics(folder / METRICS_FILE) if column in row]
    except (ValueError, KeyError, TypeError) as problem:
        raise ConfigError(f"{folder / METRICS_FILE}: not a table of epochs ({problem}); train again.") from problem
    points = [(epoch, value) for epoch, value in points if np.isfinite(value)]
    if not points:
        raise ConfigError(
            f"{folder / METRICS_FILE}: has no values in column {column}; compare runs with validation samples, or choose "
            f"another --error ({', '.join(ERRORS)})."
        )
    backbone = str(options.get("backbone", "unknown"))
    checkpoint, onnx = _first(folder, ".ckpt"), _first(folder, ".onnx")
    epochs, errors = zip(*points)
    return RunSummary(
        name=resolved(folder).name,
        family=family_of(backbone),
        backbone=backbone,
        input_size=int(options.get("input_size", 0)),
        epochs=epochs,
        errors=errors,
        validated_on=_validated_on(folder / ENVIRONMENT_FILE),
        parameters=None if checkpoint is None else _parameters(checkpoint),
        megabytes=None if onnx is None else onnx.stat().st_size / 1e6,
        latency=None if onnx is None else latencies([onnx], 1, repeats)[0],
    )


def read_runs(folders: Sequence[Path], *, error: str = "geodesic") -> list[RunSummary]:
    """All runs; those that share a folder name get their parents' too, as far as that tells them apart."""
    runs = [read_run(folder, error=error) for folder in folders]
    places = [resolved(folder).parts for folder in folders]
    deepest = max(len(parts) for parts in places) if places else 0
    for depth in range(2, deepest + 1):
        names = [run.name for run in runs]
        runs = [
            run if names.count(run.name) == 1 else replace(run, name="/".join(parts[-depth:]))
            for run, parts in zip(runs, places)
        ]
    return runs


def family_of(backbone: str) -> str:
    """resnet18 -> resnet, repvgg_a0 -> repvgg, timm:mobilenetv3_small_100 -> mobilenet."""
    name = backbone.removeprefix("timm:").lower()
    for family in FAMILIES:
        if name.startswith(family):
            return family
    found = re.match(r"[a-z]+?(?=v?\d|[^a-z]|$)", name)
    return found[0] if found else name


def format_runs(runs: Sequence[RunSummary], error: str = "geodesic") -> str:
    """A line per run, the best first, and a warning where errors are of different rows."""
    ordered = sorted(runs, key=lambda run: run.best)
    rows = [
        [r.name, r.backbone, r.input_size, r.epochs[-1], f"{r.errors[-1]:.3f}", f"{r.best:.3f}", _rows(r.validated_on),
         _cell(r.parameters, 1e-6, 3), _cell(r.megabytes, 1, 2), _cell(r.latency, 1, 2)]
        for r in ordered
    ]  # fmt: skip
    headings = [
        "run", "backbone", "input", "epochs", f"last {error}", f"best {error}", "validated on", "parameters, M", "MB", "ms",
    ]  # fmt: skip
    table = tabulate(rows, headings, disable_numparse=True, stralign="right")
    known = [run.validated_on for run in runs if run.validated_on is not None]
    return table if known[1:] == known[:-1] else f"{table}\nErrors on different rows can't be compared."


def write_comparison(runs: Sequence[RunSummary], path: Path) -> None:
    """All numbers as JSON, a list of runs."""
    write_json([asdict(run) | {"best": run.best} for run in runs], path)


def draw_families(runs: Sequence[RunSummary], path: Path, error: str = "geodesic") -> list[Path]:
    """One image of all runs, and where they are of several backbone families, one more per family. Returns the files."""
    draw_comparison(runs, path, error)
    families = sorted({run.family for run in runs})
    if len(families) == 1:
        return [path]
    files = [path]
    for family in families:
        files.append(path.with_name(f"{path.stem}-{family}{path.suffix}"))
        draw_comparison([run for run in runs if run.family == family], files[-1], error)
    return files


def draw_comparison(runs: Sequence[RunSummary], path: Path, error: str) -> None:
    """Four panels in a row: the best error against epochs, and against parameters, file size and latency.

    Raises ConfigError when the ending of `path` is none that matplotlib writes.
    """
    plt = pyplot()
    from matplotlib import ticker

    figure, axes = plt.subplots(1, 4, figsize=(16, 4.4), layout="constrained")
    panels = (("parameters", 1e-6, "parameters, million"), ("megabytes", 1.0, "size of the .onnx, MB"),
              ("latency", 1.0, "latency on one thread, ms"))  # fmt: skip
    colors = plt.get_cmap("tab10" if len(runs) <= 10 else "tab20").colors  # type: ignore[attr-defined]
    for i, run in enumerate(runs):
        style: dict[str, Any] = {"color": colors[i % len(colors)]}
        few = len(run.epochs) < 20
        label = plot_label(f"{run.name} ({run.backbone}, {run.input_size} px)")
        axes[0].plot(run.epochs, run.errors, marker="." if few else None, label=label, **style)
        for axis, (key, factor, _) in zip(axes[1:], panels):
            value = getattr(run, key)
            if value is not None:
                axis.plot(value * factor, run.best, marker="o", markersize=8, linestyle="none", **style)
                axis.annotate(
                    plot_label(run.name), (value * factor, run.best), (6, 5), textcoords="offset points", fontsize=8
                )
    axes[0].set(xlabel="epoch", ylabel=ERRORS[error])
    axes[0].xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
    use_log_scale(axes[0], [error for run in runs for error in run.errors])
    for axis, (key, _, label) in zip(axes[1:], panels):
        axis.set(xlabel=label, ylabel=f"best {ERRORS[error]}")
        axis.margins(0.25)
        if all(getattr(run, key) is None for run in runs):
            axis.text(0.5, 0.5, "no run has this file", ha="center", transform=axis.transAxes)
    for axis in axes:
        axis.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=3, fontsize=9)
    try:
        with whole_file(path) as temporary:
            figure.savefig(temporary, dpi=110)
    except ValueError as problem:
        raise ConfigError(f"{path}: {problem}; end the name of --output with .png, .pdf or .svg.") from problem
    finally:
        plt.close(figure)


def _first(folder: Path, ending: str) -> Path | None:
    return next((path for name in WEIGHTS if (path := folder / (name + ending)).is_file()), None)


def _parameters(path: Path) -> int:
    return sum(parameter.numel() for parameter in load_network(path)[0].parameters())


def _validated_on(path: Path) -> dict[str, int] | None:
    """Of an environment.json; None where it doesn't tell."""
    try:
        told = json.loads(path.read_bytes())["validated_on"]
        return {str(name): int(count) for name, count in told.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def _rows(validated_on: dict[str, int] | None) -> str:
    return "–" if validated_on is None else ", ".join(f"{name} {count}" for name, count in validated_on.items())


def _cell(value: float | None, factor: float, digits: int) -> str:
    return "–" if value is None else f"{value * factor:.{digits}f}"
