"""Faces in pictures: MTCNN's boxes, and the crop of a large picture that a file keeps.

picture --MtcnnDetector--> boxes --best_overlap--> box --store_crop--> JPEG of the face's surroundings, moved labels
"""

import importlib.util
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch

from trackertraincode.conversion.pose_para import check_picture
from trackertraincode.errors import ArchiveError, ConfigError
from trackertraincode.geometry.boxes import box_iou
from trackertraincode.sample.fields import BY_ATTRIBUTE, FIELDS, Kind
from trackertraincode.sample.images import (
    ImageDecodeError,
    Size,
    decode,
    decode_labels,
    encode_jpeg,
    encode_png,
    sniff,
)

CROP_FACE_SIZE = 224  # pixels of the box's shorter side after scaling
LARGEST_FACE = 1.5 * CROP_FACE_SIZE  # boxes with both sides above are scaled
CROP_MARGIN = 10  # pixels, added to half of the box's longer side
HOW_TO_INSTALL = (
    "the face detector needs facenet-pytorch, which isn't installed or doesn't import ({reason}); install it with "
    "'pip install trackertraincode[convert]', or switch the detector off where the converter has an option for it."
)


class Detections(NamedTuple):
    """Faces found in one picture, the largest first."""

    boxes: np.ndarray  # (N, 4) float64 x0, y0, x1, y1; pixels
    confidences: np.ndarray  # (N,) float64 in [0, 1]


@dataclass(frozen=True)
class MtcnnDetector:
    """MTCNN with the weights that facenet-pytorch 2.5.3 carries; nothing is downloaded.

    Small and picklable: every process loads the networks when it detects for the first time.
    """

    min_face: int = 20  # pixels of the smallest face that is looked for
    max_edge: int = 1280  # larger pictures are scaled down for the detection

    def check(self) -> None:
        """Raise ConfigError, which says what to install, when the detector can't work here."""
        if importlib.util.find_spec("facenet_pytorch") is None:
            raise ConfigError(HOW_TO_INSTALL.format(reason="no module named facenet_pytorch"))

    def __call__(self, picture: np.ndarray) -> Detections:
        """(H, W, 3) RGB uint8 -> faces. Raises ConfigError when facenet-pytorch is missing."""
        height, width = picture.shape[:2]
        scale = min(1.0, self.max_edge / max(height, width))
        if scale < 1.0:
            size = (max(1, round(width * scale)), max(1, round(height * scale)))
            picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        if min(picture.shape[:2]) < self.min_face:
            return Detections(np.zeros((0, 4)), np.zeros(0))
        boxes, confidences = _detect(_networks(self.min_face), np.ascontiguousarray(picture))
        if boxes is None:
            return Detections(np.zeros((0, 4)), np.zeros(0))
        shrunk = np.array([width / picture.shape[1], height / picture.shape[0]] * 2)
        return Detections(boxes.astype(np.float64) * shrunk, np.asarray(confidences, np.float64))


def _detect(networks: Any, picture: np.ndarray) -> tuple[Any, Any]:
    """Boxes and confidences, (None, None) without a face. One thread, so that results don't depend on their number."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return networks.detect(picture)
    except (RuntimeError, IndexError) as error:
        if "allocate" in str(error):
            raise
        return None, None  # release 2.5.3 raises these when all of its proposals lie outside of the picture
    finally:
        torch.set_num_threads(threads)


@cache
def _networks(min_face: int) -> Any:
    try:
        from facenet_pytorch import MTCNN
    except (ImportError, RuntimeError) as error:  # torchvision of another torch fails with RuntimeError
        raise ConfigError(HOW_TO_INSTALL.format(reason=error)) from error
    return MTCNN(keep_all=True, min_face_size=min_face).eval()


def best_overlap(boxes: np.ndarray, box: np.ndarray, min_iou: float) -> np.ndarray | None:
    """Of boxes (N, 4) the one with the largest intersection over union with `box` (4,), None unless > min_iou."""
    if len(boxes) == 0:
        return None
    overlap = box_iou(torch.as_tensor(boxes, dtype=torch.float64), torch.as_tensor(box, dtype=torch.float64))
    best = int(overlap.argmax())
    return boxes[best] if overlap[best] > min_iou else None


def check_on_face(points: np.ndarray, box: np.ndarray, where: str) -> None:
    """Raise ArchiveError, which begins with `where`, when landmarks (N, 2) and face box (4,) don't overlap at all."""
    around = np.concatenate([points.min(0), points.max(0)])
    if (np.maximum(around[:2], box[:2]) >= np.minimum(around[2:], box[2:])).any():
        found, expected = ([round(float(v), 1) for v in value] for value in (around, box))
        raise ArchiveError(f"{where}: landmarks in {found}, but the face box is {expected}; one of them is another's.")


@dataclass(frozen=True)
class Placement:
    """Where a crop lies: the picture is scaled to `scaled`, then cut to x0, y0, x1, y1 of the scaled picture."""

    picture: Size
    scaled: Size
    cut: tuple[int, int, int, int]

    @property
    def changes_nothing(self) -> bool:
        """Whether the crop is the picture itself."""
        return self.scaled == self.picture and self.cut == (0, 0, *self.picture)

    def move_pixels(self, picture: np.ndarray, interpolation: int) -> np.ndarray:
        """(H, W, ...) -> crop."""
        if self.scaled != self.picture:
            picture = cv2.resize(picture, tuple(self.scaled), interpolation=interpolation)
        x0, y0, x1, y1 = self.cut
        return np.ascontiguousarray(picture[y0:y1, x0:x1])

    def move_label(self, value: np.ndarray, kind: Kind) -> np.ndarray:
        """A label of the picture as one of the crop.

        Points and heads count pixel centres from 0, so they are scaled half a pixel off; boxes count from the corner.
        """
        scale = np.array([self.scaled.width / self.picture.width, self.scaled.height / self.picture.height])
        size_factor = math.sqrt(scale.prod())
        corner = np.array(self.cut[:2], dtype=np.float64)
        value = np.asarray(value)
        if kind is Kind.BOX:
            return value * np.tile(scale, 2) - np.tile(corner, 2)
        if kind in (Kind.POINTS, Kind.HEAD):
            xy = (value[..., :2] + 0.5) * scale - 0.5 - corner
            return np.concatenate([xy, value[..., 2:] * size_factor], axis=-1)
        return value


def place_crop(size: Size, box: np.ndarray) -> Placement | None:
    """The crop round a face box: scaled when both sides of the box are large, padded, within the picture.

    None when box and picture don't overlap.
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
    picture: bytes | np.ndarray, box: np.ndarray, labels: Mapping[str, Any] | None = None, *, name: str
) -> dict[str, Any]:
    """What a file keeps of a face in a large picture, as arguments of Sample: image, face_box and the moved labels.

    picture: JPEG or PNG file, or (H, W, 3) RGB uint8. box: (4,) pixels, from the picture's corner. labels: by attribute
    of Sample, in the picture's pixels; None stays None. A JPEG file that needs neither scaling nor cropping is kept
    as it is, all else becomes JPEG of quality 95. Label images are scaled without mixing classes.
    Raises ArchiveError, which begins with `name`, when the picture is damaged or the box lies outside of it.
    """
    size = check_picture(picture, name) if isinstance(picture, bytes) else Size(picture.shape[1], picture.shape[0])
    placement = place_crop(size, box)
    if placement is None:
        found = [round(float(v), 1) for v in box]
        raise ArchiveError(f"{name}: face box {found} lies outside of the picture of {size.width} × {size.height}.")
    if isinstance(picture, bytes) and placement.changes_nothing and sniff(picture) == "jpeg":
        image = picture
    else:
        pixels = decode(picture, color=True) if isinstance(picture, bytes) else picture
        image = encode_jpeg(placement.move_pixels(pixels, cv2.INTER_AREA))
    kept: dict[str, Any] = {"image": image, "face_box": placement.move_label(box, Kind.BOX)}
    for attribute, value in (labels or {}).items():
        kind = FIELDS[BY_ATTRIBUTE[attribute]].kind
        if value is None:
            kept[attribute] = None
        elif kind is Kind.SEGMENTATION:
            kept[attribute] = _move_classes(value, placement, name)
        else:
            kept[attribute] = placement.move_label(value, kind)
    return kept


def _move_classes(value: bytes | np.ndarray, placement: Placement, name: str) -> bytes:
    try:
        classes = decode_labels(value) if isinstance(value, bytes) else value
    except ImageDecodeError as error:
        raise ArchiveError(f"{name}: label image: {error}") from error
    if classes.shape != placement.picture[::-1]:
        found = f"{classes.shape[1]} × {classes.shape[0]}"
        raise ArchiveError(
            f"{name}: label image has {found} pixels, the picture {placement.picture.width} × "
            f"{placement.picture.height}; they must be of one size."
        )
    if isinstance(value, bytes) and placement.changes_nothing:
        return value
    return encode_png(placement.move_pixels(classes, cv2.INTER_NEAREST_EXACT))
