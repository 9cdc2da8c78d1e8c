"""Angles without torch are those of the conventions."""

import math

import numpy as np
import pytest
import torch

from trackertraincode.geometry.euler import matrix_to_aflw
from trackertraincode.geometry.rotation import quat_to_matrix
from trackertraincode.geometry.single import quat_to_aflw_deg

LOCKED = [[0.0, math.sqrt(0.5), 0.0, math.sqrt(0.5)], [0.3, 0.4, 0.3, 0.4], [-0.5, -0.5, 0.5, 0.5]]  # yaw of 90 degrees


@pytest.mark.parametrize("quat", [*np.random.default_rng(0).normal(size=(50, 4)), *np.array(LOCKED)])
def test_angles_equal_the_convention(quat: np.ndarray) -> None:
    unit = torch.from_numpy(quat / np.linalg.norm(quat))
    wanted = torch.rad2deg(matrix_to_aflw(quat_to_matrix(unit)))
    assert quat_to_aflw_deg(quat) == pytest.approx(wanted.tolist(), abs=1e-9)
