"""Error measures equal slow oracles, and are exact at 0 and 180 degrees."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from conftest import random_rotations
from trackertraincode.evaluation import metrics
from trackertraincode.geometry.euler import aflw_to_matrix
from trackertraincode.geometry.rotation import matrix_to_quat


def test_identical_rotations_have_no_error() -> None:
    a = random_rotations(100, 0)
    for b in (a, -a):
        assert metrics.geodesic_errors(a, b).max() < 1e-12
        assert metrics.euler_errors(a, b).max() < 1e-9
        assert metrics.axis_errors(a, b).max() < 1e-6


def test_half_turns_are_180_degrees() -> None:
    axes = torch.eye(3, dtype=torch.float64)
    half_turns = torch.cat([axes, torch.zeros(3, 1)], dim=-1)
    identity = torch.tensor([[0.0, 0.0, 0.0, 1.0]]).expand(3, 4)
    assert (metrics.geodesic_errors(half_turns, identity) == 180.0).all()


def test_geodesic_equals_scipy() -> None:
    a, b = random_rotations(200, 0), random_rotations(200, 1)
    expected = (Rotation.from_quat(a.numpy()).inv() * Rotation.from_quat(b.numpy())).magnitude()
    assert metrics.geodesic_errors(a, b).numpy() == pytest.approx(np.degrees(expected))


def test_axis_errors_equal_their_definition() -> None:
    a, b = random_rotations(50, 2), random_rotations(50, 3)
    first, second = Rotation.from_quat(a.numpy()).as_matrix(), Rotation.from_quat(b.numpy()).as_matrix()
    cosines = np.clip((first * second).sum(1), -1, 1)
    assert metrics.axis_errors(a, b).numpy() == pytest.approx(np.degrees(np.arccos(cosines)).mean(-1), abs=1e-6)


def test_angles_are_wrapped_not_folded() -> None:
    a, b = torch.tensor([math.radians(179.0), 0.1]), torch.tensor([math.radians(-179.0), 0.1])
    assert torch.rad2deg(metrics.wrapped_difference(a, b)).tolist() == pytest.approx([2.0, 0.0], abs=1e-4)
    upside_down = torch.tensor([math.radians(175.0)]), torch.tensor([0.0])
    assert torch.rad2deg(metrics.wrapped_difference(*upside_down)).item() == pytest.approx(175.0, abs=1e-3)
    assert torch.rad2deg(metrics.folded_difference(*upside_down)).item() == pytest.approx(5.0, abs=1e-3)


def test_euler_errors_are_those_of_the_angles() -> None:
    one, two = torch.rand(20, 3, dtype=torch.float64) - 0.5, torch.rand(20, 3, dtype=torch.float64) - 0.5
    found = metrics.euler_errors(*(matrix_to_quat(aflw_to_matrix(angles)) for angles in (one, two)))
    assert torch.allclose(found, torch.rad2deg((one - two).abs()))


def test_nme_does_not_depend_on_depth_offset_or_scale() -> None:
    torch.manual_seed(0)
    true, predicted = torch.rand(5, 68, 3) * 100, torch.rand(5, 68, 3) * 100
    values = metrics.normalized_mean_errors(predicted, true, 3)
    moved = predicted + torch.tensor([0.0, 0.0, 37.0])
    assert torch.allclose(metrics.normalized_mean_errors(moved, true, 3), values, atol=1e-5)
    assert torch.allclose(metrics.normalized_mean_errors(predicted * 3, true * 3, 3), values, atol=1e-5)
    box = (true[..., :2].amax(1) - true[..., :2].amin(1)).prod(-1).sqrt()
    flat = (predicted - true)[..., :2].norm(dim=-1).mean(-1) / box
    assert torch.allclose(metrics.normalized_mean_errors(predicted, true, 2), flat)


def test_bins_count_alike_whatever_their_size() -> None:
    values, yaw = torch.tensor([1.0, 1.0, 1.0, 4.0, 7.0]), torch.tensor([0.0, 5.0, -10.0, 40.0, -80.0])
    assert metrics.binned_mean(values, yaw) == pytest.approx(4.0)
    assert math.isnan(metrics.binned_mean(values[:3], yaw[:3]))


def test_coverage_of_right_uncertainties() -> None:
    scaled = torch.randn(20_000, 3, generator=torch.Generator().manual_seed(0))
    assert metrics.coverage(scaled) == pytest.approx([0.5, 0.9, 0.95], abs=0.01)
    assert metrics.coverage(3 * scaled)[2] < 0.5


def test_coverage_of_regions_with_their_own_radii() -> None:
    scaled = torch.distributions.StudentT(3.0).sample((20_000, 3))
    radii = scaled.norm(dim=-1).quantile(torch.tensor([0.5, 0.9])).tolist()
    assert metrics.coverage(scaled, (0.5, 0.9), radii) == pytest.approx([0.5, 0.9], abs=1e-3)


def test_bootstrap_interval_holds_the_mean() -> None:
    values = torch.randn(400, generator=torch.Generator().manual_seed(1)) + 5.0
    low, high = metrics.bootstrap_interval(values)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 / 20, rel=0.2)
    picks = torch.randint(400, (1000, 400), generator=torch.Generator().manual_seed(0))  # all at once
    means = values[picks].mean(-1)
    assert (low, high) == pytest.approx(means.quantile(torch.tensor([0.025, 0.975])).tolist(), abs=1e-6)
