"""Losses of rotations, one value per sample. q and -q are the same rotation."""

import torch
from torch import Tensor

from trackertraincode.geometry.rotation import quat_geodesic_angle


def rotation_loss(predicted: Tensor, true: Tensor) -> Tensor:
    """1 - <q, q'>², sin² of half the angle. (B, 4) unit quaternions -> (B,) in [0, 1].

    The published 6-D loss, 0.75 - 0.25 tr(R R'ᵀ), is the same number, as tr(R R'ᵀ) = 4 <q, q'>² - 1.
    """
    return 1.0 - (predicted * true).sum(-1).square()


def geodesic_loss(predicted: Tensor, true: Tensor) -> Tensor:
    """The angle between (B, 4) unit quaternions, radians -> (B,), with a finite gradient everywhere."""
    return quat_geodesic_angle(predicted, true)


def quaternion_norm_loss(raw: Tensor) -> Tensor:
    """(|q|² - 1)² of what the network gave before normalising. (B, 4) -> (B,)."""
    return (raw.square().sum(-1) - 1.0).square()


def orthonormality_loss(raw: Tensor) -> Tensor:
    """Squared Frobenius norm of M Mᵀ - 1 for the two vectors M of the six numbers. (B, 6) -> (B,)."""
    vectors = raw.unflatten(-1, (2, 3))
    gram = vectors @ vectors.transpose(-1, -2) - torch.eye(2, device=raw.device, dtype=raw.dtype)
    return gram.square().sum((-2, -1))


def soft_constraint(raw: Tensor) -> Tensor:
    """Keeps the raw numbers of a rotation head near the valid ones. (B, 4) or (B, 6) -> (B,)."""
    return quaternion_norm_loss(raw) if raw.shape[-1] == 4 else orthonormality_loss(raw)
