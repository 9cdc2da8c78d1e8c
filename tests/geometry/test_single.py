"""Rotations without torch: angles are those of the conventions, the rest is as in scipy."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from trackertraincode.geometry.euler import matrix_to_aflw
from trackertraincode.geometry.rotation import quat_to_matrix
from trackertraincode.geometry.single import (
    conjugate,
    from_rotvec,
    multiply,
    quat_to_aflw_deg,
    to_matrix,
    to_rotvec,
)

LOCKED = [[0.0, math.sqrt(0.5), 0.0, math.sqrt(0.5)], [0.3, 0.4, 0.3, 0.4], [-0.5, -0.5, 0.5, 0.5]]  # yaw of 90 degrees


@pytest.mark.parametrize("quat", [*np.random.default_rng(0).normal(size=(50, 4)), *np.array(LOCKED)])
def test_angles_equal_the_convention(quat: np.ndarray) -> None:
    unit = torch.from_numpy(quat / np.linalg.norm(quat))
    wanted = torch.rad2deg(matrix_to_aflw(quat_to_matrix(unit)))
    assert quat_to_aflw_deg(quat) == pytest.approx(wanted.tolist(), abs=1e-9)


def test_products_inverses_and_matrices_are_those_of_scipy() -> None:
    for one, other in zip(Rotation.random(20, rng=0), Rotation.random(20, rng=1)):
        product = Rotation.from_quat(multiply(one.as_quat(), conjugate(other.as_quat())))
        assert (product.inv() * one * other.inv()).magnitude() < 1e-12
        assert to_matrix(3.0 * one.as_quat()) == pytest.approx(one.as_matrix())


@pytest.mark.parametrize("length", [0.0, 1e-15, 1e-9, 0.3, 3.0, math.pi])
def test_rotation_vectors_are_those_of_scipy(length: float) -> None:
    vector = length * np.array([0.6, 0.0, -0.8])
    quat = from_rotvec(vector)
    assert (Rotation.from_quat(quat).inv() * Rotation.from_rotvec(vector)).magnitude() < 1e-12
    assert to_rotvec(quat) == pytest.approx(vector, abs=1e-14)
    assert to_rotvec(-quat) == pytest.approx(vector, abs=1e-14)
