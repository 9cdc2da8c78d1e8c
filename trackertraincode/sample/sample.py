"""One stored face, a batch of crops, and what a network says of a batch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

Array = np.ndarray


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One labelled face. A label that the data set lacks is None.

    All labels count from the image's corner; reader and writer convert (`sample.moving`).
    """

    image: bytes | Array  # an encoded JPEG or PNG file, or (H, W) or (H, W, 3) uint8 RGB
    name: str = ""  # where it came from, for messages: archive member, row
    sequence: str | None = None  # rows in a row with the same value form one sequence; None: no sequences
    rotation: Array | None = None  # (4,) unit quaternion i, j, k, w; head to image frame
    head: Array | None = None  # (3,) x, y, radius; pixels
    face_box: Array | None = None  # (4,) x0, y0, x1, y1; pixels
    points_box: Array | None = None  # (4,) as face_box: hull of AFLW2000-3D's `pt2d`, which 6DRepNet crops by
    landmarks: Array | None = None  # (68, 3) pixels; z into the screen, mean z of the eye corners is 0
    landmarks_2d: Array | None = None  # (68, 2) pixels
    shape: Array | None = None  # (50,) coefficients of the file's face model
    has_face: bool | None = None
    segmentation: bytes | Array | None = None  # PNG file or (H, W) uint8
    individual: int | None = None


@dataclass(frozen=True, kw_only=True)
class Batch:
    """B faces as crops. Labels in normalised crop coordinates once `augmentation` is done; absent labels are NaN."""

    image: Tensor  # (B, C, S, S) uint8, or float after normalisation
    rotation: Tensor  # (B, 4)
    head: Tensor  # (B, 3)
    face_box: Tensor  # (B, 4)
    landmarks: Tensor  # (B, 68, 3); z NaN where only x and y are known
    landmarks_2d: Tensor  # (B, 68, 2)
    shape: Tensor  # (B, 50)
    has_face: Tensor  # (B,) 1, 0 or NaN
    dataset: Tensor  # (B,) long: which data set of the mixture
    row: Tensor  # (B,) long: row in that data set's file
    weight: Tensor  # (B,) factor of this row's losses

    def __len__(self) -> int:
        return self.image.shape[0]

    def present(self, label: str) -> Tensor:
        """(B,) bool: which rows have this label. Landmarks count as present when x and y are known."""
        return torch.isfinite(getattr(self, label).reshape(len(self), -1)[:, 0])

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Batch":
        """The same batch on another device."""
        return self._map(lambda value: value.to(device, non_blocking=non_blocking))

    def select(self, rows: Tensor) -> "Batch":
        """The rows of a (B,) bool mask or of a list of indices."""
        return self._map(lambda value: value[rows])

    def pin_memory(self) -> "Batch":
        """In page-locked memory, for copies to a GPU; DataLoader calls it."""
        return self._map(Tensor.pin_memory)

    def _map(self, function: Callable[[Tensor], Tensor]) -> "Batch":
        return Batch(**{f.name: function(getattr(self, f.name)) for f in fields(self)})


BATCH_LABELS = {  # label -> shape of one row
    "rotation": (4,),
    "head": (3,),
    "face_box": (4,),
    "landmarks": (68, 3),
    "landmarks_2d": (68, 2),
    "shape": (50,),
    "has_face": (),
}


def make_batch(image: Tensor, dataset: Tensor, row: Tensor, weight: Tensor | None = None, **labels: Tensor) -> Batch:
    """A batch from the labels that are known; the others become NaN rows."""
    count = image.shape[0]
    values = {
        name: labels.pop(name) if name in labels else torch.full((count, *shape), torch.nan)
        for name, shape in BATCH_LABELS.items()
    }
    if labels:
        raise TypeError(f"no such labels: {', '.join(labels)}")
    return Batch(
        image=image,
        dataset=dataset,
        row=row,
        weight=torch.ones(count) if weight is None else weight,
        **values,
    )


def concatenate(batches: Sequence[Batch]) -> Batch:
    """One batch after the other."""
    return Batch(**{f.name: torch.cat([getattr(b, f.name) for b in batches]) for f in fields(Batch)})


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

    def detach(self) -> "Prediction":
        """Without gradients."""
        return self._map(lambda value: value.detach())

    def _map(self, function: Callable[[Tensor], Tensor]) -> "Prediction":
        known = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}
        return Prediction(**{name: function(value) for name, value in known.items()})


def concatenate_predictions(predictions: Sequence[Prediction]) -> Prediction:
    """One prediction after the other; all must know the same fields."""
    known = [f.name for f in fields(Prediction) if getattr(predictions[0], f.name) is not None]
    return Prediction(**{name: torch.cat([getattr(p, name) for p in predictions]) for name in known})
