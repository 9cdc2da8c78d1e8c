"""The localizer's losses: laws of IoU, rows without a face don't count."""

import pytest
import torch

from trackertraincode.localizer.loss import generalized_iou, localizer_loss


def test_generalized_iou_is_one_for_equal_and_negative_for_far_boxes() -> None:
    a = torch.tensor([[0.0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1]])
    b = torch.tensor([[0.0, 0, 1, 1], [9, 0, 10, 1], [0, 0, 1, 0.5]])
    assert generalized_iou(a, b).tolist() == pytest.approx([1.0, -0.8, 0.5])


def test_a_perfect_answer_costs_nothing_and_missing_boxes_do_not_poison_the_gradient() -> None:
    answer = torch.tensor([[20.0, -0.5, -0.5, 0.5, 0.5], [-20.0, 0.3, 0.3, 0.2, 0.2]], requires_grad=True)
    box = torch.tensor([[-0.5, -0.5, 0.5, 0.5], [torch.nan] * 4])
    total = torch.stack(list(localizer_loss(answer, torch.tensor([1.0, 0.0]), box).values())).sum()
    assert total.item() == pytest.approx(0.0, abs=1e-6)
    (gradient,) = torch.autograd.grad(total, answer)
    assert torch.isfinite(gradient).all()


def test_gradients_are_finite_without_any_face() -> None:
    answer = torch.zeros(2, 5, requires_grad=True)
    parts = localizer_loss(answer, torch.zeros(2), torch.full((2, 4), torch.nan))
    (gradient,) = torch.autograd.grad(torch.stack(list(parts.values())).sum(), answer)
    assert torch.isfinite(gradient).all()
    assert parts["box"] == 0
