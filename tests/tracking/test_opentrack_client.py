"""The plugin's own self-tests, and the laws of its coordinate maps."""

import math
from fractions import Fraction

import cv2
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


def test_bright_images_are_divided_by_255() -> None:
    bright = np.full((4, 4), 200, np.uint8)
    assert client.normalize_brightness(bright)[0, 0] == pytest.approx(200 / 255 - 0.5)


def test_pyramid_has_a_level_more_while_it_is_640_wide() -> None:
    pyramid = client.build_pyramid(np.zeros((1440, 2560), np.uint8))
    assert [level.shape[1] for level in pyramid] == [2560, 1280, 640, 320]


@pytest.mark.parametrize(("width", "level"), [(100, 0), (129, 0), (257, 0), (258, 1), (516, 2), (1032, 3), (9999, 3)])
def test_level_follows_the_box_width(width: int, level: int) -> None:
    assert client.pyramid_level(width, 129, depth=4) == level


def test_a_pyramid_has_four_levels_at_most() -> None:
    assert [level.shape[1] for level in client.build_pyramid(np.zeros((3, 12_000), np.uint8))] == [
        12_000, 6000, 3000, 1500
    ]  # fmt: skip


def test_colours_are_halved_before_they_become_grey() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    full, half = client.build_pyramid(frame)
    assert np.array_equal(full, cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY))
    assert np.array_equal(half, cv2.cvtColor(cv2.pyrDown(frame), cv2.COLOR_RGB2GRAY))
    assert not np.array_equal(half, cv2.pyrDown(full))


@pytest.mark.parametrize(
    ("shape", "corner", "size"),
    [((720, 1280), (160, 0), (720, 960)), ((480, 640), (0, 0), (480, 640)), ((1024, 1280), (0, 32), (960, 1280)),
     ((480, 853, 3), (106, 0), (480, 640, 3))],
)  # fmt: skip
def test_frames_are_cropped_to_4_3_about_their_middle(
    shape: tuple[int, ...], corner: tuple[int, int], size: tuple[int, ...]
) -> None:
    frame = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    view, (x, y) = client.crop_to_4_3(frame)
    assert (x, y) == corner
    assert view.shape == size
    assert np.array_equal(view, frame[y : y + size[0], x : x + size[1]])


@pytest.mark.parametrize(
    ("box", "center", "edge"),
    [((101, 103, 301, 299), (250.0, 254.0), 300), ((103, 101, 303, 259), (256.0, 230.0), 304),
     ((-3, 10, 260, 258), (126.0, 139.0), 260), ((0.5, 1.5, 20.5, 19.6), (10.0, 12.0), 20)],
)  # fmt: skip
def test_boxes_are_rounded_on_their_level_halves_to_the_even_one(
    box: tuple[float, ...], center: tuple[float, float], edge: int
) -> None:
    """The first three are cut from the second level, where 101, 103, 301 lie at 50.5, 51.5, 150.5."""
    pyramid = client.build_pyramid(np.zeros((480, 640), np.uint8))
    patch = client.extract_patch(pyramid, client.PixelBox(*box), 129)
    assert patch.center == center
    assert patch.edge == edge


@pytest.mark.parametrize("level", [200, 126, 60, 3])
def test_brightness_is_rounded_once(level: int) -> None:
    image = np.arange(256, dtype=np.uint8).reshape(16, 16)
    alpha = np.float32(0.45) / np.float32(max(5, level)) if level < 127 else np.float32(1 / 255)
    exact = [np.float32(float(Fraction(pixel) * Fraction(float(alpha)) - Fraction(1, 2))) for pixel in range(256)]
    values = client.scale_grey(image, alpha)
    assert values.dtype == np.float32
    assert values.ravel().tolist() == exact
    twice = image.astype(np.float32) * alpha - np.float32(0.5)
    assert (values != twice).any()


def test_patches_do_not_depend_on_ipp_and_its_setting_is_kept() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (480, 640), dtype=np.uint8)
    patches, before = [], cv2.ipp.useIPP()
    try:
        for wanted in (False, True):
            cv2.ipp.setUseIPP(wanted)
            now = cv2.ipp.useIPP()
            patches.append(client.extract_patch([frame], client.PixelBox(100, 90, 151, 150), 129).image)
            assert cv2.ipp.useIPP() == now
    finally:
        cv2.ipp.setUseIPP(before)
    assert np.array_equal(patches[0], patches[1])


def test_the_next_box_is_the_predicted_one_grown_and_filtered() -> None:
    last, predicted = client.PixelBox(10, 20, 30, 40), client.PixelBox(20, 20, 40, 20)
    assert client.next_box(last, predicted) == predicted
    assert client.next_box(last, predicted, zoom=1.5) == (10, 15, 60, 30)
    assert client.next_box(last, predicted, alpha=0.5) == (15, 20, 35, 30)
    assert client.next_box(last, client.PixelBox(20.25, 20, 40.5, 20)) == (20.25, 20, 40.5, 20)


def test_overlap_is_intersection_over_union() -> None:
    box = client.PixelBox(0, 0, 10, 10)
    assert client.overlap(box, box) == 1.0
    assert client.overlap(box, client.PixelBox(5, 0, 10, 10)) == pytest.approx(1 / 3)
    assert client.overlap(box, client.PixelBox(20, 0, 10, 10)) == 0.0
    assert client.overlap(client.PixelBox(0, 0, 0, 0), client.PixelBox(0, 0, 0, 0)) == 0.0


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


def test_a_head_without_a_size_is_far_away() -> None:
    position = client.world_position(np.array([320.0, 240.0, 0.0]), 640, 480)
    assert -math.inf < position.x < -1e6


def test_looking_along_the_viewing_ray_turns_with_the_head_position() -> None:
    identity = np.array([0.0, 0.0, 0.0, 1.0])
    straight = client.world_rotation(identity, client.world_position(np.array([320.0, 240.0, 60.0]), 640, 480))
    assert straight == pytest.approx([0, 0, 0, 1])
    position = client.world_position(np.array([480.0, 240.0, 60.0]), 640, 480)
    aside = client.world_rotation(identity, position)
    assert 2 * math.acos(aside[3]) == pytest.approx(math.atan2(abs(position.z), -position.x))
