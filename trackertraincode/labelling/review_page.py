"""A review as one HTML page: what disagrees how much, and the worst rows, labels and models side by side.

Review --tables, pairs of images--> sections --write_report--> page
"""

import shlex
from collections.abc import Sequence

import numpy as np

from trackertraincode.evaluation.html_report import Cell, Section
from trackertraincode.labelling.review import DISAGREEMENTS, DRAWN, Compared, Review
from trackertraincode.labelling.rows import read_rows
from trackertraincode.sample.images import decode, encode_jpeg
from trackertraincode.sample.sample import Sample
from trackertraincode.visualize import contact_sheet, cut_out, draw_sample, draw_text

EDGE, FACTOR = 256, 1.5  # of each image: pixels, and its edge / longer box side
PAIRS = 10  # per sheet


def review_sections(review: Review) -> list[Section]:
    """From top to bottom."""
    rows = ",".join(str(c.row) for c in review.ranked)
    listed = Section(
        title="Row numbers",
        code=f"ttc filter {shlex.quote(review.path.name)} rest.h5 --exclude --rows {rows}",
        notes=["Where labels and models disagree, either may be wrong: look before you leave a row out."],
    )
    sheets = [
        _sheet(review, review.ranked[start : start + PAIRS], start) for start in range(0, len(review.ranked), PAIRS)
    ]
    return [_summary(review), _table(review), *sheets, listed]


def _summary(review: Review) -> Section:
    rows = []
    for name, disagreement in DISAGREEMENTS.items():
        values = np.array([c.values[name] for c in review.compared])
        known = values[np.isfinite(values)]
        if len(known):
            middle, upper, most = np.percentile(known, (50, 95, 100))
            rows.append([Cell(disagreement.heading), Cell(str(len(known))), *map(_cell, (middle, upper, most))])
    notes = [f"Labels of {review.path.name} and the mean of {', '.join(review.models)}; a head radius has 100 mm."]
    if review.skipped:
        notes.append(f"{len(review.skipped)} rows can't be compared, such as {review.skipped[0]}")
    headings = ["", "rows", "median", "95 %", "most"]
    return Section(title="Disagreement", headings=headings, rows=rows, notes=notes)


def _table(review: Review) -> Section:
    rows = [
        [Cell(str(rank)), Cell(str(c.row)), *(_cell(c.values[name]) for name in DISAGREEMENTS)]
        for rank, c in enumerate(review.ranked, 1)
    ]
    return Section(title="Worst rows", headings=["", "row", *(d.heading for d in DISAGREEMENTS.values())], rows=rows)


def _cell(value: float) -> Cell:
    return Cell("–" if np.isnan(value) else f"{value:.1f}")


def _sheet(review: Review, part: Sequence[Compared], before: int) -> Section:
    samples = read_rows(review.path, [c.row for c in part])
    pairs = [draw_pair(s, c) for s, c in zip(samples, part) if isinstance(s, Sample)]
    return Section(
        title=f"Rank {before + 1} to {before + len(part)}",
        image=encode_jpeg(contact_sheet(pairs, 2, gap=12), 85),
        notes=["Left: labels. Right: models. Axes: x red, y green, z, which points out of the back of the head, blue."],
    )


def draw_pair(sample: Sample, compared: Compared) -> np.ndarray:
    """(EDGE, 2 EDGE, 3): labels, what models say."""
    assert isinstance(sample.image, bytes)  # as all stored ones
    image = decode(sample.image, color=True)
    labels = {name: getattr(sample, name) for name in (*DRAWN, "landmarks_2d")}
    known = [f"{compared.values[n]:.1f} {unit}" for n, unit in (("rotation", "deg"), ("landmarks", "mm"))
             if np.isfinite(compared.values[n])]  # fmt: skip
    drawn = []
    for values, text in ((labels, f"row {compared.row}"), (compared.said, ", ".join(known))):
        part, inside = cut_out(image, {**values, "face_box": sample.face_box}, EDGE, FACTOR)
        del inside["face_box"]
        drawn.append(draw_text(draw_sample(part, inside), [text], 0.5))
    return np.concatenate(drawn, axis=1)
