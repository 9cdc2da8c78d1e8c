"""Sample files whose landmarks become poses, heads and shapes.

rows --read_rows--> samples, by the kind of their landmarks --LandmarkFitter--> Fit --> samples with all labels
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trackertraincode.conversion.faces import box_around, check_on_face
from trackertraincode.conversion.run import Source
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.datasets.selection import optional_labels
from trackertraincode.errors import ArchiveError, SampleFormatError
from trackertraincode.facemodel.landmarks68 import centered_depth, has_depth
from trackertraincode.facemodel.load import load_head_model
from trackertraincode.fitting.solver import Fit, LandmarkFitter
from trackertraincode.geometry.boxes import CROP_FACTOR
from trackertraincode.geometry.camera import HEAD_RADIUS_MM, project_weak_perspective
from trackertraincode.geometry.rotation import quat_to_matrix
from trackertraincode.labelling.answers import answers, models_of
from trackertraincode.labelling.rows import ITEMS_PER_TASK, read_rows, why_not_there, without_measures
from trackertraincode.sample.sample import Sample

LARGEST_RESIDUAL = 25.0  # mm; landmarks farther from any head are none of a face
SMALLEST_FACE = 4.0  # pixels that landmarks must be apart
FROM_BEHIND = -0.2  # cosine of the angle to the camera at which nobody sees 68 landmarks (101 degrees)
GIVEN = ("rotation", "head", "landmarks", "shape", "fit_residual")  # labels that every row gets

Points = dict[str, Callable[[Sample], np.ndarray | None]]


def _in_space(sample: Sample) -> np.ndarray | None:
    """(68, 3) landmarks whose depth is known."""
    points = sample.landmarks
    return points if points is not None and np.isfinite(points).all() and has_depth(points) else None


def _in_image(sample: Sample) -> np.ndarray | None:
    """(68, 2)."""
    if sample.landmarks_2d is not None:
        return sample.landmarks_2d
    return None if sample.landmarks is None else sample.landmarks[:, :2]


def _any(sample: Sample) -> np.ndarray | None:
    points = _in_space(sample)
    return _in_image(sample) if points is None else points


LANDMARKS: Points = {"auto": _any, "3d": _in_space, "2d": _in_image}  # of --landmarks
CONTOURS = {"auto": (False, True), "fixed": (False,), "sliding": (True,)}  # of --contour -> what is tried


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """What the command line says."""

    face_model: Path | None = None
    landmarks: str = "auto"  # key of LANDMARKS
    contour: str = "auto"  # key of CONTOURS; of landmarks without depth
    start: Path | None = None  # model whose answers are a second start


@dataclass(frozen=True)
class Fitted:
    """One row and what was fitted to it."""

    sample: Sample
    points: np.ndarray  # (68, 2 or 3) that it was fitted to
    rotation: np.ndarray  # (4,)
    head: np.ndarray  # (3,)
    shape: np.ndarray  # (50,)
    key_points: np.ndarray  # (68, 3) pixels, of the head
    residual: float  # mm


def make_source(path: Path, options: FitOptions) -> Source:
    """All rows of a file. Raises SampleFormatError, ModelFileError."""
    with Hdf5PoseDataset(path, labels=()) as dataset:
        if not {"landmarks", "landmarks_2d"} & set(dataset.fields):
            raise SampleFormatError(
                f"{path}: no landmarks ('pt3d_68' or 'pt2d_68'), to which heads are fitted; make labels with "
                "`ttc pseudolabels` instead."
            )
        optional = tuple(a for a in optional_labels(dataset) if a not in GIVEN)
        if "landmarks_2d" not in optional:
            optional += ("landmarks_2d",)
        count = len(dataset)
    if options.start is not None:
        models_of((options.start,))
    return Source(
        items=range(count),
        prepare=partial(fit_rows, path, options),
        convert=partial(finish, path),
        items_per_task=ITEMS_PER_TASK,
        face_model=_fitter(options.face_model).model.name,
        optional=optional,
    )


def fit_rows(path: Path, options: FitOptions, rows: Sequence[int]) -> list[Fitted | ArchiveError]:
    """What `finish` takes, per row."""
    found: list[Any] = [_usable(path, item, options.landmarks) for item in read_rows(path, rows)]
    for dims in (2, 3):
        places = [i for i, item in enumerate(found) if isinstance(item, tuple) and item[1].shape[1] == dims]
        if places:
            pairs = [found[i] for i in places]
            for place, fitted in zip(places, _fit(pairs, options)):
                found[place] = fitted
    return found


def _usable(path: Path, item: Sample | ArchiveError, kind: str) -> tuple[Sample, np.ndarray] | ArchiveError:
    """A sample and its landmarks (68, 2 or 3), or why there are none."""
    if isinstance(item, ArchiveError):
        return item
    where = f"{path}: {item.name}"
    points = LANDMARKS[kind](item)
    if points is None or np.isnan(points).all():
        return ArchiveError(f"{where}: no landmarks.")
    if not np.isfinite(points).all():
        return ArchiveError(f"{where}: landmarks hold NaN or infinite numbers.")
    if np.ptp(points[:, :2], axis=0).max() < SMALLEST_FACE:
        return ArchiveError(f"{where}: landmarks all within {SMALLEST_FACE:g} pixels.")
    try:
        if item.face_box is not None:
            check_on_face(points[:, :2], item.face_box, where)
    except ArchiveError as error:
        return error
    if wrong := why_not_there(box_around(points), item):
        return ArchiveError(f"{where}: the box around the landmarks {wrong}.")
    return item, points


def _fit(pairs: Sequence[tuple[Sample, np.ndarray]], options: FitOptions) -> list[Fitted]:
    """Samples with landmarks of one kind."""
    fitter = _fitter(options.face_model)
    landmarks = torch.from_numpy(np.stack([points for _, points in pairs]).astype(np.float64))
    starts = [None] if options.start is None else [None, _answered(pairs, options.start)]
    contours = CONTOURS[options.contour] if landmarks.shape[-1] == 2 else (False,)
    fits = [fitter.fit(landmarks, sliding=sliding, start=start) for sliding in contours for start in starts]
    best = fits[0]
    for fit in fits[1:]:
        best = best.better(fit)
    local = torch.from_numpy(fitter.model.keypoints68(best.shape.numpy())).double()
    key_points = project_weak_perspective(local, best.rotation, best.head).numpy()
    return [_row(pair, best, key_points, i) for i, pair in enumerate(pairs)]


def _row(pair: tuple[Sample, np.ndarray], fit: Fit, key_points: np.ndarray, i: int) -> Fitted:
    rotation, head, shape = (value[i].numpy() for value in (fit.rotation, fit.head, fit.shape))
    return Fitted(*pair, rotation, head, shape, key_points[i], HEAD_RADIUS_MM * float(fit.residual[i]))


def _answered(pairs: Sequence[tuple[Sample, np.ndarray]], model: Path) -> Tensor:
    """(B, 4) rotations that a model sees."""
    boxes = [box_around(points) for _, points in pairs]  # which is checked
    images = [s.image for s, _ in pairs if isinstance(s.image, bytes)]
    return answers(models_of((model,)), images, torch.from_numpy(np.stack(boxes)).float(), CROP_FACTOR)[0].rotation


@cache
def _fitter(face_model: Path | None) -> LandmarkFitter:
    return LandmarkFitter(load_head_model(face_model))


def finish(path: Path, item: Fitted | ArchiveError) -> list[Sample]:
    """The sample with its new labels. Raises ArchiveError, which begins with file and row, where it can't have them."""
    if isinstance(item, ArchiveError):
        raise item
    sample, points = item.sample, item.points
    where = f"{path}: {sample.name}"
    if not np.isfinite(item.residual) or item.residual > LARGEST_RESIDUAL:
        raise ArchiveError(
            f"{where}: landmarks on average {item.residual:.0f} mm from the head that fits best, more than "
            f"{LARGEST_RESIDUAL:g}: they are in another order, or of no face."
        )
    if points.shape[1] == 2 and float(quat_to_matrix(torch.from_numpy(item.rotation))[2, 2]) < FROM_BEHIND:
        raise ArchiveError(f"{where}: landmarks fit a head seen from behind: left and right are swapped.")
    landmarks, annotated = sample.landmarks, sample.landmarks_2d
    replaced = ["rotation", "head"]
    if points.shape[1] == 2:
        replaced.append("landmarks")
        landmarks = centered_depth(item.key_points)
        annotated = points if annotated is None else annotated  # in place of those of the sample without a depth
    return [
        replace(
            replace(sample, **without_measures(replaced)),
            rotation=item.rotation.astype(np.float32),
            head=item.head,
            shape=item.shape.astype(np.float32),
            landmarks=landmarks,
            landmarks_2d=annotated,
            face_box=box_around(points) if sample.face_box is None else sample.face_box,
            fit_residual=item.residual,
        )
    ]
