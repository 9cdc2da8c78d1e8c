"""Angle conventions: equality with their definitions in scipy's words, round trips, plain directions."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from trackertraincode.geometry import euler

ANGLES = (torch.rand(300, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 2 - 1) * torch.tensor(
    [3.1, 1.5, 3.1], dtype=torch.float64
)
NOSE = torch.tensor([0.0, 0.0, -1.0], dtype=torch.float64)


def test_aflw_equals_its_published_definition() -> None:
    flip = np.diag([1.0, 1.0, -1.0])
    angles = ANGLES.numpy() * [1, -1, 1]
    expected = flip @ Rotation.from_euler("XYZ", angles).as_matrix() @ flip
    assert np.allclose(euler.aflw_to_matrix(ANGLES), expected, atol=1e-12)


def test_biwi_equals_its_published_definition() -> None:
    expected = Rotation.from_euler("xyz", ANGLES.numpy()).as_matrix()
    assert np.allclose(euler.biwi_to_matrix(ANGLES), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("to_matrix", "back", "order"),
    [
        (euler.aflw_to_matrix, euler.matrix_to_aflw, [0, 1, 2]),
        (euler.biwi_to_matrix, euler.matrix_to_biwi, [0, 1, 2]),
        (euler.fsanet_biwi_to_matrix, euler.matrix_to_fsanet_biwi, [1, 0, 2]),
    ],
    ids=["aflw", "biwi", "fsanet"],
)
def test_round_trip(to_matrix, back, order: list[int]) -> None:
    angles = ANGLES[:, order]
    assert torch.allclose(back(to_matrix(angles)), angles, atol=1e-9)


@pytest.mark.parametrize("middle", [math.pi / 2, -math.pi / 2])
def test_gimbal_lock_gives_angles_of_the_same_rotation(middle: float) -> None:
    angles = torch.tensor([0.3, middle, 0.2], dtype=torch.float64)
    R = euler.aflw_to_matrix(angles)
    assert torch.allclose(euler.aflw_to_matrix(euler.matrix_to_aflw(R)), R, atol=1e-9)


def test_positive_aflw_pitch_looks_up_and_positive_yaw_looks_to_the_left_of_the_image() -> None:
    up = euler.aflw_to_matrix(torch.tensor([0.3, 0, 0], dtype=torch.float64)) @ NOSE
    assert up[1] < 0
    left = euler.aflw_to_matrix(torch.tensor([0, 0.3, 0], dtype=torch.float64)) @ NOSE
    assert left[0] < 0


def test_sixdrepnet_bridge_is_its_own_inverse_and_keeps_angles_between_rotations() -> None:
    from trackertraincode.geometry.rotation import geodesic_angle

    R = euler.aflw_to_matrix(ANGLES)
    bridged = euler.sixdrepnet_to_matrix(R)
    assert torch.allclose(euler.sixdrepnet_to_matrix(bridged), R)
    assert torch.allclose(geodesic_angle(bridged[1:], bridged[:-1]), geodesic_angle(R[1:], R[:-1]), atol=1e-9)
