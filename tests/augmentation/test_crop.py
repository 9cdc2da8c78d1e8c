"""Labels go where the image goes, to a twentieth of a pixel."""

from itertools import product

import numpy as np
import pytest
import torch

from close import known
from conftest import random_labels
from trackertraincode.augmentation.crop import (
    Geometry,
    GeometryOptions,
    crop_boxes,
    crop_maps,
    crop_squares,
    draw_geometry,
)
from trackertraincode.augmentation.warp import cut_and_resize, plan_warps, warp_planned
from trackertraincode.geometry import affine2d
from trackertraincode.geometry.boxes import square_crop_box
from trackertraincode.sample.images import CropError, encode_jpeg, encode_png

SIZE = 129


def render_dot(center: np.ndarray, size: tuple[int, int], sigma: float) -> np.ndarray:
    """A Gaussian dot; center in corner coordinates."""
    y, x = np.mgrid[: size[1], : size[0]] + 0.5
    return np.round(250 * np.exp(-((x - center[0]) ** 2 + (y - center[1]) ** 2) / (2 * sigma**2))).astype(np.uint8)


def find_dot(image: np.ndarray) -> np.ndarray:
    values = image.astype(np.float64)
    values[values < 3] = 0
    y, x = np.mgrid[: image.shape[0], : image.shape[1]] + 0.5
    return np.array([(values * x).sum(), (values * y).sum()]) / values.sum()


def geometry_of(angle: float, mirror: bool, factor: float = 1.1) -> Geometry:
    one = torch.ones(1)
    return Geometry(one * factor, torch.tensor([[0.1, -0.2]]), one * np.radians(angle), one.bool() * mirror, one * 0)


@pytest.mark.parametrize(
    ("edge", "angle", "mirror"),
    list(product([60.0, 129.0, 200.0, 333.3, 500.0, 900.0, 1500.0], [0, 30, -77], [False, True])),
)
def test_image_and_points_agree_under_any_crop(edge: float, angle: float, mirror: bool) -> None:
    width, height = int(edge * 1.6) + 3, int(edge * 1.5)
    dot = np.array([width * 0.47 + 0.3, height * 0.53 + 0.17])
    sigma = max(1.8, 2.2 * edge / SIZE)
    image = render_dot(dot, (width, height), sigma)
    box = torch.tensor(
        [[width * 0.5 - edge * 0.45, height * 0.5 - edge * 0.4, width * 0.5 + edge * 0.45, height * 0.5 + edge * 0.4]]
    )
    geometry = geometry_of(angle, mirror)
    maps = crop_maps(crop_squares(box, geometry), geometry, SIZE)
    expected = affine2d.move_points(maps, torch.from_numpy(dot).float()[None, None])[0, 0].numpy()
    for data in (encode_png(image), encode_jpeg(image, 98)):
        assert np.abs(find_dot(warp_planned(data, plan_warps(maps)[0], SIZE)) - expected).max() < 0.05


@pytest.mark.parametrize("edge", [50, 129, 180, 300, 777])
def test_evaluation_crops_agree_with_points(edge: int) -> None:
    dot = np.array([edge * 0.9 + 0.4, edge * 0.8 + 0.1])
    image = render_dot(dot, (2 * edge, 2 * edge), max(1.8, 2.2 * edge / SIZE))
    square = square_crop_box(torch.tensor([0.4, 0.3, 1.0, 1.0]) * 2 * edge, 1.0)
    crop = cut_and_resize(image, square.numpy(), SIZE)
    maps = affine2d.box_to_square(square, SIZE)
    expected = affine2d.move_points(maps, torch.from_numpy(dot).float()[None])[0].numpy()
    assert np.abs(find_dot(crop) - expected).max() < 0.05


def test_outside_of_the_image_is_black() -> None:
    white = np.full((50, 50), 255, np.uint8)
    crop = cut_and_resize(white, np.array([-25, -25, 25, 25]), 10)
    assert (crop[:5].max(), crop[5:, 5:].min()) == (0, 255)
    with pytest.raises(CropError, match="its crop would have 90000 × 90000 pixels, and the image has 50 × 50"):
        cut_and_resize(white, np.array([0, 0, 90_000, 90_000]), 10)
    with pytest.raises(CropError, match=r"its crop, \[900, 0, 950, 50\], shows nothing of the image, which has"):
        cut_and_resize(white, np.array([900, 0, 950, 50]), 10)
    far = warp_planned(encode_png(white), plan_warps(affine2d.translation(torch.tensor([[500.0, 0.0]])))[0], 10)
    assert far.max() == 0


def test_draws_follow_the_published_recipe() -> None:
    draw = draw_geometry(40_000, GeometryOptions(), np.random.default_rng(0))
    turned = draw.angle != 0
    assert turned.float().mean() == pytest.approx(1 / 3, abs=0.01)
    assert draw.angle[turned].abs().rad2deg().unique().numpy() == pytest.approx([30.0], abs=1e-3)
    assert draw.mirror.float().mean() == pytest.approx(0.5, abs=0.01)
    assert (draw.quarter_turns != 0).float().mean() == pytest.approx(0.01, abs=0.002)
    assert (float(known(draw.factor).mean()), float(known(draw.factor).std())) == pytest.approx((1.1, 0.1), abs=0.005)
    assert (draw.shift.abs() == 1.0).float().mean() == pytest.approx(0.0455, abs=0.005)  # clipped at 2 sigma


def test_images_are_decoded_with_more_pixels_than_the_crop_needs() -> None:
    scales = np.linspace(0.02, 1.5, 200)
    maps = affine2d.scaling(torch.from_numpy(scales)[:, None].expand(-1, 2))
    for scale, warp in zip(scales, plan_warps(maps)):
        assert warp.reduce == 1 or scale * warp.reduce <= 0.72
        assert warp.reduce == 8 or scale * warp.reduce > 0.36
        assert warp.doubled == (scale < 1.0)


def test_a_shifted_square_by_hand() -> None:
    """Room to shift: half of what edge and side differ by, and 0.3 of the shorter of them."""
    shift = torch.tensor([[1.0, -1.0]])
    zero = torch.zeros(1)
    box = torch.tensor([[0.0, 0, 10, 20]])
    square = crop_squares(box, Geometry(torch.tensor([1.1]), shift, zero, zero.bool(), zero))
    x, y = 5 + 0.5 * 12 + 0.3 * 10, 10 - 0.5 * 2 - 0.3 * 20
    assert square.tolist() == [pytest.approx([x - 11, y - 11, x + 11, y + 11])]


def test_a_loose_square_by_hand() -> None:
    """6DRepNet grows the box by 0.6 k of its sides, above by 2 k, and keeps 224 of 240 of the shorter one."""
    zero = torch.zeros(1)
    geometry = Geometry(None, torch.zeros(1, 2), zero, zero.bool(), zero, looseness=torch.tensor([0.5]))
    square = crop_squares(torch.tensor([[0.0, 0, 10, 20]]), geometry)
    edge, y = 16 * 224 / 240, (-20 + 26) / 2
    assert square.tolist() == [pytest.approx([5 - edge / 2, y - edge / 2, 5 + edge / 2, y + edge / 2])]


def test_loose_crops_lie_in_the_grown_box() -> None:
    box = torch.tensor([[100.0, 100.0, 200.0, 220.0]]).expand(500, 4)
    geometry = draw_geometry(500, GeometryOptions(looseness=(0.2, 0.4), rotation=0.0), np.random.default_rng(0))
    squares = crop_squares(box, geometry)
    low, high = box + 0.4 * torch.tensor([-60.0, -240.0, 60.0, 72.0]), squares
    assert (high[:, :2] >= low[:, :2] - 1e-3).all()
    assert (high[:, 2:] <= low[:, 2:] + 1e-3).all()
    assert torch.allclose(squares[:, 2] - squares[:, 0], squares[:, 3] - squares[:, 1], atol=1e-3)


def test_boxes_fall_back_to_what_is_known() -> None:
    labels = random_labels(4)
    labels["landmarks"][0] = torch.nan
    labels["landmarks_2d"][0] = torch.nan
    labels["face_box"][1] = torch.nan
    for override in ("original", "landmarks", "extent_to_forehead"):
        assert torch.isfinite(crop_boxes(labels, override)).all(), override
    assert torch.equal(crop_boxes(labels, "landmarks")[0], labels["face_box"][0])
    labels["face_box"][0] = torch.nan
    assert torch.isnan(crop_boxes(labels, "landmarks")[0]).all()
