"""ONNX files of pose network and localizer, as the tracker runs them: one image at a time."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from trackertraincode.errors import ModelFileError
from trackertraincode.localizer import SIZE
from trackertraincode.localizer.framing import framed, part_filled
from trackertraincode.localizer.model import OnnxLocalizer
from trackertraincode.models.onnx_model import OnnxPoseModel, check_plausible, unit_quaternions
from trackertraincode.pretrained import localizer
from trackertraincode.tracking.opentrack_client import PixelBox, plugin_arithmetic, scale_grey
from trackertraincode.tracking.pose import std_deg

MTCNN = "mtcnn"  # in place of a localizer's file
NOTHING = (-0.5, 0.0, 0.5)  # grey levels of crops that show nothing
MIN_FACE_SIDE = 16  # pixels of the image that the localizer looks at; smaller boxes are not accepted


@dataclass(frozen=True)
class FoundFace:
    """What the localizer says of an image."""

    score: float  # probability of a face
    box: np.ndarray  # (4,) x0, y0, x1, y1 in pixels of the image
    scale: int = 1  # pixels of the view for one of that image

    @property
    def box_in_view(self) -> PixelBox:
        """In pixels of the view's first level."""
        x0, y0, x1, y1 = (self.box * self.scale).tolist()
        return PixelBox(x0, y0, x1 - x0, y1 - y0)

    @property
    def is_face(self) -> bool:
        """Whether there is a face, of any size."""
        return self.score > 0.5

    @property
    def accepted(self) -> bool:
        """Whether the tracker starts from this box."""
        return self.is_face and bool((self.box[2:] - self.box[:2] >= MIN_FACE_SIDE).any())


class LocalizerModel:
    """Finds the one face of an image."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        """Raises ModelFileError when inputs or outputs aren't those of a localizer."""
        self._model = OnnxLocalizer(path, threads)

    @plugin_arithmetic()
    def __call__(self, image: np.ndarray) -> FoundFace:
        """(H, W) uint8 grey -> score and box. Raises ModelFileError when they make no sense.

        Localizers know images of 4:3; others are given margins, where they would be stretched.
        """
        height, width = image.shape
        inner = part_filled(width, height)
        small, (left, top) = framed(image, inner)
        answer = self._model.run(scale_grey(small, np.float32(1.0 / 255.0))[None, None])
        corner = answer[1:3]
        opposite = corner + (answer[3:5] - corner)  # rounded as by the plugin, which keeps width and height
        scale = width / inner[0], height / inner[1]
        whole = np.array([SIZE[0] * scale[0], SIZE[1] * scale[1]] * 2, np.float32)  # of the image with its margins
        margin = np.array([left * scale[0], top * scale[1]] * 2, np.float32)
        corners = 0.5 * (np.concatenate([corner, opposite]) + 1) * whole - margin
        with np.errstate(over="ignore"):
            return FoundFace(float(1.0 / (1.0 + np.exp(-answer[0]))), corners)


class MtcnnLocalizer:
    """MTCNN in place of a localizer: the largest face of an image. Slow, but needs no file."""

    def __init__(self) -> None:
        """Raises ConfigError when facenet-pytorch, whose networks these are, isn't installed."""
        from trackertraincode.detection.mtcnn import MtcnnDetector  # imports torch

        self._detector = MtcnnDetector(min_face=2 * MIN_FACE_SIDE, max_edge=640)
        self._detector.check()

    def __call__(self, image: np.ndarray) -> FoundFace:
        """(H, W) uint8 grey -> score and box."""
        found = self._detector(cv2.cvtColor(image, cv2.COLOR_GRAY2RGB))
        if not len(found.boxes):
            return FoundFace(0.0, np.zeros(4))
        return FoundFace(float(found.confidences[0]), found.boxes[0])


def make_localizer(named: str | Path, threads: int = 1) -> LocalizerModel | MtcnnLocalizer:
    """ "default", "mtcnn", or an .onnx file. Raises as the two classes do."""
    return MtcnnLocalizer() if str(named) == MTCNN else LocalizerModel(localizer(named), threads)


class PoseModel:
    """Any pose network of ours or OpenTrack's, one crop at a time."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        """Raises ModelFileError when it isn't one of grey crops with a face box."""
        self._model = OnnxPoseModel(path, threads)
        self.input_size = self._model.input_size
        if self._model.channels != 1 or "face_box" not in self._model.fields:
            raise ModelFileError(f"{path}: tracking needs a model of grey crops that predicts a face box.")

    def __call__(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """(1, 1, S, S) float32 -> rotation (4,), head (3,), face_box (4,)… in crop coordinates.

        Raises ModelFileError when they make no sense.
        """
        answer = {field: values[0] for field, values in self._model.run(image).items()}
        for field in ("head", "face_box"):
            check_plausible(self._model.path, field, answer[field])
        answer["rotation"] = unit_quaternions(self._model.path, answer["rotation"])
        return answer

    @cached_property
    def std_of_nothing_deg(self) -> float | None:
        """Mean predicted deviation of the rotation in crops that show nothing, degrees: how unsure this model can be."""
        crops = [np.full((1, 1, self.input_size, self.input_size), level, np.float32) for level in NOTHING]
        factors = [self(crop).get("rotation_tril") for crop in crops]
        known = [std_deg(factor).mean() for factor in factors if factor is not None]
        return float(np.mean(known)) if known else None
