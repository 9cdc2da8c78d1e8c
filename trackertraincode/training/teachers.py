"""Knowledge distillation: ONNX models whose answers on the augmented crops are labels too."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from trackertraincode.errors import ConfigError
from trackertraincode.evaluation.predictor import OnnxPredictor
from trackertraincode.losses.objective import TERMS
from trackertraincode.models.pose_network import NetworkConfig
from trackertraincode.sample.sample import Batch, Prediction

TAUGHT = ("rotation", "xy", "size", "box")  # terms of the objective that every model can teach


class Teachers:
    """Mean loss against several models' answers."""

    def __init__(self, files: Sequence[Path], student: NetworkConfig, *, boxes: bool) -> None:
        """boxes: whether they teach face boxes.

        Raises ModelFileError for unusable files, ConfigError when a teacher wants other crops.
        """
        self._boxes = boxes
        self._models = [OnnxPredictor(path) for path in files]
        for model in self._models:
            if (model.input_size, model.channels) != (student.input_size, student.channels):
                raise ConfigError(
                    f"{model.path}: takes {model.channels} × {model.input_size}² crops, the network to be trained "
                    f"{student.channels} × {student.input_size}²; choose --input-size {model.input_size}."
                )

    def loss(self, prediction: Prediction, batch: Batch) -> Tensor:
        """B rows -> (): sum of the pose and box terms, mean over batch and teachers."""
        device = prediction.rotation.device
        total, images = torch.zeros((), device=device), batch.image.cpu()
        for model in self._models:
            answer = model.predict(images).to(device)
            labels = replace(
                batch, labels=batch.labels | {n: getattr(answer, n) for n in ("rotation", "head", "face_box")}
            )
            boxes = self._boxes and answer.face_box is not None
            terms = [TERMS[name] for name in TAUGHT if name != "box" or boxes]
            total = total + sum(
                (t.weight * t.loss(prediction, labels).mean() for t in terms), start=total.new_zeros(())
            )
        return total / len(self._models)
