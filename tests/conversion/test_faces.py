"""Crops keep faces and labels together."""

import numpy as np
import pytest

from trackertraincode.conversion.faces import place_crop, store_crop
from trackertraincode.errors import ArchiveError
from trackertraincode.sample.images import Size, decode, decode_labels, encode_jpeg, encode_png, image_size


def blob(width: int, height: int, x: float, y: float, sigma: float) -> np.ndarray:
    """A bright spot centred at x, y, counted from the corner."""
    cols, rows = np.arange(width) + 0.5, np.arange(height)[:, None] + 0.5
    grey = 255 * np.exp(-((cols - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))
    return np.repeat(grey[..., None], 3, axis=2).astype(np.uint8)


def centroid(image: np.ndarray) -> np.ndarray:
    weights = np.where(image > 40, image, 0).astype(float)
    rows, cols = np.indices(image.shape) + 0.5
    return np.array([(cols * weights).sum(), (rows * weights).sum()]) / weights.sum()


@pytest.mark.parametrize(
    "box", [[300.0, 200.0, 1000.0, 760.0], [410.0, 250.0, 560.0, 420.0], [0.0, 0.0, 1200.0, 900.0]]
)
def test_points_stay_on_what_they_mark(box: list[float]) -> None:
    point = np.tile([480.3, 330.7], (68, 1))
    image = blob(1200, 900, point[0][0], point[0][1], 25.0)
    kept = store_crop(encode_png(image), np.array(box), {"landmarks_2d": point}, name="a.png")
    assert np.abs(centroid(decode(kept["image"])) - kept["landmarks_2d"][0]).max() < 0.05


def test_boxes_and_points_count_from_the_corner() -> None:
    size, box = Size(1344, 896), np.array([0.0, 0.0, 1344.0, 896.0])
    placement = place_crop(size, box)
    assert placement is not None
    assert placement.scaled == (336, 224)
    moved = placement.move_labels({"face_box": box, "landmarks_2d": np.tile([[0.0, 0.0], [1344.0, 896.0]], (34, 1))})
    assert np.allclose(moved["face_box"], [0, 0, 336, 224])
    assert np.allclose(moved["landmarks_2d"][:2], [[0, 0], [336, 224]])


@pytest.mark.parametrize(
    ("sides", "shorter"), [((336, 800), 336), ((337, 337), 224), ((337, 600), 224), ((100, 90), 90)]
)
def test_faces_are_scaled_only_when_both_sides_are_large(sides: tuple[int, int], shorter: int) -> None:
    kept = store_crop(np.zeros((900, 900, 3), np.uint8), np.array([20.0, 30.0, 20 + sides[0], 30 + sides[1]]), name="a")
    x0, y0, x1, y1 = kept["face_box"]
    assert min(x1 - x0, y1 - y0) == pytest.approx(shorter, rel=1 / 900)


def test_the_crop_is_padded_by_half_the_longer_side_and_ten_pixels() -> None:
    kept = store_crop(np.zeros((600, 700, 3), np.uint8), np.array([250.0, 200.0, 350.0, 260.0]), name="a")
    assert image_size(kept["image"]) == (100 + 120, 60 + 120)
    assert kept["face_box"].tolist() == [60, 60, 160, 120]


def test_the_crop_ends_where_the_image_ends() -> None:
    kept = store_crop(np.zeros((200, 240, 3), np.uint8), np.array([-5.0, 10.0, 95.0, 120.0]), name="a")
    assert image_size(kept["image"]) == (160, 185)
    assert kept["face_box"].tolist() == [-5, 10, 95, 120]


def test_head_size_and_depth_scale_with_the_image() -> None:
    labels = {"head": np.array([400.0, 400.0, 100.0]), "landmarks": np.full((68, 3), 40.0), "rotation": np.eye(4)[3]}
    kept = store_crop(np.zeros((896, 896, 3), np.uint8), np.array([0.0, 0.0, 448.0, 448.0]), labels, name="a")
    assert kept["head"][2] == pytest.approx(50)
    assert np.allclose(kept["landmarks"][:, 2], 20)
    assert np.allclose(kept["landmarks"][:, 0], 20)
    assert kept["rotation"].tolist() == [0, 0, 0, 1]


def test_a_jpeg_that_needs_no_change_is_copied() -> None:
    data = encode_jpeg(np.full((100, 110, 3), 90, np.uint8), 50)
    classes = encode_png(np.ones((100, 110), np.uint8))
    kept = store_crop(data, np.array([10.0, 10.0, 90.0, 90.0]), {"segmentation": classes, "head": None}, name="a")
    assert kept["image"] is data
    assert kept["segmentation"] is classes
    assert kept["head"] is None


def test_label_images_follow_without_mixing_classes() -> None:
    classes = np.zeros((900, 900), np.uint8)
    classes[200:700, 300:800] = 9
    labels = {"segmentation": encode_png(classes)}
    kept = store_crop(np.zeros((900, 900, 3), np.uint8), np.array([300.0, 200.0, 800.0, 700.0]), labels, name="a")
    moved = decode_labels(kept["segmentation"])
    assert set(np.unique(moved)) == {0, 9}
    x0, y0, x1, y1 = kept["face_box"]
    rows, cols = np.nonzero(moved)
    assert np.allclose([cols.min(), rows.min(), cols.max() + 1, rows.max() + 1], [x0, y0, x1, y1], atol=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"box": np.array([300.0, 0.0, 400.0, 90.0])}, r"p\.jpg: face box \[300.0, .* lies outside .* 110 × 100"),
        ({"image": b"GIF89a"}, r"p\.jpg: 6 bytes, GIF .* not a JPEG"),
        ({"labels": {"segmentation": b"junk"}}, r"p\.jpg: label image: 4 bytes"),
        ({"labels": {"segmentation": np.zeros((9, 8), np.uint8)}}, r"p\.jpg: label image has 8 × 9 pixels"),
    ],
)
def test_what_does_not_fit_is_named(change: dict, message: str) -> None:
    good = {"image": encode_jpeg(np.zeros((100, 110, 3), np.uint8)), "box": np.array([0.0, 0.0, 50.0, 50.0])}
    with pytest.raises(ArchiveError, match=message):
        store_crop(**(good | change), name="p.jpg")
