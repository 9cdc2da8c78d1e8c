"""Which head an image shows, as far as its labels tell: Sample --head_in--> (V, 3) in the head's frame"""

import numpy as np

from trackertraincode.expansion.turning import project, rotation_of
from trackertraincode.facemodel.head_model import COEFFICIENT_COUNT, HeadModel
from trackertraincode.facemodel.landmarks68 import centered_depth, has_depth
from trackertraincode.sample.sample import Sample

LANDMARK_NOISE = 0.02  # head radii, against the spread of the coefficients
FAR_OFF = 0.5  # head radii, median distance of landmarks from a head that isn't theirs
SMALLEST = 6.0  # pixels of a head's radius
LARGEST = 2.0  # the same, in edges of the image


def head_in(sample: Sample, model: HeadModel, coefficients_of: str) -> np.ndarray:
    """(V, 3): by the sample's coefficients if they are the model's, else by its landmarks, else the mean head."""
    if sample.shape is not None and coefficients_of == model.name:
        return model.deform(sample.shape)
    if sample.landmarks is None or not np.isfinite(sample.landmarks[:, :2]).all():
        return model.deform(np.zeros(COEFFICIENT_COUNT))
    return model.deform(fitted_coefficients(sample, model))


def fitted_coefficients(sample: Sample, model: HeadModel) -> np.ndarray:
    """(50,) whose landmarks are nearest to the sample's (68, 3), in the image where they have no depth, held near the mean
    by how far heads differ."""
    assert sample.head is not None
    assert sample.landmarks is not None
    R, head = rotation_of(sample), sample.head.astype(np.float64)
    mean = model.keypoint_mean.astype(np.float64)
    basis = (model.keypoint_basis * model.coefficient_std[:, None, None]).astype(np.float64)
    if has_depth(sample.landmarks):
        offset = (centered_depth(sample.landmarks) - centered_depth(project(mean, R, head))) @ R / head[2]
    else:
        offset = (sample.landmarks - project(mean, R, head))[:, :2] / head[2]
        basis = (basis @ R.T)[..., :2]
    A = basis.reshape(COEFFICIENT_COUNT, -1)
    normal = A @ A.T / LANDMARK_NOISE**2 + np.eye(COEFFICIENT_COUNT)
    return np.linalg.solve(normal, A @ offset.ravel() / LANDMARK_NOISE**2) * model.coefficient_std


def why_not(sample: Sample, local: np.ndarray, model: HeadModel, width: int, height: int) -> str | None:
    """What keeps a face from being turned, in words; None if nothing does. local: (68, 3) landmarks in head radii."""
    assert sample.head is not None
    x, y, radius = (float(v) for v in sample.head)
    largest = LARGEST * max(width, height)
    if not SMALLEST <= radius <= largest:
        return f"a head radius of {radius:.1f} px, expected {SMALLEST:.0f} to {largest:.0f}"
    if not (0 <= x < width and 0 <= y < height):
        return f"the head's centre ({x:.0f}, {y:.0f}) lies outside of the image of {width} × {height}"
    points = project(local[model.keypoints], rotation_of(sample), sample.head.astype(np.float64))
    for name, landmarks in (("pt3d_68", sample.landmarks), ("pt2d_68", sample.landmarks_2d)):
        if landmarks is None:
            continue
        if not np.isfinite(landmarks[:, :2]).all():
            return f"{name} holds NaN or infinite numbers"
        distance = float(np.median(np.linalg.norm(landmarks[:, :2] - points[:, :2], axis=1))) / radius
        if distance > FAR_OFF:
            return f"{name} lies {distance:.1f} head radii from the posed head, expected {FAR_OFF} at most; see `ttc check`"
    return None
