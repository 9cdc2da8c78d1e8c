"""MTCNN with facenet-pytorch's weights: image --MtcnnDetector--> boxes --best_overlap--> the box of a known face."""

import importlib.util
import math
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch

from trackertraincode.errors import ConfigError
from trackertraincode.geometry.boxes import box_iou
from trackertraincode.parts import how_to_install

MIN_IOU = 0.25  # of the detection that replaces the landmarks' box
MIN_FACE = 20  # pixels, MTCNN's usual
SMALLEST_SHARE = 0.4  # a detection with a smaller side, relative to the landmarks', can't overlap enough


class Detections(NamedTuple):
    """Faces found in one image, the largest first."""

    boxes: np.ndarray  # (N, 4) float64 x0, y0, x1, y1; pixels
    confidences: np.ndarray  # (N,) float64 in [0, 1]


def _why_not(reason: object) -> str:
    return (
        f"the face detector needs facenet-pytorch, which isn't installed or doesn't import ({reason}): "
        f"{how_to_install('convert')}; or switch the detector off where the converter has an option for it."
    )


@dataclass(frozen=True)
class MtcnnDetector:
    """MTCNN with the weights that facenet-pytorch 2.5.3 carries; nothing is downloaded.

    Small and picklable: every process loads the networks when it detects for the first time.
    """

    min_face: int = MIN_FACE  # pixels of the smallest face that is looked for
    max_edge: int = 1280  # larger images are scaled down for the detection

    def check(self) -> None:
        """Raise ConfigError, which says what to install, when the detector can't work here."""
        if importlib.util.find_spec("facenet_pytorch") is None:
            raise ConfigError(_why_not("no module named facenet_pytorch"))

    def __call__(self, image: np.ndarray) -> Detections:
        """(H, W, 3) RGB uint8 -> faces. Raises ConfigError when facenet-pytorch is missing."""
        height, width = image.shape[:2]
        scale = min(1.0, self.max_edge / max(height, width))
        if scale < 1.0:
            size = (max(1, round(width * scale)), max(1, round(height * scale)))
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        if min(image.shape[:2]) < self.min_face:
            return Detections(np.zeros((0, 4)), np.zeros(0))
        boxes, confidences = _detect(_networks(self.min_face), np.ascontiguousarray(image))
        if boxes is None:
            return Detections(np.zeros((0, 4)), np.zeros(0))
        shrunk = np.array([width / image.shape[1], height / image.shape[0]] * 2)
        return Detections(boxes.astype(np.float64) * shrunk, np.asarray(confidences, np.float64))


def _detect(networks: Any, image: np.ndarray) -> tuple[Any, Any]:
    """Boxes and confidences, (None, None) without a face. One thread, so that results don't depend on their number."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return networks.detect(image)
    except (RuntimeError, IndexError) as error:
        if "allocate" in str(error):
            raise
        return None, None  # release 2.5.3 raises these when all of its proposals lie outside of the image
    finally:
        torch.set_num_threads(threads)


@cache
def _networks(min_face: int) -> Any:
    try:
        from facenet_pytorch import MTCNN
    except (ImportError, RuntimeError) as error:  # torchvision of another torch fails with RuntimeError
        raise ConfigError(_why_not(error)) from error
    return MTCNN(keep_all=True, min_face_size=min_face).eval()


def best_overlap(boxes: np.ndarray, box: np.ndarray, min_iou: float) -> np.ndarray | None:
    """Of boxes (N, 4) the one with the largest intersection over union with `box` (4,), None unless > min_iou."""
    if len(boxes) == 0:
        return None
    overlap = box_iou(torch.as_tensor(boxes, dtype=torch.float64), torch.as_tensor(box, dtype=torch.float64))
    best = int(overlap.argmax())
    return boxes[best] if overlap[best] > min_iou else None


def refine_box(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """MTCNN's box where it finds the face of `box` (4,) in an image (H, W, 3), else `box`."""
    wanted = SMALLEST_SHARE * float((box[2:] - box[:2]).min())
    doublings = max(0, math.floor(math.log2(max(wanted, 1.0) / MIN_FACE)))  # few sizes: networks are cached
    found = MtcnnDetector(min_face=MIN_FACE * 2**doublings)(image)
    better = best_overlap(found.boxes, box, MIN_IOU)
    return box if better is None else better
