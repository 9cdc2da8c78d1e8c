"""Losses of the 68 landmarks, one value per sample."""

import torch
from torch import Tensor

from trackertraincode.facemodel.landmarks68 import COUNT, JAW, LID_POINTS
from trackertraincode.geometry.constants import constant

JAW_WEIGHT = 0.8  # of jaw points other than its two ends (published recipe)


def _weights(jaw: float, ends: float) -> tuple[float, ...]:
    """(68,); jaw: of its points but the two ends."""
    weights = [1.0] * COUNT
    for point in JAW:
        weights[point] = ends if point in (JAW[0], JAW[-1]) else jaw
    for point in LID_POINTS:
        weights[point] = 0.0
    return tuple(weights)


WEIGHTS_3D = _weights(JAW_WEIGHT, 1.0)
WEIGHTS_2D = _weights(0.0, 0.0)  # 2-D jaws follow the visible contour


def landmarks_loss(predicted: Tensor, true: Tensor) -> Tensor:
    """Weighted squared distances, sum over points / 68. (B, 68, 3) -> (B,).

    Depths that are NaN in the labels don't count: only x and y are compared there.
    """
    known = torch.isfinite(true)
    difference = predicted - torch.where(known, true, predicted.detach())
    return _weighted(difference, WEIGHTS_3D)


def landmarks_2d_loss(predicted: Tensor, true: Tensor) -> Tensor:
    """Weighted squared distances in the image, without the jaw, sum over points / 68.

    predicted (B, 68, 2 or 3), true (B, 68, 2) -> (B,).
    """
    difference = predicted[..., :2] - true
    return _weighted(difference, WEIGHTS_2D)


def _weighted(difference: Tensor, weights: tuple[float, ...]) -> Tensor:
    """(B, 68, 2 or 3) -> (B,)."""
    factors = constant(weights, difference.device, difference.dtype)
    return (difference.square().sum(-1) * factors).sum(-1) / COUNT
