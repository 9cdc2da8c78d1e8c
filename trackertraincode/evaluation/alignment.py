"""From "relative to the viewing ray" to the labels' frame: perspective and constant turns.

none         as predicted
perspective  turned by the viewing ray's direction
opal         perspective, then per sequence R <- Aᵀ R, A the mean of R_predicted R_trueᵀ
right        perspective, then R <- R Aᵀ, A the mean of R_trueᵀ R_predicted
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.errors import EvaluationError
from trackertraincode.geometry.camera import viewing_ray_rotation
from trackertraincode.geometry.rotation import geodesic_angle, matrix_to_quat, mean_rotation, quat_to_matrix
from trackertraincode.sample.images import image_size
from trackertraincode.sample.sample import Prediction

MAX_RELATIVE_ANGLE = torch.pi / 2  # frames whose prediction is off by more don't take part in the mean


def opal(predicted: Tensor, true: Tensor) -> Tensor:
    """(n, 3, 3) of one sequence: the constant turn on the left is taken out."""
    return _constant(predicted @ true.transpose(-1, -2)).T @ predicted


def right(predicted: Tensor, true: Tensor) -> Tensor:
    """(n, 3, 3) of one sequence: the constant turn on the right is taken out."""
    return predicted @ _constant(true.transpose(-1, -2) @ predicted).T


SCHEMES: dict[str, Callable[[Tensor, Tensor], Tensor] | None] = {
    "none": None,
    "perspective": None,
    "opal": opal,
    "right": right,
    "opal23": right,  # as OpNet's published script calls it
    "opal23_headpose": right,
}


def align(
    prediction: Prediction,
    truth: Prediction,
    dataset: Hdf5PoseDataset,
    rows: np.ndarray,
    scheme: str,
    fov: float | None,
) -> Tensor:
    """(n, 4) predicted rotations in the frame of the labels.

    fov: horizontal, degrees, of the camera. Raises EvaluationError where a scheme needs one and there is none.
    """
    if scheme == "none":
        return prediction.rotation
    if fov is None:
        raise EvaluationError(f"alignment {scheme}: this protocol's images have no known camera; use none.")
    size = image_size(dataset.images(rows[:1])[0])
    if 3 * size.width != 4 * size.height:
        raise EvaluationError(
            f"{dataset.path}: images of {size.width} × {size.height} are no whole frames of this protocol's camera, which "
            f"are 4:3, so alignment {scheme} can't tell where they look; convert whole frames, or use "
            "--alignment-scheme none."
        )
    ray = viewing_ray_rotation(prediction.head[:, :2].double(), size.width, size.height, np.radians(fov))
    predicted, true = ray @ quat_to_matrix(prediction.rotation.double()), quat_to_matrix(truth.rotation.double())
    turn = SCHEMES[scheme]
    if turn is not None:
        starts = dataset.sequence_starts if dataset.sequence_starts is not None else np.array([0, len(dataset)])
        sequence = np.searchsorted(starts, rows, side="right")
        for number in np.unique(sequence):
            inside = torch.from_numpy(np.flatnonzero(sequence == number))
            predicted[inside] = turn(predicted[inside], true[inside])
    return matrix_to_quat(predicted).float()


def _constant(relative: Tensor) -> Tensor:
    """(n, 3, 3) -> the mean of those within 90 degrees, (3, 3); the identity where there is none."""
    near = geodesic_angle(relative, torch.eye(3, dtype=relative.dtype)) < MAX_RELATIVE_ANGLE
    return mean_rotation(relative[near]) if near.any() else torch.eye(3, dtype=relative.dtype)
