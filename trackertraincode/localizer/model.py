"""Localizers in ONNX files, ours or OpenTrack's."""

from pathlib import Path

import numpy as np

from trackertraincode.errors import ModelFileError
from trackertraincode.localizer import SIZE
from trackertraincode.models.onnx_model import LOCALIZER_OUTPUT, check_plausible, open_session


class OnnxLocalizer:
    """Runs a localizer on one image."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        """Raises ModelFileError when inputs or outputs aren't those of a localizer."""
        self.path, self._session = path, open_session(path, threads)
        outputs = {output.name: output for output in self._session.get_outputs()}
        if LOCALIZER_OUTPUT not in outputs:
            raise ModelFileError(
                f"{path}: outputs are {', '.join(outputs)}; a localizer has `{LOCALIZER_OUTPUT}` [1, 5]."
            )
        inputs = self._session.get_inputs()
        shape = (1, 1, SIZE.height, SIZE.width)
        if len(inputs) != 1 or not _fits(inputs[0], shape):
            found = ", ".join(f"{i.type} {i.shape}" for i in inputs)
            raise ModelFileError(f"{path}: inputs are {found}; a localizer has one, tensor(float) {list(shape)}.")
        if not _fits(outputs[LOCALIZER_OUTPUT], (1, 5)):
            found = f"{outputs[LOCALIZER_OUTPUT].type} {outputs[LOCALIZER_OUTPUT].shape}"
            raise ModelFileError(f"{path}: output `{LOCALIZER_OUTPUT}` is {found}, expected tensor(float) [1, 5].")
        self._input = inputs[0].name

    def run(self, values: np.ndarray) -> np.ndarray:
        """(1, 1, H, W) float32 -> (5,) face logit and box in [-1, 1]. Raises ModelFileError when they make no sense."""
        try:
            (output,) = self._session.run([LOCALIZER_OUTPUT], {self._input: values})
        except Exception as error:  # onnxruntime's errors have no common base class
            raise ModelFileError(f"{self.path}: can't be computed ({str(error).splitlines()[0][:200]}).") from error
        if output.shape != (1, 5):
            raise ModelFileError(f"{self.path}: output {LOCALIZER_OUTPUT} has shape {output.shape}, expected (1, 5).")
        if np.isnan(output[0, 0]):
            raise ModelFileError(f"{self.path}: output {LOCALIZER_OUTPUT} isn't finite; the model is damaged.")
        check_plausible(self.path, LOCALIZER_OUTPUT, output[0, 1:])
        return output[0]


def _fits(value: object, shape: tuple[int, ...]) -> bool:
    """Whether an in- or output of ONNX Runtime is float32 and has this shape, as far as it is fixed."""
    found = list(value.shape)  # type: ignore[attr-defined]
    same = len(found) == len(shape) and all(n == m or not isinstance(n, int) for n, m in zip(found, shape))
    return same and value.type == "tensor(float)"  # type: ignore[attr-defined]
