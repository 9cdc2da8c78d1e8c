"""Models under protocols: predictions, errors per sample, one row of a table.

Predictor, Protocol --predict_rows--> Predictions --score--> Result --row--> {"model": …, "mae": …}
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from trackertraincode.datasets.catalog import DatasetSpec, find_file, load_catalog
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.datasets.selection import converters_of, origins_of
from trackertraincode.errors import EvaluationError
from trackertraincode.evaluation import metrics
from trackertraincode.evaluation.alignment import align
from trackertraincode.evaluation.crops import PREPROCESSING, batch_of, iter_crops, to_pixels
from trackertraincode.evaluation.framing import Framing
from trackertraincode.evaluation.predictor import Predictor
from trackertraincode.evaluation.protocols import (
    ALL_ANGLES,
    Boxes,
    Context,
    Protocol,
    aflw_rows,
    find_protocol,
    labelled_angles,
    lacks_angles,
    mesh_box,
)
from trackertraincode.facemodel.landmarks68 import is_flat
from trackertraincode.files import files_of
from trackertraincode.geometry.boxes import box_size
from trackertraincode.geometry.euler import matrix_to_aflw
from trackertraincode.geometry.rotation import quat_to_matrix
from trackertraincode.sample.sample import Prediction, concatenate_predictions
from trackertraincode.workers import Workers

ANGLES = ("pitch", "yaw", "roll")
TRUE_LABELS = ("rotation", "head", "landmarks")


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """What the command line may change about protocols."""

    factor: float | None = None  # of --roi-expansion, instead of the protocol's
    alignment: str | None = None  # instead of the protocol's
    preprocess: str = "training"  # key of PREPROCESSING
    face_model: Path | None = None
    file: Path | None = None  # sample file instead of the catalog's
    catalog: Path | None = None
    workers: Workers = 0
    progress: bool = True


@dataclass(frozen=True)
class Result:
    """One model under one protocol."""

    model: str
    protocol: str
    box: str  # what the boxes are
    factor: float
    crop: str  # what is done with the boxes
    labels: str
    rows: np.ndarray  # (n,) of the file
    truth: Prediction  # labels, in pixels from the image's corner
    prediction: Prediction  # in the same units
    boxes: Tensor  # (n, 4)
    marks: tuple[str, ...]  # why this row isn't an honest test, or deviates from the protocol
    dataset: Hdf5PoseDataset
    euler: Tensor  # (n, 3) absolute errors of pitch, yaw, roll; degrees
    angles: tuple[int, ...] = ALL_ANGLES  # which of these are labelled
    trained_on: tuple[str, ...] = ()  # data sets, as far as the model tells
    selected_on: tuple[str, ...] = ()  # data sets whose errors chose the checkpoint

    @property
    def all_labelled(self) -> bool:
        """Whether all three angles are, so that rotations can be compared."""
        return len(self.angles) == len(ANGLES)

    @property
    def geodesic(self) -> Tensor:
        """(n,) degrees; NaN where not all angles are labelled."""
        errors = metrics.geodesic_errors(self.prediction.rotation, self.truth.rotation)
        return errors if self.all_labelled else torch.full_like(errors, math.nan)

    @property
    def mean_angles(self) -> Tensor:
        """(n,) mean absolute error of the labelled angles, degrees."""
        return self.euler[:, self.angles].mean(-1)

    @property
    def rotation_errors(self) -> Tensor:
        """(n,) degrees, to compare and sort images by: geodesic, or `mean_angles` where not all angles are labelled."""
        return self.geodesic if self.all_labelled else self.mean_angles

    @property
    def yaw(self) -> Tensor:
        """(n,) true yaw, degrees."""
        return torch.rad2deg(matrix_to_aflw(quat_to_matrix(self.truth.rotation.double())))[:, 1]

    def landmark_errors(self, dimensions: int) -> Tensor:
        """(n,) NME of the landmarks in 2 or 3 dimensions; NaN where a label or an output is missing."""
        if self.prediction.landmarks is None or self.truth.landmarks is None:
            return torch.full((len(self.rows),), math.nan)
        return metrics.normalized_mean_errors(self.prediction.landmarks, self.truth.landmarks, dimensions)

    def rotation_error(self, index: int) -> float:
        """One of `rotation_errors`, without all others."""
        if not self.all_labelled:
            return self.mean_angles[index].item()
        one = slice(index, index + 1)
        return metrics.geodesic_errors(self.prediction.rotation[one], self.truth.rotation[one]).item()

    def _of_fewer(self, heads: int) -> Iterator[str]:
        """Which numbers are of fewer rows than others. heads: rows that have one."""
        if 0 < heads < len(self.rows):
            yield f"XY and S are of {heads} of {len(self.rows)} rows, those with a head"
        points = int(self.landmark_errors(3).isfinite().sum())
        if 0 < points < len(self.rows):
            yield f"NME is of {points} of {len(self.rows)} rows, those with landmarks"

    def row(self) -> dict[str, Any]:
        """Degrees; xy, size, nme in percent; None where a label or an output is missing."""
        angles = {name: self.euler[:, i].mean().item() if i in self.angles else None for i, name in enumerate(ANGLES)}
        maev = metrics.axis_errors(self.prediction.rotation, self.truth.rotation).mean().item()
        width = box_size(self.boxes)[:, 0]
        moved = (self.prediction.head - self.truth.head) / width[:, None] * 100
        moved = moved[moved.isfinite().all(-1)]
        return {
            "model": self.model,
            "protocol": self.protocol,
            "n": len(self.rows),
            **angles,
            "mae": self.mean_angles.mean().item(),
            "geodesic": _known(self.geodesic.mean().item()),
            "maev": maev if self.all_labelled else None,
            "xy": _known(metrics.rmse(moved[:, :2].norm(dim=-1))),
            "size": _known(metrics.rmse(moved[:, 2])),
            "nme3d": _known(100 * self.landmark_errors(3).nanmean().item()),
            "nme2d": _known(100 * metrics.binned_mean(self.landmark_errors(2), self.yaw)),
            "box": self.box,
            "factor": self.factor,
            "crop": self.crop,
            "labels": self.labels,
            "trained_on": list(self.trained_on),
            "selected_on": list(self.selected_on),
            "marks": [*self.marks, *self._of_fewer(len(moved))],
        }


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def evaluate(predictor: Predictor, name: str, options: EvaluationOptions) -> Result:
    """name: of a protocol, of a data set, or path of a .h5 file. Raises CatalogError, SampleFormatError, EvaluationError."""
    catalog = load_catalog(options.catalog)
    protocol = find_protocol(name, catalog)
    dataset = Hdf5PoseDataset(options.file or find_file(protocol.dataset, catalog))
    rows = protocol.keep(dataset)
    if not len(rows):
        raise EvaluationError(f"{dataset.path}: protocol {name} keeps none of its {len(dataset)} rows.")
    boxes = protocol.box(Context(dataset, options.face_model), rows)
    for bad, wrong in (
        (~torch.isfinite(boxes.corners).all(-1), "has no box"),
        ((boxes.corners[:, 2:] <= boxes.corners[:, :2]).any(-1), "has an empty box, or one with swapped corners,"),
    ):
        if bad.any():
            row = rows[int(torch.nonzero(bad)[0])]
            raise EvaluationError(f"{dataset.path}: row {row} (of {int(bad.sum())}) {wrong} for protocol {name}.")
    framing = protocol.framing
    if options.factor is not None and framing.default_factor_only:
        raise EvaluationError(f"protocol {name} has a crop of its own; leave out --roi-expansion for it.")
    factor = protocol.factor if options.factor is None else options.factor
    rectangles = framing.rectangles(boxes.corners, factor)
    prediction = predict_rows(predictor, dataset, rows, rectangles, framing, options)
    prediction = to_pixels(prediction, framing.shown(rectangles))
    truth = _truth(dataset, rows)
    scheme = options.alignment or protocol.alignment
    rotation = align(prediction, truth, dataset, rows, scheme, protocol.horizontal_fov)
    prediction = replace(prediction, rotation=rotation)
    label = name if scheme == "none" else f"{name} ({scheme})"
    marks = [
        *_seen(predictor, protocol, dataset, options, catalog),
        *_of_other_images(protocol, dataset, catalog),
        *_deviations(protocol, dataset, boxes, factor, options),
    ]
    return Result(
        model=predictor.name,
        protocol=label,
        box=boxes.what,
        factor=factor,
        crop=framing.words.format(factor),
        labels=protocol.labels,
        rows=rows,
        truth=truth,
        prediction=prediction,
        boxes=boxes.corners,
        marks=tuple(marks),
        dataset=dataset,
        euler=protocol.euler(prediction.rotation, truth.rotation),
        angles=labelled_angles(protocol, dataset),
        trained_on=tuple(predictor.about.get("trained_on", ())),
        selected_on=tuple(predictor.about.get("selected_on", ())),
    )


def predict_rows(
    predictor: Predictor,
    dataset: Hdf5PoseDataset,
    rows: np.ndarray,
    rectangles: Tensor,
    framing: Framing,
    options: EvaluationOptions,
) -> Prediction:
    """Predictions for crops of the given rows, in [-1, 1] of each crop. rectangles: (n, 4), made by the framing.

    Raises WorkerError when a worker process dies.
    """
    if options.preprocess == "opentrack" and predictor.channels != 1:
        raise EvaluationError(f"{predictor.path}: takes colour crops; OpenTrack's preprocessing is for grey ones.")
    prepare = PREPROCESSING[options.preprocess]
    size, channels = predictor.input_size, predictor.channels
    crops = iter_crops(dataset.path, rows, rectangles, framing, size=size, channels=channels, workers=options.workers)
    batches = tqdm(
        crops, total=-(-len(rows) // batch_of(size)), desc=predictor.name, unit=" batches", leave=False,
        disable=not options.progress,
    )  # fmt: skip
    return concatenate_predictions([predictor.predict(prepare(images)) for images in batches])


def _truth(dataset: Hdf5PoseDataset, rows: np.ndarray) -> Prediction:
    """Labels of the rows (n,) as a Prediction, in pixels from the corner; NaN for a head that the file lacks, and for the
    depth of landmarks that only have x and y.
    """
    known = {name: torch.from_numpy(dataset.labels[name][rows]) for name in TRUE_LABELS if name in dataset.labels}
    if (points := known.get("landmarks")) is not None:
        points[torch.from_numpy(is_flat(points.numpy())), :, 2] = math.nan
    return Prediction(**{"head": torch.full((len(rows), 3), math.nan), **known})


def _seen(
    predictor: Predictor,
    protocol: Protocol,
    dataset: Hdf5PoseDataset,
    options: EvaluationOptions,
    catalog: dict[str, DatasetSpec],
) -> Iterator[str]:
    """Marks of a model that was trained, or whose checkpoint was chosen, on this data set, on whatever rows of it."""
    about = predictor.about
    files = {path.name for path in (dataset.path, *files_of(dataset.path))}
    here = _same_images({protocol.dataset} if options.file is None else set(), files, catalog)
    if here & _same_images({*about.get("trained_on", [])}, {*about.get("training_files", [])}, catalog):
        yield "trained on these images"
    if here & _same_images({*about.get("selected_on", [])}, set(), catalog):
        yield "selected on these images"


def _same_images(names: set[str], files: set[str], catalog: dict[str, DatasetSpec]) -> set[str]:
    """Data sets and files -> these, and those that the catalog says to show the same images."""
    own = {n: {Path(spec.file).name, Path(spec.validation_file or spec.file).name} for n, spec in catalog.items()}
    known = {n for n in catalog if n in names or own[n] & files}
    variants = {catalog[n].variant_of for n in known} - {None}
    known |= {n for n in catalog if catalog[n].variant_of in variants}
    return names | files | known | {file for n in known for file in own[n]}


def _of_other_images(protocol: Protocol, dataset: Hdf5PoseDataset, catalog: dict[str, DatasetSpec]) -> Iterator[str]:
    """Marks of a file that says that its rows were made otherwise than the protocol's are."""
    spec = catalog.get(protocol.dataset)
    if spec is None or spec.converter is None:
        return
    if others := converters_of(dataset.source) - {spec.converter}:
        yield f"the file was made by {', '.join(sorted(others))}, not by `{spec.made_by}`"
        return
    made = [origin["options"] for origin in origins_of(dataset.source) if isinstance(origin.get("options"), dict)]
    for name, wanted in protocol.made_with.items():
        if any((options.get(name, "False") != "False") != wanted for options in made):
            yield f"the file was made {'without' if wanted else 'with'} --{name.replace('_', '-')}"
    if counts := {str(options["count"]) for options in made if "count" in options}:
        yield f"the file has no more than the first {', '.join(sorted(counts))} of its archive"
    if protocol.horizontal_fov is not None and "head" not in dataset.labels:
        yield "images are crops: the file has no heads, as of FSA-Net's BIWI_done.npz"


def _deviations(
    protocol: Protocol, dataset: Hdf5PoseDataset, boxes: Boxes, factor: float, options: EvaluationOptions
) -> Iterator[str]:
    if protocol.keep is aflw_rows and lacks_angles(dataset).any():
        yield "rows chosen by the rotations' angles, since the file lacks those of the archive; convert it again"
    if boxes.of_mean_face and protocol.box is mesh_box:
        yield (
            "boxes of the mean face: the file has no shapes, or their face model isn't here; convert and evaluate with "
            "--face-model"
        )
    if factor != protocol.factor:
        yield "other crop factor than the protocol's"
    if options.preprocess != "training":
        yield f"{options.preprocess} preprocessing"
