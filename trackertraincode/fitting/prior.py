"""How people and expressions are spread, a Gaussian per coefficient: what fits go by where landmarks don't tell."""

from typing import NamedTuple

import numpy as np

from trackertraincode.facemodel.bfm import NAME as BFM
from trackertraincode.facemodel.embedded import NAME as EMBEDDED
from trackertraincode.facemodel.head_model import HeadModel


class Prior(NamedTuple):
    """Of the 50 coefficients of a head model."""

    mean: np.ndarray  # (50,)
    std: np.ndarray  # (50,)


# Measured on the fits that AFLW2000-3D comes with (1,600 faces); the model's own unit is far too wide for most of them.
_BFM_STD = (
    0.26, 0.17, 0.11, 0.10, 0.10, 0.075, 0.052, 0.039, 0.060, 0.044, 0.046, 0.036, 0.037, 0.030, 0.027, 0.022, 0.029,
    0.022, 0.020, 0.021, 0.018, 0.015, 0.016, 0.014, 0.016, 0.013, 0.013, 0.013, 0.013, 0.009, 0.010, 0.010, 0.009,
    0.012, 0.009, 0.007, 0.007, 0.007, 0.006, 0.008,
    0.32, 0.32, 0.19, 0.14, 0.10, 0.09, 0.12, 0.12, 0.08, 0.10,
)  # fmt: skip
_BFM_MEAN = {0: -0.065, 1: -0.048, 4: -0.050, 40: -0.25, 41: 0.06, 46: -0.06}
_EMBEDDED_MEAN = {40: 0.15, 41: 0.15, 42: 0.15}  # lids and jaw only close and open


def prior_of(model: HeadModel) -> Prior:
    """A model without measured spreads has those that it states."""
    mean, std = np.zeros(len(model.coefficient_std)), model.coefficient_std.astype(np.float64)
    known = {BFM: _BFM_MEAN, EMBEDDED: _EMBEDDED_MEAN}.get(model.name, {})
    mean[list(known)] = list(known.values())
    return Prior(mean, np.array(_BFM_STD) if model.name == BFM else std)
