"""The plugin's own self-tests, and the laws of its coordinate maps."""

import math

import numpy as np
import pytest

from trackertraincode.tracking import opentrack_client as client


def test_quantile_of_a_hundred_grey_levels() -> None:
    assert client.intensity_quantile(np.arange(100, dtype=np.uint8).reshape(10, 10)) == 90


def test_low_light_is_brightened_into_the_lower_half() -> None:
    dark = np.random.default_rng(0).integers(0, 6, (20, 20), dtype=np.uint8)
    values = client.normalize_brightness(dark)
    assert values.min() == -0.5
    assert values.max() <= 0.0
    assert values.dtype == np.float32


def test_bright_pictures_are_divided_by_255() -> None:
    bright = np.full((4, 4), 200, np.uint8)
    assert client.normalize_brightness(bright)[0, 0] == pytest.approx(200 / 255 - 0.5)


def test_pyramid_has_a_level_more_while_it_is_640_wide() -> None:
    pyramid = client.build_pyramid(np.zeros((1440, 2560), np.uint8))
    assert [level.shape[1] for level in pyramid] == [2560, 1280, 640, 320]


@pytest.mark.parametrize(("width", "level"), [(100, 0), (129, 0), (257, 0), (258, 1), (516, 2), (1032, 3), (9999, 3)])
def test_level_follows_the_box_width(width: int, level: int) -> None:
    assert client.pyramid_level(width, 129, depth=4) == level


def test_patch_is_square_with_the_longer_side_and_keeps_its_centre_inside_the_frame() -> None:
    frame = np.zeros((480, 400), np.uint8)
    patch = client.extract_patch([frame], client.PixelBox(380, 100, 50, 80), 129)
    assert patch.image.shape == (80, 80)
    assert patch.center == (400.0, 140.0)
    assert patch.edge == 80.0


def test_outputs_at_the_corners_of_the_crop_map_to_the_corners_of_the_patch() -> None:
    patch = client.Patch(np.zeros((80, 80), np.uint8), (100.0, 60.0), 80.0)
    head, box = client.to_frame(patch, np.array([0.0, 0.0, 0.5]), np.array([-1.0, -1.0, 1.0, 1.0]))
    assert head.tolist() == [100.0, 60.0, 20.0]
    assert box.tolist() == [60.0, 20.0, 140.0, 100.0]


def test_fields_of_view_agree_with_the_diagonal() -> None:
    w, h = client.fields_of_view(640, 480)
    assert math.hypot(math.tan(w / 2), math.tan(h / 2)) == pytest.approx(math.tan(math.radians(28)))
    assert math.tan(w / 2) / math.tan(h / 2) == pytest.approx(640 / 480)


def test_a_centred_head_lies_straight_ahead_and_twice_as_far_when_half_as_large() -> None:
    near = client.world_position(np.array([320.0, 240.0, 60.0]), 640, 480)
    far = client.world_position(np.array([320.0, 240.0, 30.0]), 640, 480)
    assert near.y == near.z == 0.0
    assert near.x < 0
    assert far.x == pytest.approx(2 * near.x)


def test_looking_along_the_viewing_ray_turns_with_the_head_position() -> None:
    identity = np.array([0.0, 0.0, 0.0, 1.0])
    straight = client.world_rotation(identity, client.world_position(np.array([320.0, 240.0, 60.0]), 640, 480))
    assert straight == pytest.approx([0, 0, 0, 1])
    position = client.world_position(np.array([480.0, 240.0, 60.0]), 640, 480)
    aside = client.world_rotation(identity, position)
    assert 2 * math.acos(aside[3]) == pytest.approx(math.atan2(abs(position.z), -position.x))
