"""Rows of a sample file for work on many at once: what can't be read of one doesn't stop the others.

rows --read_rows--> per row the sample, or the error that says why there is none
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.errors import ArchiveError, SampleFormatError
from trackertraincode.sample.images import ImageDecodeError, check_image, image_size
from trackertraincode.sample.places import unusable
from trackertraincode.sample.sample import MEASURES, Sample

ITEMS_PER_TASK = 64


def read_rows(path: Path, rows: Sequence[int]) -> list[Sample | ArchiveError]:
    """Samples with whole images, points and heads in float64. The file is closed again, so that it can be replaced."""
    with Hdf5PoseDataset(path, labels=()) as dataset:
        try:
            found: list[Sample | ArchiveError] = list(dataset.stream(rows, exact=True))
        except SampleFormatError:
            found = [_read_one(dataset, row) for row in rows]
    return [_checked(sample, path) if isinstance(sample, Sample) else sample for sample in found]


def with_boxes(path: Path, rows: Sequence[int]) -> list[Sample | ArchiveError]:
    """As `read_rows`, of faces that models can look at."""
    return [with_box(path, item) for item in read_rows(path, rows)]


def with_box(path: Path, item: Sample | ArchiveError) -> Sample | ArchiveError:
    """The same, or why models can't look at it."""
    if isinstance(item, ArchiveError):
        return item
    box = item.face_box
    if is_faceless(item):
        return ArchiveError(f"{path}: {item.name}: shows no face, by its own label.")
    if box is None or not np.isfinite(box).all():
        return ArchiveError(f"{path}: {item.name}: no face box, in which models would look.")
    wrong = why_not_there(box, item)
    return ArchiveError(f"{path}: {item.name}: the face box {wrong}.") if wrong else item


def why_not_there(box: np.ndarray, sample: Sample) -> str:
    """What is wrong with a box (4,) in the sample's image; empty where nothing is."""
    assert isinstance(sample.image, bytes)  # as all stored ones
    return unusable(box, image_size(sample.image))


def is_faceless(sample: Sample) -> bool:
    """Whether its own label says that it shows no face."""
    return sample.has_face is not None and not sample.has_face


def without_measures(labels: Iterable[str]) -> dict[str, Any]:
    """What `dataclasses.replace` takes where a sample gets these labels: nothing is left that was said of older ones."""
    old: dict[str, Any] = {name: None for name in MEASURES for label in labels if name.startswith(f"{label}_")}
    posed = {"rotation", "head", "landmarks"} & {*labels}
    return old | ({"fit_residual": None} if posed else {}) | ({"stored_angles": None} if "rotation" in posed else {})


def _read_one(dataset: Hdf5PoseDataset, row: int) -> Sample | ArchiveError:
    try:
        return next(dataset.stream([row], exact=True))
    except SampleFormatError as error:
        return ArchiveError(str(error))


def _checked(sample: Sample, path: Path) -> Sample | ArchiveError:
    assert isinstance(sample.image, bytes)  # as all stored ones
    try:
        check_image(sample.image)
    except ImageDecodeError as error:
        return ArchiveError(f"{path}: {sample.name}: image of {error}.")
    return sample
