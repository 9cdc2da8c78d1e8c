"""Losses of the 68 landmarks, one value per sample."""

import torch
from torch import Tensor

from trackertraincode.facemodel.landmarks68 import COUNT, JAW, LID_POINTS

JAW_WEIGHT = 0.8  # of jaw points other than its two ends (published recipe)


def _weights(jaw: float) -> Tensor:
    """(68,); jaw: of its points but the two ends."""
    weights = torch.ones(COUNT)
    weights[JAW[1] : JAW[-1]] = jaw
    weights[list(LID_POINTS)] = 0.0
    return weights


WEIGHTS_3D = _weights(JAW_WEIGHT)  # (68,)
WEIGHTS_2D = _weights(0.0).index_fill(0, torch.tensor(list(JAW)), 0.0)  # (68,); 2-D jaws follow the visible contour


def landmarks_loss(predicted: Tensor, true: Tensor) -> Tensor:
    """Weighted squared distances, sum over points / 68. (B, 68, 3) -> (B,).

    Depths that are NaN in the labels don't count: only x and y are compared there.
    """
    known = torch.isfinite(true)
    difference = predicted - torch.where(known, true, predicted.detach())
    return (difference.square().sum(-1) * WEIGHTS_3D.to(predicted)).sum(-1) / COUNT


def landmarks_2d_loss(predicted: Tensor, true: Tensor) -> Tensor:
    """Weighted squared distances in the image, without the jaw, sum over points / 68.

    predicted (B, 68, 2 or 3), true (B, 68, 2) -> (B,).
    """
    difference = predicted[..., :2] - true
    return (difference.square().sum(-1) * WEIGHTS_2D.to(predicted)).sum(-1) / COUNT
