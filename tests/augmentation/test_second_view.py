"""Second views: image and labels move together, light and noise are as drawn, and views of one pose agree."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from trackertraincode.augmentation import second_view
from trackertraincode.augmentation.crop import trained_boxes
from trackertraincode.augmentation.second_view import ViewChange, add_views, draw_views, with_second_views
from trackertraincode.geometry import affine2d
from trackertraincode.geometry.boxes import box_size
from trackertraincode.geometry.rotation import quat_normalize, random_quats
from trackertraincode.losses.consistency import consistency_loss
from trackertraincode.sample.moving import move
from trackertraincode.sample.sample import BATCH_LABELS, Batch, make_batch

SIZE = 65
CPU = torch.device("cpu")


def spots(count: int = 6) -> Batch:
    """A round spot of grey on black at each head's place, as large as the head's radius."""
    torch.manual_seed(0)
    head = torch.cat([torch.rand(count, 2) * 0.6 - 0.3, torch.rand(count, 1) * 0.2 + 0.1], dim=1)
    middle = (torch.arange(SIZE) + 0.5) * 2 / SIZE - 1
    x, y = torch.meshgrid(middle, middle, indexing="xy")
    places = [(grid - head[:, k, None, None]) / head[:, 2, None, None] for k, grid in enumerate((x, y))]
    image = 200 * torch.exp(-(places[0] ** 2 + places[1] ** 2))
    labels = {name: torch.randn(count, *shape) for name, shape in BATCH_LABELS.items()}
    labels |= {"head": head, "rotation": random_quats(count)}
    index = torch.arange(count)
    return make_batch(image[:, None].round().byte(), index % 2, index, index + 1.0, **labels)


def without_light(change: ViewChange) -> ViewChange:
    return replace(ViewChange.none(len(change.maps), CPU), maps=change.maps)


def test_the_image_moves_as_the_head_does() -> None:
    batch = spots()
    both = add_views(batch, without_light(draw_views(len(batch), CPU)))
    middle = (torch.arange(SIZE) + 0.5) * 2 / SIZE - 1
    for image, head in zip(both.image[:, 0], both.head):
        x, y = (image.sum(axis) @ middle / image.sum() for axis in (0, 1))
        spread = (image.sum(0) @ (middle - x).square() / image.sum()).sqrt()
        assert [x.item(), y.item()] == pytest.approx(head[:2].tolist(), abs=0.01)
        assert spread.item() == pytest.approx(head[2].item() * 2**-0.5, rel=0.05)
    assert (both.head[6:] - both.head[:6]).abs().amax() > 0.05


def test_first_views_are_the_batch_and_no_change_repeats_them() -> None:
    batch = spots()
    both = add_views(batch, ViewChange.none(len(batch), CPU))
    first, second = (both.select(torch.arange(6) + start) for start in (0, 6))
    for name, value in batch.tensors().items():
        torch.testing.assert_close(first.tensors()[name], value, rtol=0, atol=0, check_dtype=False)
        if name != "face_box":  # of random numbers, whose corners are in no order
            torch.testing.assert_close(second.tensors()[name], value, rtol=1e-5, atol=1e-3, check_dtype=False)


def test_absent_labels_stay_absent() -> None:
    batch = spots()
    for label in batch.labels.values():
        label[::2] = torch.nan
    both = with_second_views(batch)
    for name in BATCH_LABELS:
        assert both.present(name).tolist() == [False, True] * 6, name


@pytest.mark.parametrize("roi_override", ["landmarks", "extent_to_forehead"])
def test_boxes_of_landmarks_are_made_of_those_of_the_second_view(roi_override: str) -> None:
    """A hull that is turned has a larger hull. Boxes that these labels don't give move as they are."""
    batch = spots()
    box = trained_boxes(batch.labels, roi_override)
    box[0] = torch.tensor([-0.5, -0.6, 0.4, 0.7])  # of labels that were dropped
    box[1] = torch.nan
    batch = replace(batch, labels=batch.labels | {"face_box": box})
    change = without_light(draw_views(len(batch), CPU))
    found = add_views(batch, change, roi_override).face_box[6:]
    moved = move(batch.labels, change.maps)
    torch.testing.assert_close(found[0], moved["face_box"][0])
    assert found[1].isnan().all()
    torch.testing.assert_close(found[2:], trained_boxes(moved, roi_override)[2:])
    assert (box_size(moved["face_box"][2:]) > box_size(found[2:]) + 1e-3).any()


def test_light_and_noise_are_those_drawn() -> None:
    batch = replace(spots(3), image=torch.full((3, 1, SIZE, SIZE), 100, dtype=torch.uint8))
    none = ViewChange.none(3, CPU)
    noisy = add_views(batch, replace(none, noise_std=torch.tensor([0.0, 4.0, 16.0])))
    assert noisy.image[3:].std((1, 2, 3)).tolist() == pytest.approx([0.0, 4.0, 16.0], rel=0.05)
    lit = add_views(batch, replace(none, gain=torch.tensor([1.0, 2.0, 1.0]), offset=torch.tensor([0.0, 0.0, 200.0])))
    assert lit.image[3:].mean((1, 2, 3)).tolist() == pytest.approx([100.0, 127.5 - 2 * 27.5, 255.0])


def test_what_is_beyond_the_edge_repeats_it() -> None:
    batch = replace(spots(), image=torch.full((6, 3, SIZE, SIZE), 77, dtype=torch.uint8))
    image = add_views(batch, without_light(draw_views(6, CPU))).image
    torch.testing.assert_close(image, torch.full_like(image, 77.0), rtol=1e-5, atol=0)


def test_answers_that_move_with_the_views_agree_and_others_do_not() -> None:
    both = with_second_views(spots())
    assert both.view is not None
    rotation, head, view = quat_normalize(both.rotation.double()), both.head.double(), both.view.double()
    assert consistency_loss(rotation, head, view).numpy() == pytest.approx(np.zeros(12), abs=1e-6)
    turned = rotation.clone()
    turned[6:] = rotation[:6]  # as of a network that doesn't see the turn of the second view
    assert (consistency_loss(turned, head, view) > 1e-3).sum() >= 10


def test_small_disagreements_count_in_proportion() -> None:
    def cost(degrees: float) -> float:
        turned = torch.from_numpy(Rotation.from_euler("y", [[0], [degrees]], degrees=True).as_quat())
        head = torch.zeros(2, 3, dtype=torch.float64)
        view = torch.eye(2, 3, dtype=torch.float64).expand(2, 2, 3)
        return float(consistency_loss(turned, head, view)[0])

    assert cost(8) / cost(4) == pytest.approx(2, rel=0.1)
    assert 0 < cost(0.02) < 0.02 / 8 * cost(8) / 10


def test_half_precision_changes_nothing() -> None:
    def made() -> Batch:
        torch.manual_seed(3)
        return with_second_views(spots())

    with torch.autocast("cpu", torch.bfloat16):
        half = made()
    for name, value in made().tensors().items():
        assert torch.equal(half.tensors()[name], value), name


def test_second_views_differ_by_no_more_than_is_said() -> None:
    torch.manual_seed(0)
    change = draw_views(2000, CPU)
    turn = torch.atan2(change.maps[:, 1, 0], change.maps[:, 0, 0])
    for drawn, largest in (
        (turn, second_view.TURN),
        (affine2d.scale_of(change.maps).log(), second_view.SCALE),
        (change.maps[:, 0, 2], second_view.SHIFT),
        (change.maps[:, 1, 2], second_view.SHIFT),
        (change.gain.log(), second_view.GAIN),
        (change.offset, second_view.OFFSET),
    ):
        assert drawn.max().item() == pytest.approx(largest, rel=0.02)
        assert drawn.min().item() == pytest.approx(-largest, rel=0.02)
    assert 0 <= change.noise_std.min() < change.noise_std.max() <= second_view.NOISE_STD
