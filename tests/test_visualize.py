"""Drawings show the labels where they are, and leave their arguments alone."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from trackertraincode.drawing import AXIS_COLORS, BOX_COLOR, HEAD_COLOR, LANDMARKS_2D_COLOR
from trackertraincode.errors import UserError
from trackertraincode.sample.images import decode
from trackertraincode.sample.sample import Prediction, Sample, make_batch
from trackertraincode.visualize import (
    PREDICTED_COLOR,
    TRUE_COLOR,
    contact_sheet,
    cut_out,
    draw_batch,
    draw_histograms,
    draw_prediction,
    draw_sample,
    draw_segmentation,
    draw_text,
    write_image,
)

BLACK = np.zeros((200, 200, 3), np.uint8)
FRONTAL = {
    "rotation": np.array([0, 0, 0, 1], np.float32),
    "head": np.array([100, 90, 50], np.float32),
    "face_box": np.array([60, 50, 141, 161], np.float32),
}


def near(image: np.ndarray, color: tuple[int, int, int], tolerance: int = 60) -> np.ndarray:
    """(H, W) bool: pixels of about this colour."""
    return np.abs(image.astype(int) - color).max(-1) < tolerance


def extent(mask: np.ndarray) -> list[int]:
    """x0, y0, x1, y1 of the set pixels, both ends included."""
    ys, xs = np.nonzero(mask)
    return [int(v) for v in (xs.min(), ys.min(), xs.max(), ys.max())]


def test_box_circle_and_axes_lie_where_the_labels_say() -> None:
    box = draw_sample(BLACK, {"face_box": FRONTAL["face_box"]})
    assert extent(near(box, BOX_COLOR, 150)) == pytest.approx([60, 50, 141, 161], abs=1)
    circle = draw_sample(BLACK, {"head": FRONTAL["head"]})
    assert extent(near(circle, HEAD_COLOR, 150)) == pytest.approx([50, 40, 150, 140], abs=1)
    axes = draw_sample(BLACK, FRONTAL)
    x0, y0, x1, y1 = extent(near(axes, AXIS_COLORS[0]))
    assert (x1, (y0 + y1) / 2) == pytest.approx((150, 90), abs=2)
    assert x0 >= 98
    assert extent(near(axes, AXIS_COLORS[1]))[3] == pytest.approx(140, abs=2)


def test_two_dimensional_landmarks_are_dots() -> None:
    points = np.stack(np.meshgrid(np.arange(17) * 11 + 8.0, [20.0, 80.0, 140.0, 180.0]), -1).reshape(68, 2)
    drawn = draw_sample(BLACK, {"landmarks_2d": points})
    assert near(drawn, LANDMARKS_2D_COLOR)[points[:, 1].astype(int), points[:, 0].astype(int)].all()
    assert near(drawn, (0, 0, 0)).mean() > 0.95


def test_all_labels_move_with_the_image_when_it_is_scaled(make_sample: Callable[..., Sample]) -> None:
    spot = np.zeros((80, 96, 3), np.uint8)
    spot[38:43, 48:53] = 255
    head = np.array([50.5, 40.5, 12], np.float32)
    scaled = draw_sample(spot, {"head": head}, edge=384)
    assert scaled.shape == (320, 384, 3)
    white = extent(near(scaled, (255, 255, 255)))
    ring = extent(near(scaled, HEAD_COLOR, 100))
    assert (white[0] + white[2]) / 2 == pytest.approx((ring[0] + ring[2]) / 2, abs=0.6)
    assert (white[1] + white[3]) / 2 == pytest.approx((ring[1] + ring[3]) / 2, abs=0.6)
    assert ring[2] - ring[0] == pytest.approx(2 * 4 * 12, abs=2)


@pytest.mark.parametrize(("edge", "size"), [(200, 10), (64, 40), (31, 120)])
def test_cut_out_keeps_the_spot_under_its_label(edge: int, size: int) -> None:
    image = np.zeros((400, 600, 3), np.uint8)
    image[300 - size // 2 : 300 + size // 2 + 1, 420 - size // 2 : 420 + size // 2 + 1] = 255
    labels = {
        "head": np.array([420.5, 300.5, 100], np.float32),
        "face_box": np.array([340, 240, 520, 380], np.float32),
        "landmarks": np.full((68, 3), [420.5, 300.5, 10], np.float32),
        "rotation": FRONTAL["rotation"],
    }
    cut, moved = cut_out(image, labels, edge)
    assert cut.shape == (edge, edge, 3)
    ys, xs = np.mgrid[:edge, :edge] + 0.5
    weight = cut[..., 0] / cut[..., 0].sum()
    assert (xs * weight).sum() == pytest.approx(moved["head"][0], abs=0.1)
    assert (ys * weight).sum() == pytest.approx(moved["head"][1], abs=0.1)
    assert moved["landmarks"][5, :2] == pytest.approx(moved["head"][:2])
    assert moved["head"][2] / edge == pytest.approx(100 / (1.5 * 180), rel=1e-5)
    assert moved["rotation"] == pytest.approx(labels["rotation"])


def test_cut_out_without_a_box_takes_the_head_or_everything() -> None:
    _cut, moved = cut_out(BLACK, {"head": FRONTAL["head"]}, 100)
    assert moved["head"] == pytest.approx([50, 50, 100 / 3], abs=1)
    assert cut_out(BLACK, {}, 50)[0].shape == (50, 50, 3)


@pytest.mark.parametrize(
    "labels",
    [
        {"face_box": [-1e30, 0, 1e30, 1]},
        {"face_box": [3e38, 0, 3.1e38, 3e38]},
        {"head": [5, 5, 1e30]},
        {"head": [1e20, 5, 2]},
    ],
)
def test_where_a_face_cannot_be_everything_is_shown(labels: dict[str, list[float]]) -> None:
    image = np.random.default_rng(0).integers(0, 255, BLACK.shape, dtype=np.uint8)
    assert np.array_equal(cut_out(image, labels, 50)[0], cut_out(image, {}, 50)[0])


def test_arguments_are_not_drawn_into(make_sample: Callable[..., Sample]) -> None:
    sample = make_sample()
    image = decode(bytes(sample.image), color=True)
    before = image.copy()
    drawn = [draw_sample(image, sample), draw_prediction(image, sample, sample), draw_text(image, ["a"])]
    drawn.append(draw_segmentation(image, np.full(image.shape[:2], 3, np.uint8)))
    contact_sheet(drawn, 2)[...] = 0
    assert np.array_equal(image, before)
    assert all((other != before).any() for other in drawn)


def test_absent_and_unknown_labels_are_not_drawn(make_sample: Callable[..., Sample]) -> None:
    nothing = {"rotation": None, "head": np.full(3, np.nan), "face_box": np.full(4, np.nan), "landmarks": None}
    assert np.array_equal(draw_sample(BLACK, nothing), BLACK)
    flat = np.zeros((68, 3), np.float32)
    flat[:, :2], flat[:, 2] = np.random.default_rng(0).uniform(20, 180, (68, 2)), np.nan
    assert draw_sample(BLACK, {"landmarks": flat}).any()  # depths needn't be known


def test_labels_far_outside_are_survived() -> None:
    far = {"face_box": np.array([-1e9, -5, 1e9, 50], np.float32), "head": np.array([1e9, 0, 1e9], np.float32)}
    assert draw_sample(BLACK, far | {"rotation": FRONTAL["rotation"]}).shape == BLACK.shape


def test_prediction_and_truth_have_their_own_colours() -> None:
    shifted = {**FRONTAL, "face_box": FRONTAL["face_box"] + 10}
    both = draw_prediction(BLACK, shifted, FRONTAL)
    only = draw_prediction(BLACK, shifted)
    assert near(both, TRUE_COLOR, 30).sum() > 100
    assert near(both, PREDICTED_COLOR, 30).sum() > 100
    assert near(only, TRUE_COLOR, 30)[:85].sum() == 0  # the y axis, which is nearly as green, starts below


def test_contact_sheet_places_images_row_by_row() -> None:
    images = [np.full((10 + i, 20, 3), 40 * (i + 1), np.uint8) for i in range(5)]
    sheet = contact_sheet(images, 2, gap=2)
    assert sheet.shape == (3 * 16 + 2, 2 * 22 + 2, 3)
    for index, image in enumerate(images):
        row, column = divmod(index, 2)
        top, left = row * 16 + 2, column * 22 + 2
        assert np.array_equal(sheet[top : top + image.shape[0], left : left + 20], image)
    grey = contact_sheet([np.full((4, 4), 7, np.uint8)], 9, gap=0)
    assert np.array_equal(grey, np.full((4, 4, 3), 7))
    with pytest.raises(ValueError, match="at least one image"):
        contact_sheet([], 3)


def test_segmentation_leaves_background_clear() -> None:
    classes = np.zeros((200, 200), np.uint8)
    classes[50:100], classes[100:150], classes[150:] = 1, 2, 255
    drawn = draw_segmentation(BLACK, classes)
    assert not drawn[:50].any()
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) == 4


def test_histograms_survive_empty_and_constant_values() -> None:
    chart = draw_histograms({"none": np.array([np.nan]), "constant": np.ones(9), "some": np.arange(50.0)})
    draw_histograms({"neighbours": np.array([20, np.nextafter(np.float32(20), np.float32(21))], np.float32)})
    draw_histograms({"huge": np.full(3, 2.0**63, np.float32), "largest": np.array([-3e38, 3e38], np.float32)})
    assert chart.shape[1] > 3 * 360


def test_images_are_written_by_suffix(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 255, (16, 20, 3), dtype=np.uint8)
    write_image(tmp_path / "new" / "a.png", image)
    assert np.array_equal(decode((tmp_path / "new" / "a.png").read_bytes(), color=True), image)
    with pytest.raises(UserError, match=r"a\.bmp.*\.png"):
        write_image(tmp_path / "a.bmp", image)
    with pytest.raises(
        UserError, match=r"a\.jpg: 65501 × 1 pixels don't fit into a \.jpg file, which has 65,500.*\.png"
    ):
        write_image(tmp_path / "a.jpg", np.zeros((1, 65501, 3), np.uint8))
    assert not (tmp_path / "a.jpg").exists()


def test_a_batch_is_drawn_in_pixels_of_its_crops() -> None:
    labels = {
        "rotation": torch.tensor([[0.0, 0, 0, 1]]),
        "head": torch.tensor([[0.0, -0.1, 0.5]]),
        "face_box": torch.tensor([[-0.5, -0.5, 0.5, 0.5]]),
    }
    image = torch.zeros(2, 1, 100, 100)
    both = {name: value.repeat(2, *[1] * (value.ndim - 1)) for name, value in labels.items()}
    both["face_box"] = torch.tensor([[-0.5, -0.5, 0.5, 0.5], [torch.nan] * 4])
    batch = make_batch(image, torch.zeros(2, dtype=torch.long), torch.arange(2), **both)
    predicted = Prediction(**{name: value.repeat(2, 1) for name, value in labels.items() if name != "face_box"})
    drawn = draw_batch(batch, predicted, edge=200)
    assert [d.shape for d in drawn] == [(200, 200, 3)] * 2
    only_first = drawn[0].astype(int) - drawn[1]
    assert extent(np.abs(only_first).max(-1) > 100) == pytest.approx([50, 50, 150, 150], abs=1)
    assert extent(near(drawn[1], PREDICTED_COLOR, 120)) == pytest.approx([50, 40, 150, 140], abs=1)
