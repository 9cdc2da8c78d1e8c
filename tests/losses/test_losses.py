"""Losses equal their formulas, written out slowly, and stay finite where predictions are perfect or opposite."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from scipy.stats import multivariate_normal, norm

from close import known
from conftest import random_rotations
from trackertraincode.facemodel.landmarks68 import LID_POINTS
from trackertraincode.geometry.rotation import quat_to_matrix, random_quats
from trackertraincode.losses.landmarks import landmarks_2d_loss, landmarks_loss
from trackertraincode.losses.likelihood import elements_nll, head_nll, rotation_nll
from trackertraincode.losses.objective import TERMS, make_terms, total_loss
from trackertraincode.losses.rotation import (
    geodesic_loss,
    orthonormality_loss,
    quaternion_norm_loss,
    rotation_loss,
    soft_constraint,
)
from trackertraincode.losses.shape_prior import ShapePrior, prior_path
from trackertraincode.sample.sample import BATCH_LABELS, Batch, Prediction, make_batch


def factors(count: int) -> torch.Tensor:
    return (torch.rand(count, 3, 3, dtype=torch.float64).tril() * 0.3 + torch.eye(3) * 0.2).tril()


def test_rotation_losses() -> None:
    a, b = random_rotations(50), random_rotations(50, 1)
    angles = (Rotation.from_quat(a.numpy()).inv() * Rotation.from_quat(b.numpy())).magnitude()
    assert rotation_loss(a, b).numpy() == pytest.approx(np.sin(angles / 2) ** 2)
    assert geodesic_loss(a, b).numpy() == pytest.approx(angles)
    trace = (quat_to_matrix(a) @ quat_to_matrix(b).transpose(-1, -2)).diagonal(dim1=-2, dim2=-1).sum(-1)
    assert rotation_loss(a, b).numpy() == pytest.approx((0.75 - 0.25 * trace).numpy())


def test_soft_constraints_vanish_on_valid_rotations() -> None:
    assert quaternion_norm_loss(random_rotations(5)).abs().max() < 1e-12
    assert quaternion_norm_loss(2 * random_rotations(5)).numpy() == pytest.approx(9.0)
    rows = quat_to_matrix(random_rotations(5))[:, :2].flatten(1)
    assert soft_constraint(rows).abs().max() < 1e-12
    assert orthonormality_loss(torch.tensor([[2.0, 0, 0, 0, 1, 0]])).item() == pytest.approx(9.0)


def test_landmark_losses() -> None:
    predicted, true = torch.randn(3, 68, 3), torch.randn(3, 68, 3)
    expected, flat = np.zeros(3), np.zeros(3)
    for point in range(68):
        weight = 0.0 if point in LID_POINTS else (0.8 if 0 < point < 16 else 1.0)
        squared = ((predicted - true)[:, point].numpy().astype(float)) ** 2
        expected += weight * squared.sum(-1) / 68
        flat += (0.0 if point < 17 else weight) * squared[:, :2].sum(-1) / 68
    assert landmarks_loss(predicted, true).numpy() == pytest.approx(expected, rel=1e-5)
    assert landmarks_2d_loss(predicted, true[..., :2]).numpy() == pytest.approx(flat, rel=1e-5)


def test_landmarks_without_depth_compare_x_and_y() -> None:
    predicted, true = torch.randn(2, 68, 3, requires_grad=True), torch.randn(2, 68, 3)
    shallow = true.clone()
    shallow[..., 2] = torch.nan
    same_depth = torch.cat([true[..., :2], predicted.detach()[..., 2:]], dim=-1)
    loss = landmarks_loss(predicted, shallow)
    assert torch.allclose(loss, landmarks_loss(predicted, same_depth))
    loss.sum().backward()
    assert torch.isfinite(known(predicted.grad)).all()
    assert (known(predicted.grad)[..., 2] == 0).all()


def test_likelihoods_equal_scipy() -> None:
    a, b, tril = random_rotations(20), random_rotations(20, 3), factors(20)
    head, true = torch.rand(20, 3, dtype=torch.float64), torch.rand(20, 3, dtype=torch.float64)
    for i in range(20):
        covariance = (tril[i] @ tril[i].T).numpy()
        error = (Rotation.from_quat(b[i].numpy()) * Rotation.from_quat(a[i].numpy()).inv()).as_rotvec()
        density = 0.999 * multivariate_normal(np.zeros(3), covariance).pdf(error) + 0.001 / (4 * math.pi**4 / 3)
        assert rotation_nll(a, tril, b)[i].item() == pytest.approx(-math.log(density), rel=1e-9)
        density = 0.999 * multivariate_normal(head[i].numpy(), covariance).pdf(true[i].numpy()) + 0.001 / 4
        assert head_nll(head, tril, true)[i].item() == pytest.approx(-math.log(density), rel=1e-9)
    scale = torch.rand(20, 3, dtype=torch.float64) + 0.1
    expected = -norm(head.numpy(), scale.numpy()).logpdf(true.numpy()).mean(-1)
    assert elements_nll(head, scale, true).numpy() == pytest.approx(expected)


@pytest.mark.parametrize("loss", [rotation_loss, geodesic_loss])
@pytest.mark.parametrize("angle", [0.0, math.pi])
def test_rotation_gradients_are_finite_at_perfect_and_opposite(loss, angle: float) -> None:
    true = torch.tensor([[0.0, 0.0, 0.0, 1.0]])
    predicted = torch.tensor([[math.sin(angle / 2), 0.0, 0.0, math.cos(angle / 2)]], requires_grad=True)
    value = loss(predicted, true)
    value.sum().backward()
    assert torch.isfinite(value).all()
    assert torch.isfinite(known(predicted.grad)).all()


def make_prediction(count: int) -> Prediction:
    torch.manual_seed(0)
    return Prediction(
        rotation=random_quats(count), head=torch.rand(count, 3), face_box=torch.rand(count, 4),
        landmarks=torch.randn(count, 68, 3), shape=torch.randn(count, 50), rotation_raw=torch.randn(count, 4),
        rotation_tril=factors(count).float(), head_tril=factors(count).float(),
        face_box_scale=torch.rand(count, 4) + 0.1,
        landmarks_scale=torch.rand(count, 68, 3) + 0.1, shape_scale=torch.rand(count, 50) + 0.1,
    )  # fmt: skip


def full_batch(count: int) -> Batch:
    torch.manual_seed(1)
    labels = {name: torch.rand(count, *shape) for name, shape in BATCH_LABELS.items()}
    labels["rotation"] = random_quats(count)
    zeros = torch.zeros(count, dtype=torch.long)
    return make_batch(torch.zeros(count, 1, 5, 5), zeros, zeros, **labels)


def test_total_is_divided_by_the_batch_not_by_the_labelled_rows() -> None:
    prediction, batch = make_prediction(4), full_batch(4)
    for row in (1, 3):
        batch.rotation[row] = torch.nan
    _, parts = total_loss(prediction, batch, make_terms())
    expected = rotation_loss(prediction.rotation[[0, 2]], batch.rotation[[0, 2]]).sum() / 4
    assert parts["rotation"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_absent_labels_cost_nothing_and_poison_nothing() -> None:
    prediction = make_prediction(3)._map(lambda x: x.requires_grad_())
    zeros = torch.zeros(3, dtype=torch.long)
    total, parts = total_loss(
        prediction, make_batch(torch.zeros(3, 1, 5, 5), zeros, zeros), make_terms(likelihood=True)
    )
    total.backward()
    assert {name for name, value in parts.items() if value != 0} == {"constraint"}
    assert torch.isfinite(known(known(prediction.rotation_raw).grad)).all()


def test_row_weights_and_ramp_scale_the_losses() -> None:
    prediction, batch = make_prediction(4), full_batch(4)
    terms = make_terms(likelihood=True, ramped=True)
    _, before = total_loss(prediction, batch, terms)
    batch.weight.fill_(2.0)
    _, after = total_loss(prediction, batch, terms, ramp=0.5)
    for name in before:
        factor = 1.0 if terms[name].likelihood else 2.0
        assert after[name].item() == pytest.approx(factor * before[name].item(), rel=1e-5), name


def test_published_weights() -> None:
    published = {
        "rotation": 1.0, "xy": 0.25, "size": 0.25, "landmarks": 0.5, "landmarks_2d": 0.25, "shape": 0.1, "box": 0.01,
        "constraint": 1e-6, "nll_rotation": 0.005, "nll_head": 0.005, "nll_landmarks": 0.005, "nll_box": 1e-4,
        "nll_shape": 0.005, "consistency": 1.0,
    }  # fmt: skip
    assert {name: TERMS[name].weight for name in published} == published


def test_shape_prior_equals_a_mixture_of_scipy() -> None:
    path = prior_path("embedded-v1")
    assert path is not None
    prior, shape = ShapePrior.load(path), torch.randn(4, 50) * 0.3
    weights, means, stds = prior.log_weights.exp().numpy(), prior.means.numpy(), prior.stds.numpy()
    for i in range(4):
        logs = [math.log(w) + norm(m, s).logpdf(shape[i].numpy()).sum() for w, m, s in zip(weights, means, stds)]
        expected = -np.logaddexp.reduce(logs) * 1e-3 / len(weights)
        assert prior(shape)[i].item() == pytest.approx(expected, rel=1e-4)
    assert prior(torch.zeros(1, 50)).item() < prior(torch.full((1, 50), 5.0)).item()
