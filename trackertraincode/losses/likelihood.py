"""Negative log likelihoods, one value per sample: Gaussians, mixed with a little of the uniform distribution.

The uniform part keeps the loss of an outlier bounded, so that wrong labels can't inflate the predicted uncertainty.
"""

import math

import torch
from torch import Tensor

from trackertraincode.geometry.rotation import quat_conjugate, quat_multiply, quat_to_rotvec

UNIFORM_SHARE = 1e-3
ROTATION_VOLUME = 4.0 * math.pi**4 / 3.0  # of the ball of rotation vectors, radius pi
LOG_2PI = math.log(2.0 * math.pi)
HEAD_VOLUME = 4.0  # x and y in [-1, 1], size in [0, 1]


def rotation_error(predicted: Tensor, true: Tensor) -> Tensor:
    """(B, 4), (B, 4) -> (B, 3): the rotation vector, in the image frame, that turns the prediction into the label."""
    return quat_to_rotvec(quat_multiply(true, quat_conjugate(predicted)))


def rotation_nll(predicted: Tensor, tril: Tensor, true: Tensor) -> Tensor:
    """Joint density of the rotation vector from prediction to label. (B, 4), (B, 3, 3), (B, 4) -> (B,)."""
    return _mixture_nll(_gaussian_log_density(rotation_error(predicted, true), tril), ROTATION_VOLUME)


def head_nll(predicted: Tensor, tril: Tensor, true: Tensor) -> Tensor:
    """Joint density of x, y and size. (B, 3), (B, 3, 3), (B, 3) -> (B,)."""
    return _mixture_nll(_gaussian_log_density(true - predicted, tril), HEAD_VOLUME)


def elements_nll(predicted: Tensor, scale: Tensor, true: Tensor) -> Tensor:
    """Independent Gaussians, mean over the elements of a row that are known. (B, ...) three times -> (B,)."""
    known = torch.isfinite(true)
    target = torch.where(known, true, predicted.detach())
    values = (target - predicted).square() / (2 * scale.square()) + scale.log() + 0.5 * LOG_2PI
    return (values * known).flatten(1).sum(-1) / known.flatten(1).sum(-1).clamp_min(1)


def _gaussian_log_density(error: Tensor, tril: Tensor) -> Tensor:
    """(B, 3) errors, (B, 3, 3) factors of their covariances -> (B,)."""
    distance = torch.linalg.solve_triangular(tril, error[..., None], upper=False).square().sum((-2, -1))
    return -0.5 * (3 * LOG_2PI + distance) - tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)


def _mixture_nll(log_density: Tensor, volume: float) -> Tensor:
    """(B,) log densities, mixed with a uniform one over `volume` -> (B,)."""
    uniform = torch.full_like(log_density, math.log(UNIFORM_SHARE / volume))
    return -torch.logaddexp(log_density + math.log1p(-UNIFORM_SHARE), uniform)
