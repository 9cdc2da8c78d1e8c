"""Uncertainty: lower triangular factors from features, or learned constants; all diagonals positive."""

import torch
from torch import Tensor, nn

from trackertraincode.models.heads import positive

MIN_SCALE = 1e-6
INITIAL_FACTOR = 0.2  # radians, or half crop edges: about the errors of an untrained network
_ROWS, _COLUMNS = zip((0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2))
_DIAGONAL = (0, 2, 5)  # places of the diagonal among the six numbers


class TriangularFactor(nn.Module):
    """L of the covariance L Lᵀ of three numbers, from features, times one learned positive factor.

    `calibration` is a constant factor that a fit on validation errors sets after training.
    """

    calibration: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, 6)
        nn.init.normal_(self.linear.weight, std=0.01)
        nn.init.zeros_(self.linear.bias)
        self.factor = nn.Parameter(torch.tensor(INITIAL_FACTOR).log())  # positive(log f) = f for f <= 1
        self.register_buffer("calibration", torch.ones(()))

    def forward(self, features: Tensor) -> Tensor:
        """(B, F) -> (B, 3, 3), upper part exactly 0."""
        x = self.linear(features)
        values = [positive(v) + MIN_SCALE if i in _DIAGONAL else v for i, v in enumerate(x.unbind(-1))]
        zero = torch.zeros_like(values[0])
        entries = {(r, c): v for r, c, v in zip(_ROWS, _COLUMNS, values)}
        rows = [torch.stack([entries.get((r, c), zero) for c in range(3)], dim=-1) for r in range(3)]
        return torch.stack(rows, dim=-2) * (positive(self.factor) * self.calibration)


class ConstantScale(nn.Module):
    """Learned standard deviations that are the same for all images."""

    calibration: Tensor

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.full(shape, INITIAL_FACTOR).log())
        self.register_buffer("calibration", torch.ones(()))

    def forward(self, count: int) -> Tensor:
        """(count, *shape)."""
        scale = (positive(self.raw) + MIN_SCALE) * self.calibration
        return scale.expand(count, *scale.shape)


UNCERTAINTY = (TriangularFactor, ConstantScale)
