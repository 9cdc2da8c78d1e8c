"""Localizers in files, ours or OpenTrack's, as functions of images."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from trackertraincode.errors import ModelFileError
from trackertraincode.localizer import SIZE
from trackertraincode.localizer.network import load_localizer
from trackertraincode.models.onnx_model import LOCALIZER_OUTPUT, open_session

Predict = Callable[[Tensor], Tensor]  # (B, 1, 224, 288) -> (B, 5) face logit, box in [-1, 1]


def load_predict(path: Path) -> Predict:
    """A localizer's .ckpt or .onnx. Raises ModelFileError for anything else."""
    if path.suffix == ".ckpt":
        return load_localizer(path)
    session = open_session(path)
    shape, names = session.get_inputs()[0].shape, [output.name for output in session.get_outputs()]
    if LOCALIZER_OUTPUT not in names or shape[1:] != [1, SIZE.height, SIZE.width]:
        raise ModelFileError(f"{path}: takes {shape} and gives {', '.join(names)}; a localizer takes [1, 1, 224, 288], "
                             "gives logit_box.")  # fmt: skip
    name = session.get_inputs()[0].name

    def predict(images: Tensor) -> Tensor:
        answers = [session.run([LOCALIZER_OUTPUT], {name: image[None].numpy()})[0] for image in images]
        return torch.from_numpy(np.concatenate(answers))

    return predict
