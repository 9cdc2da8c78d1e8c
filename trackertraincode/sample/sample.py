"""One stored face, a batch of crops, and what a network says of a batch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from trackertraincode.sample.fields import Kind, stored, stored_fields

Array = np.ndarray


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One labelled face. A label that the data set lacks is None.

    All labels count from the image's corner; reader and writer convert (`sample.moving`). This is the table of the
    format: reader, writer, checks, batches, catalogs and documentation follow from it.
    """

    name: str = ""  # where it came from, for messages: archive member, row
    sequence: str | None = None  # rows in a row with the same value form one sequence; None: no sequences
    image: bytes | Array = stored(  # an encoded file, or (H, W) or (H, W, 3) uint8 RGB
        "images", Kind.IMAGE, (), "img", "one encoded JPEG or PNG file", dtype="vlen uint8", legacy_name="keys"
    )
    rotation: Array | None = stored(
        "quats", Kind.ROTATION, (4,), "q", "unit quaternion i, j, k, w; head to image frame", trained="pose"
    )
    head: Array | None = stored(
        "coords", Kind.HEAD, (3,), "xys", "head centre x, y and head radius; pixels", trained="pose"
    )
    face_box: Array | None = stored("rois", Kind.BOX, (4,), "roi", "face box x0, y0, x1, y1; pixels", trained="box")
    points_box: Array | None = stored(  # 6DRepNet crops by it
        "rois_pt2d", Kind.BOX, (4,), "roi", "box of AFLW2000-3D's pt2d, -1 entries too; pixels"
    )
    landmarks: Array | None = stored(  # the mean z of the eye corners is 0
        "pt3d_68", Kind.POINTS, (68, 3), "pts", "iBUG landmarks; pixels, z into the screen", trained="landmarks"
    )
    landmarks_2d: Array | None = stored(
        "pt2d_68", Kind.POINTS, (68, 2), "pts", "iBUG landmarks; pixels", trained="landmarks_2d"
    )
    stored_angles: Array | None = stored(
        "euler_aflw", Kind.ANGLES, (3,), "", "pitch, yaw, roll as AFLW2000-3D states them; degrees"
    )
    shape: Array | None = stored(
        "shapeparams", Kind.COEFFICIENTS, (50,), "", "40 shape + 10 expression coefficients", trained="shape"
    )
    has_face: bool | None = stored(
        "hasface", Kind.FLAG, (), "", "whether the image shows a face", dtype="bool", trained="face"
    )
    segmentation: bytes | Array | None = stored(  # PNG file or (H, W) uint8
        "semseg", Kind.SEGMENTATION, (), "seg", "label image as PNG file", dtype="vlen uint8", legacy_name="seg_image"
    )
    individual: int | None = stored(
        "individual", Kind.INDEX, (), None, "number of the person or sequence", dtype="int64"
    )
    fit_residual: float | None = stored(
        "fit_residual", Kind.MEASURE, (), None, "mean distance between landmarks and the head fitted to them; mm"
    )
    rotation_spread: float | None = stored(
        "rotation_spread", Kind.MEASURE, (), None, "RMS angle between several models' rotations and their mean; degrees"
    )
    head_spread: float | None = stored(
        "head_spread",
        Kind.MEASURE,
        (),
        None,
        "RMS difference of x, y, radius between several models and their mean; mm",
    )
    landmarks_spread: float | None = stored(
        "landmarks_spread",
        Kind.MEASURE,
        (),
        None,
        "RMS distance of landmarks between several models and their mean; mm",
    )
    rotation_uncertainty: float | None = stored(
        "rotation_uncertainty", Kind.MEASURE, (), None, "RMS rotation error that models expect of themselves; degrees"
    )
    head_uncertainty: float | None = stored(
        "head_uncertainty", Kind.MEASURE, (), None, "RMS error of x, y, radius that models expect of themselves; mm"
    )
    landmarks_uncertainty: float | None = stored(
        "landmarks_uncertainty", Kind.MEASURE, (), None, "RMS landmark error that models expect of themselves; mm"
    )


FIELDS = stored_fields(Sample)  # HDF5 name -> field
BY_ATTRIBUTE = {field.attribute: name for name, field in FIELDS.items()}  # attribute -> HDF5 name
LEGACY_NAMES = {field.legacy_name: name for name, field in FIELDS.items() if field.legacy_name is not None}
LABELS = {  # attribute -> field, for all that is an array of numbers
    field.attribute: field for field in FIELDS.values() if field.kind not in (Kind.IMAGE, Kind.SEGMENTATION)
}
MEASURES = tuple(name for name, field in LABELS.items() if field.kind is Kind.MEASURE)
BATCH_LABELS = {name: field.shape for name, field in LABELS.items() if field.trained}  # -> shape of one row


@dataclass(frozen=True, kw_only=True)
class Batch:
    """B faces as crops. Each label of BATCH_LABELS is an attribute too, as in `batch.rotation`.

    They are in normalised crop coordinates once `augmentation` is done.
    """

    image: Tensor  # (B, C, S, S) uint8, or float after normalisation
    labels: dict[str, Tensor]  # (B, shape of one row) by name; NaN where absent, z of landmarks also where not known
    dataset: Tensor  # (B,) long: which data set of the mixture
    row: Tensor  # (B,) long: row in that data set's file
    weight: Tensor  # (B,) factor of this row's losses
    intensity: Tensor | None = None  # (B, 257) what becomes of grey levels 0…255, standard deviation of noise
    view: Tensor | None = None  # (B, 2, 3) from a face's first view to this one, in [-1, 1]; None: one of each

    def __getattr__(self, label: str) -> Tensor:
        try:
            return vars(self)["labels"][label]
        except KeyError:
            raise AttributeError(label) from None

    def __len__(self) -> int:
        return self.image.shape[0]

    def present(self, label: str) -> Tensor:
        """(B,) bool: which rows have this label. Landmarks count as present when x and y are known."""
        return torch.isfinite(self.labels[label].reshape(len(self), -1)[:, 0])

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Batch":
        """The same batch on another device."""
        return self._map(lambda value: value.to(device, non_blocking=non_blocking))

    def select(self, rows: Tensor) -> "Batch":
        """The rows of a (B,) bool mask or of a list of indices."""
        return self._map(lambda value: value[rows])

    def tensors(self) -> dict[str, Tensor]:
        """Everything (B, ...) by name, labels as the rest."""
        known = {name: value for name, value in vars(self).items() if name != "labels" and value is not None}
        return known | self.labels

    def _map(self, function: Callable[[Tensor], Tensor]) -> "Batch":
        return make_batch(**{name: function(value) for name, value in self.tensors().items()})


def make_batch(
    image: Tensor, dataset: Tensor, row: Tensor, weight: Tensor | None = None, intensity: Tensor | None = None,
    view: Tensor | None = None, **labels: Tensor,
) -> Batch:  # fmt: skip
    """A batch from the labels (B, ...) that are known; the others become NaN rows."""
    count = image.shape[0]
    unknown = [name for name in labels if name not in BATCH_LABELS]
    if unknown:
        raise TypeError(f"no such labels: {', '.join(unknown)}")
    values = {
        name: labels[name] if name in labels else torch.full((count, *shape), torch.nan)
        for name, shape in BATCH_LABELS.items()
    }
    weight = torch.ones(count) if weight is None else weight
    return Batch(image=image, labels=values, dataset=dataset, row=row, weight=weight, intensity=intensity, view=view)


def blank_batch(shape: tuple[int, int, int, int], device: torch.device | str) -> Batch:
    """Black images (B, C, S, S), float32, that look straight ahead; other labels are zeros."""
    count, zeros = shape[0], torch.zeros(shape[0], dtype=torch.long, device=device)
    labels = {name: torch.zeros(count, *size, device=device) for name, size in BATCH_LABELS.items()}
    labels["rotation"][:, 3] = 1.0
    return make_batch(torch.zeros(shape, device=device), zeros, zeros, torch.ones(count, device=device), **labels)


def concatenate(batches: Sequence[Batch]) -> Batch:
    """One batch after the other."""
    parts = [batch.tensors() for batch in batches]
    return make_batch(**{name: torch.cat([part[name] for part in parts]) for name in parts[0]})


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a network says of B crops, in normalised crop coordinates: [-1, 1], sizes in half crop edges.

    What the network doesn't predict is None. `*_tril` are lower triangular factors L of covariances L Lᵀ, `*_scale`
    standard deviations.
    """

    rotation: Tensor  # (B, 4) unit quaternion i, j, k, w
    head: Tensor  # (B, 3) x, y, radius
    face_box: Tensor | None = None  # (B, 4) x0, y0, x1, y1
    landmarks: Tensor | None = None  # (B, 68, 3)
    shape: Tensor | None = None  # (B, 50)
    rotation_raw: Tensor | None = None  # (B, 4) or (B, 6) before normalisation, for the soft constraints
    rotation_tril: Tensor | None = None  # (B, 3, 3) tangent space at `rotation`, radians
    head_tril: Tensor | None = None  # (B, 3, 3)
    face_box_scale: Tensor | None = None  # (B, 4)
    landmarks_scale: Tensor | None = None  # (B, 68, 3)
    shape_scale: Tensor | None = None  # (B, 50)

    def __len__(self) -> int:
        return self.rotation.shape[0]

    def select(self, rows: Tensor) -> "Prediction":
        """The rows of a (B,) bool mask or of a list of indices."""
        return self._map(lambda value: value[rows])

    def to(self, device: torch.device | str) -> "Prediction":
        """The same prediction on another device."""
        return self._map(lambda value: value.to(device))

    def _map(self, function: Callable[[Tensor], Tensor]) -> "Prediction":
        known = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}
        return Prediction(**{name: function(value) for name, value in known.items()})


def concatenate_predictions(predictions: Sequence[Prediction]) -> Prediction:
    """One prediction after the other; all must know the same fields."""
    known = [f.name for f in fields(Prediction) if getattr(predictions[0], f.name) is not None]
    return Prediction(**{name: torch.cat([getattr(p, name) for p in predictions]) for name in known})
