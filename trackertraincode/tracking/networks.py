"""ONNX files of pose network and localizer, as the tracker runs them: one picture at a time."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from trackertraincode.detection.mtcnn import MtcnnDetector
from trackertraincode.errors import ModelFileError
from trackertraincode.models.onnx_model import OnnxPoseModel, open_session

LOCALIZER_SIZE = (288, 224)  # width, height; fixed by the plugin
MIN_FACE_SIDE = 16  # pixels; smaller boxes are not accepted


@dataclass(frozen=True)
class FoundFace:
    """What the localizer says of a frame."""

    score: float  # probability of a face
    box: np.ndarray  # (4,) x0, y0, x1, y1 in pixels of the frame

    @property
    def accepted(self) -> bool:
        """Whether the tracker starts from this box."""
        return self.score > 0.5 and bool((self.box[2:] - self.box[:2] >= MIN_FACE_SIDE).all())


class LocalizerModel:
    """Finds the one face of a frame."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        self._session = open_session(path, threads)
        names = [output.name for output in self._session.get_outputs()]
        if "logit_box" not in names:
            raise ModelFileError(f"{path}: outputs are {', '.join(names)}; a localizer has `logit_box` [1, 5].")
        self._input = self._session.get_inputs()[0].name

    def __call__(self, frame: np.ndarray) -> FoundFace:
        """(H, W) uint8 grey -> score and box."""
        height, width = frame.shape
        small = cv2.resize(frame, LOCALIZER_SIZE, interpolation=cv2.INTER_AREA)
        values = small[None, None].astype(np.float32) / np.float32(255) - np.float32(0.5)
        (output,) = self._session.run(["logit_box"], {self._input: values})
        logit, *box = output[0]
        corners = (np.asarray(box) + 1.0) / 2.0 * [width, height, width, height]
        return FoundFace(float(1.0 / (1.0 + np.exp(-logit))), corners)


class MtcnnLocalizer:
    """MTCNN in place of a localizer: the largest face of a frame. Slow, but needs no file."""

    def __init__(self) -> None:
        """Raises ConfigError when facenet-pytorch, whose networks these are, isn't installed."""
        self._detector = MtcnnDetector(min_face=2 * MIN_FACE_SIDE, max_edge=640)
        self._detector.check()

    def __call__(self, frame: np.ndarray) -> FoundFace:
        """(H, W) uint8 grey -> score and box."""
        found = self._detector(cv2.cvtColor(frame, cv2.COLOR_GRAY2RGB))
        if not len(found.boxes):
            return FoundFace(0.0, np.zeros(4))
        return FoundFace(float(found.confidences[0]), found.boxes[0])


class PoseModel:
    """Any pose network of ours or OpenTrack's, one crop at a time."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        self._model = OnnxPoseModel(path, threads)
        self.input_size = self._model.input_size
        if self._model.channels != 1 or "face_box" not in self._model.fields:
            raise ModelFileError(f"{path}: tracking needs a model of grey crops that predicts a face box.")

    def __call__(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """(1, 1, S, S) float32 -> rotation (4,), head (3,), face_box (4,)… in crop coordinates."""
        return {field: values[0] for field, values in self._model.run(image).items()}
