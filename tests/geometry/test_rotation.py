"""Rotations: equality with scipy, laws, exact ends, gradients against float64 differences."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from trackertraincode.geometry import rotation as rot

QUATS = rot.quat_normalize(rot.random_quats(200, torch.Generator().manual_seed(0)).double())
HALF_TURNS = torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0.6, 0.8, 0, 0], [0.6, 0, 0.8, 0]]).double()
SPECIAL = torch.cat([torch.tensor([[0.0, 0, 0, 1]]).double(), HALF_TURNS])


def scipy_of(q: torch.Tensor) -> Rotation:
    return Rotation.from_quat(q.numpy())


def same_rotation(a: torch.Tensor, b: torch.Tensor) -> bool:
    return bool(((a * b).sum(-1).abs() > 1 - 1e-12).all())


def test_matrices_multiplication_turning_and_vectors_equal_scipy() -> None:
    a, b = QUATS[:100], QUATS[100:]
    assert np.allclose(rot.quat_to_matrix(a), scipy_of(a).as_matrix(), atol=1e-12)
    assert same_rotation(rot.quat_multiply(a, b), torch.from_numpy((scipy_of(a) * scipy_of(b)).as_quat()))
    v = torch.randn(100, 3, dtype=torch.float64)
    assert np.allclose(rot.quat_rotate(a, v), scipy_of(a).apply(v.numpy()), atol=1e-12)
    assert np.allclose(rot.quat_to_rotvec(a), scipy_of(a).as_rotvec(), atol=1e-9)


@pytest.mark.parametrize("quats", [QUATS, SPECIAL], ids=["random", "identity and half turns"])
def test_round_trips_through_matrix_and_vector(quats: torch.Tensor) -> None:
    assert same_rotation(rot.matrix_to_quat(rot.quat_to_matrix(quats)), quats)
    assert same_rotation(rot.rotvec_to_quat(rot.quat_to_rotvec(quats)), quats)
    R = rot.quat_to_matrix(quats)
    assert torch.allclose(rot.sixd_rows_to_matrix(rot.matrix_to_sixd_rows(R)), R)
    columns = R[..., :2].transpose(-1, -2).flatten(-2)
    assert torch.allclose(rot.sixd_columns_to_matrix(columns), R)


def test_sixd_numbers_that_are_not_orthonormal_give_rotations() -> None:
    R = rot.sixd_rows_to_matrix(torch.randn(50, 6, dtype=torch.float64))
    assert torch.allclose(R @ R.transpose(-1, -2), torch.eye(3).double().expand(50, 3, 3), atol=1e-12)
    assert torch.allclose(torch.linalg.det(R), torch.ones(50).double())


def test_group_laws() -> None:
    a, b, c = QUATS[:60], QUATS[60:120], QUATS[120:180]
    assert torch.allclose(rot.quat_multiply(rot.quat_multiply(a, b), c), rot.quat_multiply(a, rot.quat_multiply(b, c)))
    one = rot.quat_multiply(a, rot.quat_conjugate(a))
    assert torch.allclose(one, torch.tensor([0.0, 0, 0, 1]).double().expand(60, 4), atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_geodesic_angle_is_exact_at_zero_and_at_a_half_turn(dtype: torch.dtype) -> None:
    one = torch.eye(3, dtype=dtype)
    assert rot.geodesic_angle(one, one) == 0.0
    for axis in range(3):
        half_turn = torch.diag(torch.tensor([1.0 if i == axis else -1.0 for i in range(3)], dtype=dtype))
        assert rot.geodesic_angle(one, half_turn) == torch.tensor(math.pi, dtype=dtype)
    q = SPECIAL.to(dtype)
    assert (rot.quat_geodesic_angle(q[1:], q[:1]) == torch.tensor(math.pi, dtype=dtype)).all()
    assert (rot.quat_geodesic_angle(q, -q) < 1e-7).all()


def test_geodesic_angle_equals_scipy() -> None:
    a, b = QUATS[:100], QUATS[100:]
    expected = (scipy_of(a).inv() * scipy_of(b)).magnitude()
    assert np.allclose(rot.geodesic_angle(rot.quat_to_matrix(a), rot.quat_to_matrix(b)), expected, atol=1e-9)
    assert np.allclose(rot.quat_geodesic_angle(a, b), expected, atol=1e-9)


@pytest.mark.parametrize("angle", [0.0, 1e-7, 1e-3, 1.0, 3.1, math.pi])
def test_gradient_of_the_angle_is_finite_and_equals_differences(angle: float) -> None:
    direction = torch.tensor([0.6, 0.0, 0.8], dtype=torch.float64)
    base = rot.rotvec_to_matrix(direction * angle).detach()

    def angle_of(x: torch.Tensor) -> torch.Tensor:
        return rot.geodesic_angle(base, rot.rotvec_to_matrix(x))

    x = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(angle_of(x), x)
    assert torch.isfinite(gradient).all()
    if 1e-4 < angle < 3.14:
        step = 1e-6 * torch.eye(3, dtype=torch.float64)
        differences = torch.stack([(angle_of(s) - angle_of(-s)) / 2e-6 for s in step])
        assert torch.allclose(gradient, differences, atol=1e-6)


@pytest.mark.parametrize(
    "function",
    [rot.matrix_to_quat, lambda R: rot.matrix_to_rotvec(R), rot.matrix_to_sixd_rows],
    ids=["quaternion", "vector", "6-D"],
)
def test_gradients_of_conversions_are_finite_at_special_rotations(function) -> None:
    R = rot.quat_to_matrix(SPECIAL).requires_grad_()
    (gradient,) = torch.autograd.grad(function(R).sum(), R)
    assert torch.isfinite(gradient).all()


def test_gradcheck_of_vector_and_quaternion_maps() -> None:
    v = torch.cat([torch.randn(5, 3).double(), 1e-5 * torch.ones(1, 3).double()]).requires_grad_()
    assert torch.autograd.gradcheck(rot.rotvec_to_quat, (v,))
    q = QUATS[:5].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: rot.quat_to_rotvec(rot.quat_normalize(x)), (q,))


def test_zero_vectors_have_finite_results_and_gradients() -> None:
    x = torch.zeros(1, 6, requires_grad=True)
    R = rot.sixd_rows_to_matrix(x)
    q = rot.quat_normalize(x[:, :4])
    assert torch.isfinite(torch.autograd.grad(R.sum() + q.sum(), x)[0]).all()


def test_turns_in_the_image_plane_equal_scipy() -> None:
    angles = torch.cat([torch.linspace(-math.pi, math.pi, 41), torch.tensor([1e-6, -1e-6, 3.1415])]).double()
    turns = rot.in_plane_quat(3 * angles.cos(), 3 * angles.sin())
    assert same_rotation(turns, torch.from_numpy(Rotation.from_euler("z", angles.numpy()[:, None]).as_quat()))
    assert torch.equal(rot.in_plane_quat(torch.tensor(-1.0), torch.tensor(0.0)), torch.tensor([0.0, 0, 1, 0]))


def test_mean_rotation_is_the_centre_of_symmetric_turns() -> None:
    center = rot.quat_to_matrix(QUATS[0])
    v = torch.randn(20, 3, dtype=torch.float64) * 0.3
    around = center @ rot.rotvec_to_matrix(torch.cat([v, -v]))
    assert rot.geodesic_angle(rot.mean_rotation(around), center) < 1e-9
