"""How much the labels of a file and models disagree, row by row, worst first.

rows --with_boxes--> samples --answers, of every model--> consensus --DISAGREEMENTS--> Compared --ranked--> worst rows
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.errors import ArchiveError, EvaluationError
from trackertraincode.evaluation.metrics import geodesic_errors
from trackertraincode.evaluation.predictor import load_predictor
from trackertraincode.facemodel.landmarks68 import JAW
from trackertraincode.geometry.boxes import CROP_FACTOR
from trackertraincode.geometry.camera import HEAD_RADIUS_MM
from trackertraincode.labelling.answers import answers, check_different, models_of
from trackertraincode.labelling.consensus import Consensus, consensus
from trackertraincode.labelling.rows import ITEMS_PER_TASK, with_boxes
from trackertraincode.sample.sample import Sample
from trackertraincode.workers import Workers, map_in_order

DRAWN = ("rotation", "head", "landmarks")


def _labels(samples: Sequence[Sample], name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """(B, ...) float64, NaN where a sample lacks it."""
    absent = np.full(shape, np.nan)
    return torch.from_numpy(
        np.stack([absent if getattr(s, name) is None else getattr(s, name) for s in samples]).astype(np.float64)
    )


def rotation_angle(samples: Sequence[Sample], said: Consensus) -> torch.Tensor:
    """(B,) degrees between the rotations."""
    labels = _labels(samples, "rotation", (4,))
    return torch.where(labels.isnan().any(-1), torch.nan, geodesic_errors(said.mean.rotation.double(), labels))


def landmark_distance(samples: Sequence[Sample], said: Consensus) -> torch.Tensor:
    """(B,) mean distance in the image, mm; annotated landmarks of the image without the jaw, which slides on its outline."""
    if said.mean.landmarks is None:
        return torch.full((len(samples),), torch.nan, dtype=torch.float64)
    models, unit = said.mean.landmarks[..., :2].double(), HEAD_RADIUS_MM / said.mean.head[:, 2].double()
    fixed = (models - _labels(samples, "landmarks", (68, 3))[..., :2]).norm(dim=-1).mean(-1)
    annotated = (models - _labels(samples, "landmarks_2d", (68, 2))).norm(dim=-1)[:, len(JAW) :].mean(-1)
    return unit * torch.where(fixed.isnan(), annotated, fixed)


def head_distance(samples: Sequence[Sample], said: Consensus) -> torch.Tensor:
    """(B,) length of the difference of x, y and radius, mm."""
    unit = HEAD_RADIUS_MM / said.mean.head[:, 2].double()
    return unit * (said.mean.head.double() - _labels(samples, "head", (3,))).norm(dim=-1)


def surprise(samples: Sequence[Sample], said: Consensus) -> torch.Tensor:
    """(B,) angle between the rotations, in what the models expect of themselves and differ by."""
    expected = [v.square() for n in ("uncertainty", "spread") if (v := said.measures.get(f"rotation_{n}")) is not None]
    if not expected:
        return torch.full((len(samples),), torch.nan, dtype=torch.float64)
    return rotation_angle(samples, said) / torch.stack(expected).sum(0).sqrt()


@dataclass(frozen=True)
class Disagreement:
    """One way in which labels and models can disagree."""

    heading: str  # with its unit, for tables
    of: Callable[[Sequence[Sample], Consensus], torch.Tensor]


DISAGREEMENTS = {
    "rotation": Disagreement("rotation, °", rotation_angle),
    "landmarks": Disagreement("landmarks, mm", landmark_distance),
    "head": Disagreement("head, mm", head_distance),
    "surprise": Disagreement("rotation / expected", surprise),
}
ORDERS = ("worst", *DISAGREEMENTS)  # "worst": the largest of all, each divided by its median over the file


@dataclass(frozen=True, kw_only=True)
class ReviewOptions:
    """What the command line says."""

    models: tuple[Path, ...]
    device: str = "cpu"
    factor: float = CROP_FACTOR
    order: str = "worst"  # one of ORDERS
    count: int = 50  # of rows that are shown


@dataclass(frozen=True)
class Compared:
    """One row."""

    row: int
    values: dict[str, float]  # of DISAGREEMENTS; NaN where labels or models lack it
    said: dict[str, Any]  # attribute -> the models' mean, pixels


@dataclass(frozen=True)
class Review:
    """Of a file."""

    path: Path
    models: tuple[str, ...]  # names
    compared: list[Compared]  # in the order of rows
    skipped: list[str]  # reasons
    ranked: list[Compared]  # the first rows of the order


def review(path: Path, options: ReviewOptions, workers: Workers) -> Review:
    """Raises SampleFormatError, ModelFileError, UserError for a model given twice, EvaluationError for nothing to compare."""
    check_different(options.models)
    names = tuple(load_predictor(model, options.device).name for model in options.models)
    with Hdf5PoseDataset(path, labels=()) as dataset:
        count = len(dataset)
        if not {*DRAWN, "landmarks_2d"} & set(dataset.fields):
            raise EvaluationError(f"{path}: has no labels to compare: neither pose nor landmarks.")
    tasks = [range(start, min(start + ITEMS_PER_TASK, count)) for start in range(0, count, ITEMS_PER_TASK)]
    found: list[Compared | str] = []
    with tqdm(total=count, unit=" rows", desc=path.name) as bar:
        for part in map_in_order(partial(compare_rows, path, options), tasks, workers):
            found += part
            bar.update(len(part))
    compared = [item for item in found if isinstance(item, Compared)]
    ranked = rank(compared, options.order)
    if not ranked:
        raise EvaluationError(f"{path}: no row has labels that the models give too, in the order {options.order}.")
    skipped = [item for item in found if isinstance(item, str)]
    return Review(path, names, compared, skipped, [compared[i] for i in ranked[: options.count]])


def compare_rows(path: Path, options: ReviewOptions, rows: Sequence[int]) -> list[Compared | str]:
    """Per row what disagrees, or why that can't be told."""
    items = with_boxes(path, rows)
    found: list[Compared | str] = [str(item) for item in items]
    places = [i for i, item in enumerate(items) if isinstance(item, Sample)]
    samples = [item for item in items if not isinstance(item, ArchiveError)]
    if samples:
        boxes = _labels(samples, "face_box", (4,)).float()
        images = [s.image for s in samples if isinstance(s.image, bytes)]
        said = consensus(answers(models_of(options.models, options.device), images, boxes, options.factor), None)
        values = {name: disagreement.of(samples, said) for name, disagreement in DISAGREEMENTS.items()}
        labels = {name: v.numpy() for name in DRAWN if (v := getattr(said.mean, name)) is not None}
        for i, place in enumerate(places):
            found[place] = Compared(
                rows[place], {n: float(v[i]) for n, v in values.items()}, {n: v[i] for n, v in labels.items()}
            )
    return found


def _usual(values: np.ndarray) -> float:
    """Above 0, to divide by: the median of (n,); where most labels are those of the model, the smallest that isn't 0."""
    positive = values[values > 0]
    return float(np.median(values)) or float(positive.min() if len(positive) else 1.0)


def rank(compared: Sequence[Compared], order: str) -> list[int]:
    """Indices of rows that can be compared, those that disagree most first."""
    values = {name: np.array([c.values[name] for c in compared]) for name in DISAGREEMENTS}
    if order == "worst":
        known = [v / _usual(v[np.isfinite(v)]) for v in values.values() if np.isfinite(v).any()]
        score = np.fmax.reduce(known) if known else np.full(len(compared), np.nan)
    else:
        score = values[order]
    places = np.argsort(-np.nan_to_num(score, nan=-1.0), kind="stable")
    return [int(i) for i in places if np.isfinite(score[i])]
