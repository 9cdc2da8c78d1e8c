"""How plausible shape coefficients are: a Gaussian mixture per face model, fitted by `ttc fit-shape-prior`."""

import math
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor, nn

from trackertraincode.errors import ModelFileError
from trackertraincode.facemodel.head_model import COEFFICIENT_COUNT
from trackertraincode.files import data_dir

PACKAGED = Path(__file__).parent
NO_PRIOR = (OSError, KeyError, ValueError, TypeError, EOFError, BadZipFile)  # of other files, and of parts of one
SCALE = 1e-3  # of the negative log density, per component


def prior_path(face_model: str) -> Path | None:
    """The parameters of a face model: fitted by the user into $DATADIR, or packaged; None where neither exists."""
    name = f"shape_prior_{face_model}.npz"
    folders = ([folder] if (folder := data_dir()) else []) + [PACKAGED]
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


class ShapePrior(nn.Module):
    """Negative log density of a diagonal Gaussian mixture × 1e-3 / components."""

    log_weights: Tensor
    means: Tensor
    stds: Tensor

    def __init__(self, weights: np.ndarray, means: np.ndarray, stds: np.ndarray) -> None:
        """weights (K,), means (K, 50), stds (K, 50)."""
        super().__init__()
        self.register_buffer("log_weights", torch.from_numpy(np.log(weights)).float())
        self.register_buffer("means", torch.from_numpy(means).float())
        self.register_buffer("stds", torch.from_numpy(stds).float())

    @classmethod
    def load(cls, path: Path) -> "ShapePrior":
        """Raises ModelFileError when the file has other contents."""
        try:
            with np.load(path, allow_pickle=False) as file:
                weights, means, stds = (file[name] for name in ("weights", "means", "stds"))
            count = len(weights)
            finite = all(np.isfinite(values).all() for values in (weights, means, stds))
        except NO_PRIOR as error:
            raise ModelFileError(f"{path}: no shape prior ({error}); make it with `ttc fit-shape-prior`.") from error
        shapes = (weights.shape, means.shape, stds.shape)
        expected = ((count,), (count, COEFFICIENT_COUNT), (count, COEFFICIENT_COUNT))
        if shapes != expected or not finite or (weights <= 0).any() or (stds <= 0).any():
            raise ModelFileError(
                f"{path}: weights, means and deviations are {shapes}, expected {expected} of finite numbers, weights and "
                "deviations above 0; make it with `ttc fit-shape-prior`."
            )
        return cls(weights, means, stds)

    def forward(self, shape: Tensor) -> Tensor:
        """(B, 50) -> (B,)."""
        z = (shape[:, None] - self.means) / self.stds
        normalisation = self.stds.log().sum(-1) + 0.5 * COEFFICIENT_COUNT * math.log(2 * math.pi)
        log_density = torch.logsumexp(self.log_weights - 0.5 * z.square().sum(-1) - normalisation, dim=-1)
        return -log_density * (SCALE / len(self.log_weights))
