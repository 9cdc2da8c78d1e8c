"""Knowledge distillation: ONNX models whose answers on the augmented crops are labels too."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from trackertraincode.augmentation.device_batches import send
from trackertraincode.errors import ConfigError
from trackertraincode.evaluation.predictor import OnnxPredictor
from trackertraincode.losses.objective import Term
from trackertraincode.models.pose_network import NetworkConfig
from trackertraincode.sample.sample import Batch, Prediction

ANSWERS = ("rotation", "head", "face_box")  # labels (B, n) that they give
TAUGHT = ("rotation", "xy", "size", "box")  # terms of the objective that every model can teach


class Teachers:
    """Mean loss against several models' answers."""

    def __init__(self, files: Sequence[Path], student: NetworkConfig, terms: Mapping[str, Term]) -> None:
        """terms: of the objective, of which those in TAUGHT are taught.

        Raises ModelFileError for unusable files, ConfigError when a teacher wants other crops.
        """
        self._terms = {name: terms[name] for name in TAUGHT if name in terms}
        self._models = [OnnxPredictor(path) for path in files]
        for model in self._models:
            if (model.input_size, model.channels) != (student.input_size, student.channels):
                raise ConfigError(
                    f"{model.path}: takes {model.channels} × {model.input_size}² crops, the network to be trained "
                    f"{student.channels} × {student.input_size}²; choose --input-size {model.input_size}."
                )

    def loss(self, prediction: Prediction, batch: Batch) -> Tensor:
        """B rows -> (): sum of the pose and box terms with the batch's weights, mean over batch and teachers."""
        total = torch.zeros((), device=prediction.rotation.device)
        for answer in self.answers(batch.image):
            labels = replace(batch, labels=batch.labels | answer)
            terms = [term for term in self._terms.values() if term.label in answer]
            losses = (t.weight * (t.loss(prediction, labels) * batch.weight).mean() for t in terms)
            total = total + sum(losses, start=total.new_zeros(()))
        return total / len(self._models)

    def answers(self, images: Tensor) -> list[dict[str, Tensor]]:
        """Normalised crops (B, C, S, S) -> labels (B, ...) of each teacher, where the crops are.

        A GPU is waited for once, when the crops come to the host; all answers go back in one copy.
        """
        crops = images.cpu()
        given = [vars(model.predict(crops)) for model in self._models]
        told = [{name: answer[name] for name in ANSWERS if answer[name] is not None} for answer in given]
        values = [value for answer in told for value in answer.values()]
        sent = iter(send(torch.cat(values, 1), images.device).split([value.shape[1] for value in values], 1))
        return [{name: next(sent) for name in answer} for answer in told]
