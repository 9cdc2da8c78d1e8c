"""What models say of faces in images of any size.

encoded images, boxes --a crop per model and face--> Predictor --> Prediction in pixels of each image
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from torch import Tensor

from trackertraincode.augmentation.units import channels_first, normalize
from trackertraincode.errors import UserError
from trackertraincode.evaluation.crops import to_pixels
from trackertraincode.evaluation.framing import SQUARE
from trackertraincode.evaluation.predictor import Predictor, choose_device, load_predictor
from trackertraincode.files import fingerprint
from trackertraincode.pretrained import pose_network
from trackertraincode.sample.images import decode
from trackertraincode.sample.sample import Prediction


@cache
def models_of(paths: tuple[Path, ...], device: str = "cpu") -> tuple[Predictor, ...]:
    """Loaded once per process; each computes with one thread. Raises ModelFileError, EvaluationError without the device."""
    return tuple(load_predictor(path, choose_device(device), threads=1) for path in paths)


def check_different(paths: Sequence[Path]) -> None:
    """Raise UserError where two models are the same file or copies of it, which agree whatever they say."""
    seen: dict[str, Path] = {}
    for named in paths:
        path = pose_network(named)
        if not path.is_file():
            continue  # which loading it tells
        first = seen.setdefault(fingerprint(path)["sampled_sha256"], named)
        if first is not named:
            raise UserError(f"{named}: is the same model as {first}, which agrees with itself; name each model once.")


def answers(models: Sequence[Predictor], images: Sequence[bytes], boxes: Tensor, factor: float) -> list[Prediction]:
    """One prediction of B rows per model. boxes: (B, 4) pixels. Raises ImageDecodeError, ModelFileError."""
    rectangles = SQUARE.rectangles(boxes, factor)
    crops: list[list[np.ndarray]] = [[] for _ in models]
    for data, rectangle in zip(images, rectangles.numpy()):
        decoded = {channels: decode(data, color=channels == 3) for channels in {m.channels for m in models}}
        for model, cut in zip(models, crops):
            cut.append(SQUARE.cut(decoded[model.channels], rectangle, model.input_size))
    shown = SQUARE.shown(rectangles)
    return [
        to_pixels(model.predict(normalize(channels_first(np.stack(cut)))), shown) for model, cut in zip(models, crops)
    ]
