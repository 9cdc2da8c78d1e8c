"""Affine maps: group laws, labels that move like the points they stand for, flip twice."""

import math

import pytest
import torch

from trackertraincode.geometry import affine2d as aff
from trackertraincode.geometry.camera import project_weak_perspective
from trackertraincode.geometry.rotation import quat_normalize, quat_to_matrix, random_quats

G = torch.Generator().manual_seed(2)


def random_similarity(count: int, *, mirrored: bool = False) -> torch.Tensor:
    angle = torch.rand(count, generator=G, dtype=torch.float64) * 6 - 3
    scale = torch.rand(count, 1, generator=G, dtype=torch.float64).expand(count, 2) + 0.5
    shift = torch.randn(count, 2, generator=G, dtype=torch.float64) * 20
    result = aff.compose(aff.translation(shift), aff.compose(aff.scaling(scale), aff.rotation(angle)))
    return aff.compose(result, aff.mirror(torch.full((count,), 100.0).double())) if mirrored else result


def test_composition_is_associative_and_inverse_undoes() -> None:
    a, b, c = (random_similarity(10) for _ in range(3))
    assert torch.allclose(aff.compose(aff.compose(a, b), c), aff.compose(a, aff.compose(b, c)))
    assert torch.allclose(
        aff.compose(aff.invert(a), a), torch.eye(2, 3, dtype=torch.float64).expand(10, 2, 3), atol=1e-9
    )


@pytest.mark.parametrize("mirrored", [False, True])
def test_rotation_and_head_move_like_the_points_of_a_projected_head(mirrored: bool) -> None:
    """Projecting with the moved pose equals moving the projected points (of the mirrored head where mirrored)."""
    local = torch.randn(10, 30, 3, generator=G, dtype=torch.float64)
    quat = quat_normalize(random_quats(10, G).double())
    head = torch.tensor([50.0, 40.0, 30.0], dtype=torch.float64).expand(10, 3)
    affine = random_similarity(10, mirrored=mirrored)
    moved = aff.move_points(affine, project_weak_perspective(local, quat, head))
    source = local * torch.tensor([-1.0, 1.0, 1.0]) if mirrored else local
    again = project_weak_perspective(source, aff.move_rotation(affine, quat), aff.move_head(affine, head))
    assert torch.allclose(moved, again, atol=1e-9)


def test_flipping_twice_changes_nothing() -> None:
    flip = aff.mirror(torch.tensor(129.0))
    quat = random_quats(5, G)
    points = torch.randn(5, 68, 3, generator=G)
    box = torch.tensor([3.0, 4.0, 50.0, 60.0])
    assert torch.equal(aff.move_rotation(flip, aff.move_rotation(flip, quat)), quat) or torch.allclose(
        quat_to_matrix(aff.move_rotation(flip, aff.move_rotation(flip, quat))), quat_to_matrix(quat), atol=1e-6
    )
    assert torch.allclose(aff.move_points(flip, aff.move_points(flip, points)), points, atol=1e-5)
    assert torch.allclose(aff.move_box(flip, aff.move_box(flip, box)), box)


def test_depth_keeps_its_sign_when_mirrored() -> None:
    moved = aff.move_points(aff.mirror(torch.tensor(10.0)), torch.tensor([[1.0, 2.0, -3.0]]))
    assert torch.allclose(moved, torch.tensor([[9.0, 2.0, -3.0]]))


def test_box_becomes_the_bounding_box_of_its_corners() -> None:
    turned = aff.rotation(torch.tensor(math.pi / 4), torch.tensor([1.0, 1.0]))
    box = aff.move_box(turned, torch.tensor([0.0, 0.0, 2.0, 2.0]))
    assert torch.allclose(box, torch.tensor([1 - 2**0.5, 1 - 2**0.5, 1 + 2**0.5, 1 + 2**0.5]), atol=1e-6)


def test_corners_of_a_box_land_on_the_corners_of_the_crop() -> None:
    to_crop = aff.box_to_square(torch.tensor([10.0, 20.0, 50.0, 60.0]), 129)
    points = aff.move_points(to_crop, torch.tensor([[10.0, 20.0], [50.0, 60.0]]))
    assert torch.allclose(points, torch.tensor([[0.0, 0.0], [129.0, 129.0]]))
    normalized = aff.move_points(aff.pixels_to_normalized(129), points)
    assert torch.allclose(normalized, torch.tensor([[-1.0, -1.0], [1.0, 1.0]]))


def test_opencv_matrix_moves_pixel_centres() -> None:
    """Doubling the size maps the centre 0.5 of the first pixel to 1.0, which OpenCV counts as 0.5."""
    matrix = aff.to_cv2(aff.scaling(torch.tensor([2.0, 2.0])))
    assert matrix @ [0.0, 0.0, 1.0] == pytest.approx([0.5, 0.5])
