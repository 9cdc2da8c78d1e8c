"""What worker processes do for a converter: items -> samples, checked, in a part of the journal.

Task(items, convert) --run--> NNNNNN-….part, Report
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trackertraincode.conversion.journal import Outcome, Skip, load_part, save_part
from trackertraincode.datasets.sample_file import LARGEST_INDEX
from trackertraincode.errors import ArchiveError, SampleFormatError
from trackertraincode.sample.fields import Kind
from trackertraincode.sample.images import ImageDecodeError, Size, image_size
from trackertraincode.sample.orientation import orientation
from trackertraincode.sample.places import unusable
from trackertraincode.sample.sample import BATCH_LABELS, LABELS, Sample

LARGEST = 1e6  # of a label: pixels of an edge, and more than enough for what isn't counted in pixels
CHECKED = [name for name in BATCH_LABELS if LABELS[name].kind is not Kind.FLAG]


@dataclass(frozen=True)
class Report:
    """What a task says of its part."""

    part: Path
    skips: list[Skip]
    tagged: list[str]  # names of images that aren't stored upright
    groups: list[tuple[str | None, int | None]]  # sequence and person of each sample


@dataclass(frozen=True)
class Task:
    """Some items for one worker, and the journal's part for what they give."""

    convert: Callable[[Any], list[Sample]]
    items: Sequence[Any]
    part: Path
    prepare: Callable[[Sequence[Any]], Sequence[Any]] = list

    def run(self) -> Report:
        """Convert the items and write the part, unless an earlier run did."""
        outcome = load_part(self.part)
        if outcome is None:
            outcome = self._convert()
            save_part(self.part, outcome)
        return Report(
            self.part,
            outcome.skips,
            [sample.name for sample in outcome.samples if orientation(sample.image) != 1],
            [(sample.sequence, sample.individual) for sample in outcome.samples],
        )

    def _convert(self) -> Outcome:
        outcome = Outcome([], [])
        for item, prepared in zip(self.items, self.prepare(self.items), strict=True):
            try:
                samples = self.convert(prepared)
                for sample in samples:
                    check_labels(sample)
                outcome.samples.extend(samples)
            except (ArchiveError, ImageDecodeError, SampleFormatError) as error:
                outcome.skips.append(Skip(str(item), str(error)))
        return outcome


def check_labels(sample: Sample) -> None:
    """Raise ArchiveError for labels that can't be: not finite, far too large, no size, a box whose edges are swapped.

    So are numbers of persons that the file can't hold, and face boxes that `ttc check` would find in no place.

    A negative head size stays: AFLW2000-3D has one, and rows are counted; evaluation leaves it out.
    """
    for attribute in CHECKED:
        value = getattr(sample, attribute)
        if value is not None and not np.isfinite(value[..., :2] if attribute == "landmarks" else value).all():
            raise ArchiveError(f"{sample.name}: {attribute} holds NaN or infinite numbers.")
        if value is not None and (np.abs(value) > LARGEST).any():
            largest = np.nanmax(np.abs(value))
            raise ArchiveError(f"{sample.name}: {attribute} holds {largest:.3g}; no image has so many pixels.")
    if sample.individual is not None and not 0 <= sample.individual <= LARGEST_INDEX:
        raise ArchiveError(f"{sample.name}: person {sample.individual}; numbers of persons are 0 to {LARGEST_INDEX}.")
    if sample.head is not None and sample.head[2] == 0:
        raise ArchiveError(f"{sample.name}: head size is 0.")
    if sample.face_box is not None:
        x0, y0, x1, y1 = sample.face_box
        if not (x1 > x0 and y1 > y0):
            raise ArchiveError(f"{sample.name}: face box {[float(v) for v in sample.face_box]} is empty.")
        image = sample.image
        size = image_size(image) if isinstance(image, bytes) else Size(image.shape[1], image.shape[0])
        if wrong := unusable(sample.face_box, size):
            raise ArchiveError(f"{sample.name}: face box {[round(float(v), 1) for v in sample.face_box]} {wrong}.")
