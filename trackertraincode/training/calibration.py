"""After training: one factor per predicted uncertainty, so that its regions hold their share of validation errors.

Scaled errors are squared Mahalanobis lengths, so the 50, 90 and 95 % quantiles of chi² say how long they should be. The
factor is the geometric mean of the three ratios: it can't fix the shape of the distribution, only its width.
"""

import math
from collections.abc import Iterable

import torch
from scipy.stats import chi2
from torch import Tensor

from trackertraincode.losses.likelihood import rotation_error
from trackertraincode.models.pose_network import PoseNetwork
from trackertraincode.sample.sample import Batch, Prediction

LEVELS = (0.5, 0.9, 0.95)
MIN_ROWS = 50  # fewer errors say nothing of their 95 % quantile


@torch.no_grad()
def calibrate(network: PoseNetwork, batches: Iterable[Batch]) -> dict[str, float]:
    """Set the calibration factors of a network by normalised batches on its device; returns them by field.

    What has too few labelled rows keeps its factor.
    """
    network.eval()
    errors: dict[str, list[Tensor]] = {}
    for batch in batches:
        for name, values in scaled_errors(network(batch.image), batch).items():
            errors.setdefault(name, []).append(values.cpu())
    factors = {}
    for name, parts in errors.items():
        values = torch.cat(parts)
        if len(values) < MIN_ROWS:
            continue
        freedom = values.shape[1]
        squared = values.square().sum(-1).double()
        ratios = [squared.quantile(level).item() / chi2.ppf(level, freedom) for level in LEVELS]
        factors[name] = math.exp(sum(math.log(max(r, 1e-12)) for r in ratios) / len(ratios) / 2)
        getattr(network, name).calibration *= factors[name]
    return factors


def scaled_errors(prediction: Prediction, batch: Batch) -> dict[str, Tensor]:
    """Errors in units of the predicted uncertainty: (rows, 3) of pose, (elements, 1) of box and landmarks."""
    found: dict[str, Tensor] = {}
    for name, label, error in (
        ("rotation_tril", "rotation", rotation_error(prediction.rotation, batch.rotation)),
        ("head_tril", "head", batch.head - prediction.head),
    ):
        factor = getattr(prediction, name)
        if factor is not None:
            rows = batch.present(label)
            found[name] = torch.linalg.solve_triangular(factor[rows], error[rows][..., None], upper=False)[..., 0]
    for name, label in (("face_box_scale", "face_box"), ("landmarks_scale", "landmarks"), ("shape_scale", "shape")):
        scale, value = getattr(prediction, name), getattr(prediction, label)
        if scale is not None and value is not None:
            scaled = ((getattr(batch, label) - value) / scale).flatten()
            found[name] = scaled[torch.isfinite(scaled)][:, None]
    return {name: values for name, values in found.items() if len(values)}
