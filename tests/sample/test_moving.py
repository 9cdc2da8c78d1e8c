"""Labels move with the image, each as its kind does."""

import numpy as np
import pytest
import torch

from conftest import random_labels
from trackertraincode.facemodel.landmarks68 import FLIP_ORDER
from trackertraincode.geometry import affine2d
from trackertraincode.sample.fields import Kind
from trackertraincode.sample.moving import CENTRE_COUNTED, from_centres, move, to_centres
from trackertraincode.sample.sample import LABELS


@pytest.mark.parametrize("face_model", ["embedded-v1", None])
def test_mirroring_twice_changes_nothing(face_model: str | None) -> None:
    labels = random_labels(3)
    maps = affine2d.mirror(torch.full((3,), 10.0))
    again = move(move(labels, maps, face_model), maps, face_model)
    for name, value in labels.items():
        assert torch.allclose(again[name], value, atol=1e-5), name


def test_mirroring_renames_the_landmarks() -> None:
    labels = random_labels(1)
    moved = move(labels, affine2d.mirror(torch.tensor([10.0])))
    assert torch.allclose(moved["landmarks"][0, :, 0], 10.0 - labels["landmarks"][0, FLIP_ORDER, 0])


def test_mirroring_swaps_the_eyes_that_the_embedded_head_can_shut() -> None:
    labels = random_labels(1)
    moved = move(labels, affine2d.mirror(torch.tensor([10.0])), "embedded-v1")
    assert torch.equal(moved["shape"][0, [40, 41]], labels["shape"][0, [41, 40]])


def test_labels_of_one_face_move_as_those_of_a_batch() -> None:
    maps = affine2d.compose(affine2d.rotation(torch.tensor([0.3, -1.0])), affine2d.mirror(torch.tensor([9.0, 7.0])))
    labels = random_labels(2)
    batch = move(labels, maps)
    for row in range(2):
        one = move({name: value[row] for name, value in labels.items()}, maps[row])
        assert all(torch.allclose(one[name], batch[name][row], atol=1e-5) for name in labels)


def test_points_and_heads_are_half_a_pixel_further_from_the_corner_and_boxes_are_not() -> None:
    stored = {name: np.full(field.shape, 7.0) for name, field in LABELS.items()}
    for name, value in from_centres(stored).items():
        if LABELS[name].kind in CENTRE_COUNTED:
            assert (value[..., :2] == 7.5).all(), name
            assert (value[..., 2:] == 7.0).all(), name
        else:
            assert (value == 7.0).all(), name
    assert {LABELS[n].kind for n in ("landmarks", "landmarks_2d", "head")} == {Kind.POINTS, Kind.HEAD}


def test_the_way_to_the_corner_and_back_gives_the_same_bits() -> None:
    stored = np.random.default_rng(0).normal(0.0, 300.0, (1000, 68, 3)).astype(np.float32)
    there = from_centres({"landmarks": stored.astype(np.float64), "head": None})
    back = to_centres(there)
    assert back["landmarks"].astype(np.float32).tobytes() == stored.tobytes()
    assert back["head"] is None
