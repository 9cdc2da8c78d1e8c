"""Boxes and cameras."""

import math

import pytest
import torch

from trackertraincode.geometry import boxes, camera
from trackertraincode.geometry.rotation import geodesic_angle


def test_iou_of_equal_half_and_disjoint_boxes() -> None:
    a = torch.tensor([[0.0, 0, 2, 2], [0, 0, 2, 2], [0, 0, 1, 1], [0, 0, 0, 0]])
    b = torch.tensor([[0.0, 0, 2, 2], [0, 0, 2, 1], [2, 2, 3, 3], [0, 0, 0, 0]])
    assert boxes.box_iou(a, b).tolist() == [1.0, 0.5, 0.0, 0.0]


def test_crop_boxes_are_square_and_integral_whatever_the_rounding() -> None:
    box = torch.rand(1000, 4, generator=torch.Generator().manual_seed(0)) * 100
    box = torch.cat([torch.minimum(box[:, :2], box[:, 2:]), torch.maximum(box[:, :2], box[:, 2:])], dim=1)
    box[0, 2:] = box[0, :2]  # of no size
    crop = boxes.square_crop_box(box, 1.1)
    width, height = boxes.box_size(crop).unbind(-1)
    assert torch.equal(width, height)
    assert (width >= 1).all()
    assert torch.equal(crop, crop.round())
    expected = boxes.box_size(box).amax(-1) * 1.1
    assert ((width - expected).abs() <= 0.5 + 1e-4)[expected > 1].all()


def test_a_bounding_box_holds_its_points_and_touches_them() -> None:
    assert boxes.bounding_box(torch.tensor([[1.0, 5, 9], [3, 2, 9]])).tolist() == [1.0, 2.0, 3.0, 5.0]


@pytest.mark.parametrize("offset", [(100.0, 0.0), (0.0, 100.0), (-100.0, 0.0), (0.0, -100.0)])
def test_perspective_turns_by_the_angle_of_the_viewing_ray(offset: tuple[float, float]) -> None:
    center = torch.tensor([320.0, 240.0], dtype=torch.float64) + torch.tensor(offset, dtype=torch.float64)
    turn = camera.viewing_ray_rotation(center, 640, 480, math.radians(57))
    angle = geodesic_angle(torch.eye(3, dtype=torch.float64), turn)
    assert math.degrees(angle) == pytest.approx(9.63, abs=0.005)
    assert turn[1, 0] == 0.0  # the x axis stays horizontal


def test_perspective_at_the_centre_changes_nothing() -> None:
    turn = camera.viewing_ray_rotation(torch.tensor([320.0, 240.0]), 640, 480, 1.0)
    assert torch.allclose(turn, torch.eye(3))
