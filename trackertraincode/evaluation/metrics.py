"""Error measures as pure functions, one value per sample, and their summaries."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from trackertraincode.geometry.euler import matrix_to_aflw
from trackertraincode.geometry.rotation import quat_geodesic_angle, quat_to_matrix

LEVELS = (0.5, 0.9, 0.95)  # of predicted regions whose coverage is counted, and whose radii models tell
YAW_BINS = ((0.0, 30.0), (30.0, 60.0), (60.0, 90.0))  # degrees, of the NME in the image


def wrapped_difference(a: Tensor, b: Tensor) -> Tensor:
    """|((a - b + π) mod 2π) - π|, radians in [0, π], of the shape of a and b; exactly 0 for equal angles."""
    return (torch.remainder(a - b + math.pi, 2 * math.pi) - math.pi).abs()


def folded_difference(a: Tensor, b: Tensor) -> Tensor:
    """The historical measure that takes the smallest of |a - b|, |a - b ± 180°|, |a - b ± 360°|; radians, of
    the shape of a and b.

    It forgives a pose that is upside down, so only a protocol that has it in its name may use it.
    """
    return torch.stack([(a - b + k * math.pi).abs() for k in (-2, -1, 0, 1, 2)]).amin(0)


def euler_errors(predicted: Tensor, true: Tensor) -> Tensor:
    """(B, 4) unit quaternions -> (B, 3) absolute errors of pitch, yaw, roll in AFLW's convention; degrees."""
    a, b = (matrix_to_aflw(quat_to_matrix(q.double())) for q in (predicted, true))
    return torch.rad2deg(wrapped_difference(a, b))


def folded_euler_errors(predicted: Tensor, true: Tensor) -> Tensor:
    """(B, 4) -> (B, 3) degrees: `euler_errors` with the historical folding."""
    a, b = (matrix_to_aflw(quat_to_matrix(q.double())) for q in (predicted, true))
    return torch.rad2deg(folded_difference(a, b))


def geodesic_errors(predicted: Tensor, true: Tensor) -> Tensor:
    """(B, 4) unit quaternions -> (B,) degrees; exactly 0 for q and ±q, exactly 180 for opposite rotations."""
    return torch.rad2deg(quat_geodesic_angle(predicted.double(), true.double()))


def axis_errors(predicted: Tensor, true: Tensor) -> Tensor:
    """(B, 4) -> (B,) mean absolute angle between the three axes of both rotation matrices (MAEV); degrees."""
    a, b = (quat_to_matrix(q.double()) for q in (predicted, true))
    sine = torch.linalg.cross(a, b, dim=-2).norm(dim=-2)
    return torch.rad2deg(torch.atan2(sine, (a * b).sum(-2))).mean(-1)


def normalized_mean_errors(predicted: Tensor, true: Tensor, dimensions: int) -> Tensor:
    """(B, 68, 3) pixels -> (B,) mean distance / sqrt(w h) of the true landmarks' box.

    dimensions: 2 or 3; depths are centred on their means first.
    """
    size = true[..., :2].amax(-2) - true[..., :2].amin(-2)
    a, b = (torch.cat([p[..., :2], p[..., 2:] - p[..., 2:].mean(-2, keepdim=True)], dim=-1) for p in (predicted, true))
    return (a - b)[..., :dimensions].norm(dim=-1).mean(-1) / size.prod(-1).sqrt()


def binned_mean(values: Tensor, yaw_degrees: Tensor) -> float:
    """Mean of the means of (B,) values in the bins of |yaw|, (B,); NaN values don't count, NaN when a bin is empty."""
    means = []
    for low, high in YAW_BINS:
        inside = (yaw_degrees.abs() >= low) & (yaw_degrees.abs() < high)
        means.append(values[inside].nanmean().item())
    return sum(means) / len(means)


def rmse(values: Tensor) -> float:
    """Root of the mean square of (B,) values."""
    return values.square().mean().sqrt().item()


def coverage(scaled: Tensor, levels: Sequence[float] = LEVELS, radii: Sequence[float] | None = None) -> list[float]:
    """Share of errors inside the predicted regions. scaled: (B, k) errors in units of their uncertainty, L⁻¹ e.

    radii: of the regions of these levels, as a model tells them; None: those of a Gaussian.
    """
    from scipy.special import gammaincinv

    lengths, half = scaled.double().norm(dim=-1), scaled.shape[-1] / 2
    # Quantiles of chi², without scipy.stats, whose import takes longer than many evaluations.
    limits = [math.sqrt(2 * gammaincinv(half, level)) for level in levels] if radii is None else radii
    return [(lengths <= limit).double().mean().item() for limit in limits]


def bootstrap_interval(values: Tensor) -> tuple[float, float]:
    """95 % confidence interval of the mean of (B,) values, by drawing as many of them a thousand times."""
    generator = torch.Generator().manual_seed(0)
    draws = (torch.randint(len(values), (len(values),), generator=generator) for _ in range(1000))
    means = torch.stack([values[picks].mean() for picks in draws])  # one by one, in the memory of one
    low, high = means.quantile(torch.tensor([0.025, 0.975], dtype=means.dtype)).tolist()
    return low, high
