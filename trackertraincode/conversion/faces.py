"""The crop of a large image that a file keeps: image, box --store_crop--> JPEG of the face's surroundings, moved labels"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch

from trackertraincode.conversion.archive import naming
from trackertraincode.detection.mtcnn import refine_box
from trackertraincode.errors import ArchiveError
from trackertraincode.geometry import affine2d
from trackertraincode.sample.images import (
    Size,
    check_image,
    decode,
    decode_labels,
    encode_jpeg,
    encode_png,
    sniff,
)
from trackertraincode.sample.moving import move
from trackertraincode.sample.sample import Sample

CROP_FACE_SIZE = 224  # pixels of the box's shorter side after scaling
LARGEST_FACE = 1.5 * CROP_FACE_SIZE  # boxes with both sides above are scaled
CROP_MARGIN = 10  # pixels, added to half of the box's longer side


def box_around(points: np.ndarray) -> np.ndarray:
    """(N, 2 or 3) -> (4,) x0, y0, x1, y1."""
    return np.concatenate([points[:, :2].min(0), points[:, :2].max(0)])


def check_on_face(points: np.ndarray, box: np.ndarray, where: str) -> None:
    """Raise ArchiveError, which begins with `where`, when landmarks (N, 2) and face box (4,) don't overlap at all."""
    around = box_around(points)
    if (np.maximum(around[:2], box[:2]) >= np.minimum(around[2:], box[2:])).any():
        found, expected = ([round(float(v), 1) for v in value] for value in (around, box))
        raise ArchiveError(
            f"{where}: landmarks in {found}, but the face box is {expected}; one of them belongs to another face."
        )


@dataclass(frozen=True)
class Placement:
    """Where a crop lies: the image is scaled to `scaled`, then cut to x0, y0, x1, y1 of the scaled image."""

    image: Size
    scaled: Size
    cut: tuple[int, int, int, int]

    @property
    def changes_nothing(self) -> bool:
        """Whether the crop is the image itself."""
        return self.scaled == self.image and self.cut == (0, 0, *self.image)

    def move_pixels(self, image: np.ndarray, interpolation: int) -> np.ndarray:
        """(H, W, ...) -> crop."""
        if self.scaled != self.image:
            image = cv2.resize(image, tuple(self.scaled), interpolation=interpolation)
        x0, y0, x1, y1 = self.cut
        return np.ascontiguousarray(image[y0:y1, x0:x1])

    def move_labels(self, labels: Mapping[str, Any]) -> dict[str, Any]:
        """Labels by attribute, from the image's corner -> float64, from the crop's."""
        scale = torch.tensor(self.scaled, dtype=torch.float64) / torch.tensor(self.image)
        affine = affine2d.compose(affine2d.translation(-torch.tensor(self.cut[:2]).double()), affine2d.scaling(scale))
        tensors = {name: torch.as_tensor(value, dtype=torch.float64) for name, value in labels.items()}
        return {name: value.numpy() for name, value in move(tensors, affine).items()}


def place_crop(size: Size, box: np.ndarray) -> Placement | None:
    """The crop around a face box (4,): scaled when both sides of the box are large, padded, within the image.

    None when box and image don't overlap.
    """
    box = np.asarray(box, dtype=np.float64)
    shorter = float((box[2:] - box[:2]).min())
    factor = CROP_FACE_SIZE / shorter if shorter > LARGEST_FACE else 1.0
    scaled = Size(max(1, round(size.width * factor)), max(1, round(size.height * factor)))
    box = box * np.tile([scaled.width / size.width, scaled.height / size.height], 2)
    if box[0] >= scaled.width or box[1] >= scaled.height or box[2] <= 0 or box[3] <= 0:
        return None
    pad = float((box[2:] - box[:2]).max()) / 2 + CROP_MARGIN
    x0, y0 = (max(0, math.floor(v - pad)) for v in box[:2])
    x1, y1 = (min(edge, math.ceil(v + pad)) for v, edge in zip(box[2:], scaled))
    return Placement(size, scaled, (x0, y0, x1, y1))


def store_crop(
    image: bytes | np.ndarray, box: np.ndarray, labels: Mapping[str, Any] | None = None, *, name: str
) -> dict[str, Any]:
    """What a file keeps of a face in a large image, as arguments of Sample: image, face_box and the moved labels.

    image: JPEG or PNG file, or (H, W, 3) RGB uint8. box: (4,) pixels, from the image's corner. labels: by attribute
    of Sample, from the image's corner; None stays None. A JPEG file that needs neither scaling nor cropping is kept
    as it is, all else becomes JPEG of quality 95. Label images are scaled without mixing classes.
    Raises ArchiveError, which begins with `name`, when the image is damaged or the box lies outside of it.
    """
    with naming(name):
        size = check_image(image) if isinstance(image, bytes) else Size(image.shape[1], image.shape[0])
    placement = place_crop(size, box)
    if placement is None:
        found = [round(float(v), 1) for v in box]
        raise ArchiveError(f"{name}: face box {found} lies outside of the image of {size.width} × {size.height}.")
    if isinstance(image, bytes) and placement.changes_nothing and sniff(image) == "jpeg":
        stored = image
    else:
        pixels = decode(image, color=True) if isinstance(image, bytes) else image
        stored = encode_jpeg(placement.move_pixels(pixels, cv2.INTER_AREA))
    given = {"face_box": box, **(labels or {})}
    classes = given.pop("segmentation", None)
    kept = placement.move_labels({name: value for name, value in given.items() if value is not None})
    if classes is not None:
        kept["segmentation"] = _move_classes(classes, placement, name)
    return {"image": stored, **given, **kept}


def annotated_face(image: bytes, points: np.ndarray, labels: Mapping[str, Any], *, mtcnn: bool, name: str) -> Sample:
    """What a file keeps of a face in a JPEG or PNG file with landmarks (N, 2), whose box is theirs.

    labels, name: as of `store_crop`. mtcnn: take the face detector's box instead, where it overlaps that one.
    """
    box = box_around(points)
    if mtcnn:
        with naming(name):
            box = refine_box(decode(image, color=True), box)
    return Sample(name=name, **store_crop(image, box, labels, name=name))


def _move_classes(value: bytes | np.ndarray, placement: Placement, name: str) -> bytes:
    with naming(f"{name}: label image"):
        classes = decode_labels(value) if isinstance(value, bytes) else value
    if classes.shape != placement.image[::-1]:
        found = f"{classes.shape[1]} × {classes.shape[0]}"
        raise ArchiveError(
            f"{name}: label image has {found} pixels, the image {placement.image.width} × "
            f"{placement.image.height}; they must be of one size."
        )
    if isinstance(value, bytes) and placement.changes_nothing:
        return value
    return encode_png(placement.move_pixels(classes, cv2.INTER_NEAREST_EXACT))
