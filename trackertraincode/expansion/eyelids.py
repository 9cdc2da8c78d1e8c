"""Closed eyes: in the image before it turns, and in the labels."""

from dataclasses import replace
from typing import Any

import numpy as np

from trackertraincode.conversion.closed_eyes import MEETING, close_eyes, close_eyes_in_classes
from trackertraincode.expansion.turning import project, rotation_of
from trackertraincode.facemodel.head_model import SHAPE_COUNT, HeadModel
from trackertraincode.facemodel.landmarks68 import LEFT_EYE, RIGHT_EYE
from trackertraincode.facemodel.load import OWN_MODELS
from trackertraincode.sample.sample import Sample

LIDS = slice(SHAPE_COUNT, SHAPE_COUNT + 2)  # coefficients of our own heads that close the eyes


def with_closed_eyes(
    sample: Sample, image: np.ndarray, classes: np.ndarray | None, local: np.ndarray, model: HeadModel,
    coefficients_of: str,
) -> tuple[Sample, np.ndarray, np.ndarray | None] | None:  # fmt: skip
    """Labels, (H, W, 3) image and (H, W) classes of its pixels with shut eyes, None where no eye can be seen.

    local: (V, 3) the head. coefficients_of: name of the face model of the sample's shape. Only our own heads have
    coefficients of lids: landmarks alone tell that eyes are closed where shapes are of BFM, or of another head than `model`.
    """
    assert sample.head is not None
    R = rotation_of(sample)
    points = sample.landmarks
    if points is None:
        points = project(local[model.keypoints], R, sample.head.astype(np.float64))
    seen = points.astype(np.float64), np.asarray(sample.rotation)
    shut, _ = close_eyes(image, *seen)
    if np.array_equal(shut, image):
        return None
    changes: dict[str, Any] = {}
    if sample.landmarks_2d is not None:
        changes["landmarks_2d"] = _lids_met(sample.landmarks_2d)
    if sample.shape is not None and coefficients_of == model.name and model.name in OWN_MODELS:
        changes["shape"] = sample.shape.copy()
        changes["shape"][LIDS] = 1.0
        if sample.landmarks is not None:
            moves = model.keypoints68(changes["shape"]) - model.keypoints68(sample.shape)
            changes["landmarks"] = sample.landmarks + moves.astype(np.float64) @ R.T * sample.head[2]
    elif sample.landmarks is not None:
        changes["landmarks"] = _lids_met(sample.landmarks)
    shut_classes = None if classes is None else close_eyes_in_classes(classes, *seen)
    return replace(sample, **changes), shut, shut_classes


def _lids_met(landmarks: np.ndarray) -> np.ndarray:
    """(68, 2 or 3): both lids of each eye where they meet."""
    landmarks = landmarks.astype(np.float64)
    for _, *upper, _, second, first in (list(RIGHT_EYE), list(LEFT_EYE)):
        for over, under in zip(upper, (first, second)):
            landmarks[[over, under]] = landmarks[over] + MEETING * (landmarks[under] - landmarks[over])
    return landmarks
