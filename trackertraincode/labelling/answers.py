"""What models say of faces in images of any size.

encoded images, boxes --a crop per model and face--> Predictor --> Prediction in pixels of each image
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from trackertraincode.augmentation.units import normalize
from trackertraincode.evaluation.crops import to_pixels
from trackertraincode.evaluation.framing import SQUARE
from trackertraincode.evaluation.predictor import Predictor, load_predictor
from trackertraincode.sample.images import decode
from trackertraincode.sample.sample import Prediction

FACTOR = 1.1  # crop edge / longer box side, as most protocols and OpenTrack have it


@cache
def models_of(paths: tuple[Path, ...], device: str = "cpu") -> tuple[Predictor, ...]:
    """Loaded once per process; each computes with one thread. Raises ModelFileError."""
    return tuple(load_predictor(path, device, threads=1) for path in paths)


def answers(models: Sequence[Predictor], images: Sequence[bytes], boxes: Tensor, factor: float) -> list[Prediction]:
    """One prediction of B rows per model. boxes: (B, 4) pixels. Raises ImageDecodeError, ModelFileError."""
    rectangles = SQUARE.rectangles(boxes, factor)
    decoded: dict[int, list[np.ndarray]] = {}
    found = []
    for model in models:
        if model.channels not in decoded:
            decoded[model.channels] = [decode(image, color=model.channels == 3) for image in images]
        pairs = zip(decoded[model.channels], rectangles.numpy())
        crops = torch.from_numpy(np.stack([SQUARE.cut(image, box, model.input_size) for image, box in pairs]))
        crops = crops[:, None] if crops.ndim == 3 else crops.permute(0, 3, 1, 2).contiguous()
        found.append(to_pixels(model.predict(normalize(crops)), SQUARE.shown(rectangles)))
    return found
