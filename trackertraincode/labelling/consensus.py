"""What several models say together, how far they are apart, and how sure they are.

predictions in pixels, one per model --consensus--> mean labels, measures (fields of a sample that rows are chosen by)
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from trackertraincode.evaluation.metrics import geodesic_errors
from trackertraincode.evaluation.predictor import Predictor, mean_prediction
from trackertraincode.facemodel.landmarks68 import EYE_CORNERS
from trackertraincode.geometry.camera import HEAD_RADIUS_MM
from trackertraincode.sample.sample import Prediction

LENGTHS = ("head", "landmarks")  # whose spread is in mm


@dataclass(frozen=True)
class Consensus:
    """Of B faces."""

    mean: Prediction  # pixels
    measures: dict[str, Tensor]  # attribute of a sample -> (B,) float64; spreads only of several models


def consensus(answers: Sequence[Prediction], face_model: str | None) -> Consensus:
    """face_model: of the coefficients, None: they are left out."""
    mean = mean_prediction([replace(a, landmarks=_centered(a.landmarks)) for a in answers])
    shapes = [a.shape for a in answers if a.shape is not None]
    shape = torch.stack(shapes).mean(0) if shapes and face_model is not None else None
    unit = HEAD_RADIUS_MM / mean.head[:, 2].double().clamp_min(1e-6)  # mm per pixel
    measures = _uncertainties(answers, unit)
    if len(answers) > 1:
        measures |= _spreads(answers, mean, unit)
    return Consensus(replace(mean, shape=shape), measures)


def try_models(models: Sequence[Predictor]) -> tuple[Consensus, str | None]:
    """What the models say of a black image, which tells the fields that they give, and whose coefficients these have.

    None where they give none, those of several face models, or it isn't known. Raises ModelFileError.
    """
    said = [m.predict(torch.zeros(1, m.channels, m.input_size, m.input_size)) for m in models]
    names = {model.about.get("face_model") for model, answer in zip(models, said) if answer.shape is not None}
    face_model = names.pop() if len(names) == 1 else None
    return consensus(said, face_model), face_model


def _spreads(answers: Sequence[Prediction], mean: Prediction, unit: Tensor) -> dict[str, Tensor]:
    found = {"rotation_spread": _rms([geodesic_errors(a.rotation, mean.rotation) for a in answers])}
    for name in LENGTHS:
        values = [v.double() for a in answers if (v := getattr(a, name)) is not None]
        if len(values) > 1:
            center = torch.stack(values).mean(0)
            found[f"{name}_spread"] = unit * _rms([_per_point(v - center) for v in values])
    return found


def _uncertainties(answers: Sequence[Prediction], unit: Tensor) -> dict[str, Tensor]:
    """From factors L of covariances, trace(L Lᵀ) = Σ L², and from deviations of each coordinate."""
    found = {}
    for name, scale, factor in (
        ("rotation", "rotation_tril", torch.full_like(unit, 180 / torch.pi)),
        ("head", "head_tril", unit),
        ("landmarks", "landmarks_scale", unit),
    ):
        values = [v.double() for a in answers if (v := getattr(a, scale)) is not None]
        if values:
            flat = [v if name == "landmarks" else v.flatten(1)[:, None] for v in values]
            found[f"{name}_uncertainty"] = factor * _rms([_per_point(v) for v in flat])
    return found


def _per_point(difference: Tensor) -> Tensor:
    """(B, D) or (B, N, D) -> (B,) root of the mean squared length."""
    squares = difference.square().sum(-1)
    return squares.reshape(len(squares), -1).mean(-1).sqrt()


def _rms(values: Sequence[Tensor]) -> Tensor:
    """(B,) each -> (B,)."""
    return torch.stack([v.double() for v in values]).square().mean(0).sqrt()


def _centered(landmarks: Tensor | None) -> Tensor | None:
    """(B, 68, 3) with the mean z of the eye corners at 0, as files have it."""
    if landmarks is None:
        return None
    depth = landmarks[..., 2:] - landmarks[:, list(EYE_CORNERS), 2:].mean(1, keepdim=True)
    return torch.cat([landmarks[..., :2], depth], dim=-1)
