"""ONNX files of pose network and localizer, as the tracker runs them: one picture at a time."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from trackertraincode.errors import ModelFileError

LOCALIZER_SIZE = (288, 224)  # width, height; fixed by the plugin
MIN_FACE_SIDE = 16  # pixels; smaller boxes are not accepted

_POSE_NAMES = {  # what -> the plugin's name, the full model's name
    "quat": ("quat", "pose"),
    "head": ("pos_size", "coord"),
    "box": ("box", "roi"),
}
_OPTIONAL_NAMES = {
    "rotation_tril": ("rotaxis_scales_tril", "pose_scales_tril", "rotaxis_std"),
    "head_tril": ("pos_size_scales_tril", "coord_scales_tril"),
    "landmarks": ("pt3d_68",),
}


@dataclass(frozen=True)
class FoundFace:
    """What the localizer says of a frame."""

    score: float  # probability of a face
    box: np.ndarray  # (4,) x0, y0, x1, y1 in pixels of the frame

    @property
    def accepted(self) -> bool:
        """Whether the tracker starts from this box."""
        return self.score > 0.5 and bool((self.box[2:] - self.box[:2] >= MIN_FACE_SIDE).all())


def open_session(path: Path, threads: int = 1) -> Any:
    """An ONNX Runtime session on the CPU. Raises ModelFileError for what is no runnable model."""
    import onnxruntime

    if not path.is_file():
        raise ModelFileError(f"{path}: no such file; give the path of an .onnx model.")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has no common base class for what a file can do wrong
        reason = str(error).splitlines()[0]
        raise ModelFileError(f"{path}: ONNX Runtime can't load it ({reason}); export the model again.") from error


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


class PoseModel:
    """Any pose network of ours or OpenTrack's; outputs under one set of names."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        self._session = open_session(path, threads)
        inputs = self._session.get_inputs()
        shape = inputs[0].shape
        if len(inputs) != 1 or len(shape) != 4 or shape[1] != 1 or not isinstance(shape[2], int):
            raise ModelFileError(
                f"{path}: input {[i.shape for i in inputs]}, expected one of [1, 1, H, W]; export with export_model.py."
            )
        self._input = inputs[0].name
        self.input_size: int = shape[2]
        names = {output.name for output in self._session.get_outputs()}
        self._outputs = {key: next((n for n in known if n in names), None) for key, known in _POSE_NAMES.items()}
        if None in self._outputs.values():
            missing = [" or ".join(_POSE_NAMES[key]) for key, name in self._outputs.items() if name is None]
            raise ModelFileError(f"{path}: output {missing[0]} is missing; found {', '.join(sorted(names))}.")
        for key, known in _OPTIONAL_NAMES.items():
            if found := next((n for n in known if n in names), None):
                self._outputs[key] = found

    def __call__(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """(1, 1, S, S) float32 -> quat (4,), head (3,), box (4,) and what else the file has, in crop coordinates."""
        values = self._session.run(list(self._outputs.values()), {self._input: image})
        return {key: value[0] for key, value in zip(self._outputs, values)}
