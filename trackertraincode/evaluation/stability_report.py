"""Score cards as a table for terminals and as sections of an HTML report."""

from collections.abc import Callable, Sequence
from typing import Any

from tabulate import tabulate

from trackertraincode.evaluation.html_report import Cell, Section
from trackertraincode.evaluation.plots import figure_png, plot_label, pyplot
from trackertraincode.evaluation.stability import ScoreCard

Line = tuple[str, list[str]]  # what was measured, one text per model


def score_table(cards: Sequence[ScoreCard]) -> str:
    """One line per measure, one column per model, and what the faces are."""
    cells = [[name, *values] for name, values in _lines(cards)]
    headings = ["degrees, smaller is better", *(card.model for card in cards)]
    text = tabulate(cells, headings, disable_numparse=True, colalign=("left", *("right" for _ in cards)))
    return text + "\n\n" + "\n".join(_notes(cards))


def score_sections(cards: Sequence[ScoreCard]) -> list[Section]:
    """The table and the curves."""
    sections = [
        Section(
            title="Score card",
            headings=["degrees", *(card.model for card in cards)],
            rows=[[Cell(text) for text in (name, *values)] for name, values in _lines(cards)],
            notes=_notes(cards),
        ),
        Section(title="Jitter of still faces", image=figure_png(_jitter(cards))),
        Section(title="Sensitivity to the crop", image=figure_png(_sensitivity(cards))),
        Section(title="Pitch while the head turns", image=figure_png(_sweeps(cards))),
    ]
    if any(card.coverage for card in cards):
        sections.append(Section(title="Calibration of the uncertainty", image=figure_png(_coverages(cards))))
    return sections


def _lines(cards: Sequence[ScoreCard]) -> list[Line]:
    """What no model has is left out."""
    first = cards[0]
    lines = [_line(cards, "MAE", lambda c: c.mae), _line(cards, "geodesic error", lambda c: c.geodesic)]
    lines += [_line(cards, f"jitter, noise σ = {s:g}/255", lambda c, s=s: c.noise[s]) for s in first.noise]
    lines += [_line(cards, f"jitter, box ± {p:g} px", lambda c, p=p: c.shift[p]) for p in first.shift]
    lines += [
        _line(cards, f"geodesic, crop × {f:g}", lambda c, f=f: c.crop_factor[f]["geodesic"]) for f in first.crop_factor
    ]
    lines += [
        _line(cards, f"geodesic, box moved {s:.0%}", lambda c, s=s: c.box_move[s]["geodesic"]) for s in first.box_move
    ]
    lines.append(_line(cards, "blink: angle open to shut", lambda c: c.blink["angle"]))
    lines.append(_line(cards, "blink: pitch, shut − open", lambda c: c.blink["pitch"]))
    lines.append(_line(cards, "pitch per degree of yaw", lambda c: c.crosstalk["yaw"], 4))
    lines.append(_line(cards, "pitch per degree of |yaw|", lambda c: c.crosstalk["abs_yaw"], 4))
    for level in next((c.coverage for c in cards if c.coverage), {}):
        name = f"% of errors in the {level:.0%} region"
        lines.append(_line(cards, name, lambda c, level=level: c.coverage and 100 * c.coverage[level], 1))
    lines.append(_line(cards, "negative log likelihood", lambda c: c.nll))
    for threads in next((c.latency for c in cards if c.latency), {}):
        lines.append(_line(cards, f"ms per crop, threads: {threads}", lambda c, t=threads: c.latency and c.latency[t]))
    return [line for line in lines if set(line[1]) != {"–"}]


def _line(cards: Sequence[ScoreCard], name: str, value: Callable[..., float | None], digits: int = 2) -> Line:
    found = [value(card) for card in cards]
    return name, ["–" if number is None else f"{number:.{digits}f}" for number in found]


def _notes(cards: Sequence[ScoreCard]) -> list[str]:
    notes = [f"n = {c.n}, {c.source}, × {c.factor:g} square, {c.preprocess} preprocessing" for c in cards]
    return [*dict.fromkeys(notes), "jitter: RMS angle to the mean rotation of a face; blink and yaw: rendered faces"]


def _jitter(cards: Sequence[ScoreCard]) -> Any:
    figure, (left, right) = pyplot().subplots(1, 2, figsize=(11, 3.6), layout="constrained")
    for card in cards:
        left.plot(list(card.noise), list(card.noise.values()), marker="o", label=plot_label(card.model))
        right.plot(list(card.shift), list(card.shift.values()), marker="o", label=plot_label(card.model))
    left.set_xscale("log", base=2)
    left.set(title="sensor noise", xlabel="σ of 255 grey levels", ylabel="degrees RMS", ylim=(0, None))
    right.set(title="random box shifts", xlabel="± pixels", ylim=(0, None))
    return _finish(figure)


def _sensitivity(cards: Sequence[ScoreCard]) -> Any:
    figure, (left, right) = pyplot().subplots(1, 2, figsize=(11, 3.6), layout="constrained")
    for card in cards:
        for axis, curve in ((left, card.crop_factor), (right, {100 * k: v for k, v in card.box_move.items()})):
            axis.plot(list(curve), [v["geodesic"] for v in curve.values()], marker="o", label=plot_label(card.model))
    left.set(title="size of the crop", xlabel="crop edge / box side", ylabel="geodesic error, degrees", ylim=(0, None))
    right.set(title="box moved", xlabel="% of its side", ylim=(0, None))
    return _finish(figure)


def _sweeps(cards: Sequence[ScoreCard]) -> Any:
    figure, axis = pyplot().subplots(figsize=(7, 3.6), layout="constrained")
    for card in cards:
        axis.plot(list(card.pitch_by_yaw), list(card.pitch_by_yaw.values()), marker="o", label=plot_label(card.model))
    axis.set(title="rendered heads that only turn", xlabel="yaw, degrees", ylabel="mean predicted pitch, degrees")
    axis.axhline(0, color="#5a6876", linewidth=0.8)
    return _finish(figure)


def _coverages(cards: Sequence[ScoreCard]) -> Any:
    figure, axis = pyplot().subplots(figsize=(4.5, 4), layout="constrained")
    axis.plot([0, 100], [0, 100], color="#5a6876", linewidth=0.8)
    for card in cards:
        if card.coverage:
            levels = [100 * level for level in card.coverage]
            axis.plot(levels, [100 * v for v in card.coverage.values()], marker="o", label=plot_label(card.model))
    axis.set(xlabel="predicted region, %", ylabel="% of errors inside", xlim=(0, 100), ylim=(0, 100))
    return _finish(figure)


def _finish(figure: Any) -> Any:
    for axis in figure.axes:
        axis.grid(alpha=0.3)
    figure.axes[0].legend(fontsize=8)
    return figure
