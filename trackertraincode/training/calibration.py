"""After training: how large the regions are that hold 50, 90 and 95 % of the errors, measured on validation rows.

    errors / predicted uncertainty --quantiles--> one factor per uncertainty, in the weights: the best Gaussian widths
                                              +--> radii of the regions, in `About.regions`: exact for any distribution

Scaled errors would be squared Mahalanobis lengths with chi² quantiles if they were Gaussian; the factor is the geometric
mean of the three ratios. It can't fix the tails of the distribution, so each level has its own radius too (split
conformal prediction, Papadopoulos et al. 2002: valid for new rows of the same kind, whatever their distribution).
"""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from scipy.stats import chi2
from torch import Tensor, nn

from trackertraincode.evaluation.metrics import LEVELS
from trackertraincode.losses.likelihood import rotation_error
from trackertraincode.sample.sample import Batch, Prediction

MIN_ROWS = 50  # errors of fewer faces say nothing of their 95 % quantile
LABELS = {  # uncertainty -> label whose errors it is of
    "rotation_tril": "rotation", "head_tril": "head", "face_box_scale": "face_box", "landmarks_scale": "landmarks",
    "shape_scale": "shape",
}  # fmt: skip


@dataclass(frozen=True)
class CalibratedRegions:
    """By field of Prediction; what had too few labelled rows is missing."""

    factors: dict[str, float]  # that the uncertainties were multiplied with
    regions: dict[str, list[float]]  # radii of LEVELS in units of the new uncertainties (Mahalanobis length)


@torch.no_grad()
def calibrate(network: nn.Module, batches: Iterable[Batch]) -> CalibratedRegions:
    """Set the calibration factors of a network by normalised batches on its device that it wasn't trained on."""
    network.eval()
    errors: dict[str, list[Tensor]] = {}
    rows: Counter[str] = Counter()  # errors of one face are much alike, so faces count
    for batch in batches:
        for name, values in scaled_errors(network(batch.image, dataset=batch.dataset), batch).items():
            errors.setdefault(name, []).append(values.cpu())
            rows[name] += int(batch.present(LABELS[name]).sum())
    factors, regions = {}, {}
    for name, parts in errors.items():
        values, count = torch.cat(parts), rows[name]
        if count < MIN_ROWS:
            continue
        lengths = values.double().norm(dim=-1)
        freedom = values.shape[-1]
        radii = [lengths.quantile(min(1.0, level * (count + 1) / count)).item() for level in LEVELS]
        ratios = [radius / math.sqrt(chi2.ppf(level, freedom)) for radius, level in zip(radii, LEVELS)]
        factors[name] = math.exp(sum(math.log(max(r, 1e-6)) for r in ratios) / len(ratios))
        regions[name] = [radius / factors[name] for radius in radii]
        getattr(network, name).calibration *= factors[name]
    return CalibratedRegions(factors, regions)


def scaled_errors(prediction: Prediction, batch: Batch) -> dict[str, Tensor]:
    """Errors in units of the predicted uncertainty: (rows, 3) of pose, (elements, 1) of box and landmarks."""
    found: dict[str, Tensor] = {}
    for name, error in (
        ("rotation_tril", rotation_error(prediction.rotation, batch.rotation)),
        ("head_tril", batch.head - prediction.head),
    ):
        factor = getattr(prediction, name)
        if factor is not None:
            rows = batch.present(LABELS[name])
            found[name] = torch.linalg.solve_triangular(factor[rows], error[rows][..., None], upper=False)[..., 0]
    for name in ("face_box_scale", "landmarks_scale", "shape_scale"):
        label = LABELS[name]
        scale, value = getattr(prediction, name), getattr(prediction, label)
        if scale is not None and value is not None:
            scaled = ((getattr(batch, label) - value) / scale).flatten()
            found[name] = scaled[torch.isfinite(scaled)][:, None]
    return {name: values for name, values in found.items() if len(values)}
