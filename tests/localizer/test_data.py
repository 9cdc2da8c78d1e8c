"""Images and boxes as the localizer gets them."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from trackertraincode.augmentation.loader import checked
from trackertraincode.errors import SampleFormatError
from trackertraincode.localizer.data import (
    STRETCH,
    LocalizerBatches,
    augmented,
    open_images,
    photographs,
    split,
    whole_image,
    with_bars,
)
from trackertraincode.tracking import networks


def white_box(image: np.ndarray) -> np.ndarray:
    """(4,) bounding box of all bright pixels."""
    y, x = np.nonzero(image > 145)
    return np.array([x.min(), y.min(), x.max() + 1, y.max() + 1])


def test_the_box_follows_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    module = "trackertraincode.localizer.data.augment_image"
    monkeypatch.setattr(module, lambda image, rng: image.astype(np.float32))
    monkeypatch.setattr("trackertraincode.localizer.data.BARS_SHARES", ())
    source = np.full((240, 400), 40, np.uint8)
    source[90:150, 260:320] = 250
    for seed in range(30):
        image, box = augmented(source, np.array([260.0, 90, 320, 150]), np.random.default_rng(seed))
        assert image.shape == (224, 288)
        assert box is not None
        assert np.abs(white_box(image) - box).max() <= 2.0, f"seed {seed}"


def test_bars_leave_the_face_free() -> None:
    image, box = np.random.default_rng(0).integers(0, 256, (224, 288), dtype=np.uint8), np.array([60.0, 20, 150, 200])
    x0, y0, x1, y1 = box.astype(int)
    for axis, least in ((0, 25), (1, 20)):
        changed = 0
        for seed in range(30):
            barred = with_bars(image, box, axis, np.random.default_rng(seed))
            assert (barred[y0:y1, x0:x1] == image[y0:y1, x0:x1]).all()
            changed += bool((barred != image).any())
            assert (barred == image).all(axis).any(), "the other edges have no bars"
        assert changed > least, f"axis {axis}"


def test_large_faces_stay_inside() -> None:
    source, box = np.zeros((240, 320), np.uint8), np.array([10.0, 5, 310, 235])
    for seed in range(20):
        found = augmented(source, box, np.random.default_rng(seed))[1]
        assert found is not None
        assert (found[:2] >= 0).all()
        assert (found[2:] - found[:2] <= np.array([288, 224]) * 0.78).all()


@pytest.mark.parametrize("size", [(640, 480), (640, 360), (270, 480), (300, 300), (97, 72)])
def test_whole_images_are_those_that_the_tracker_shows(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """A localizer that answers with the box of the data is one that finds the face."""
    width, height = size
    source = np.add.outer(np.arange(height) * 0.2, np.arange(width) * 0.1).astype(np.uint8)
    box = np.array([0.2 * width, 0.3 * height, 0.6 * width, 0.8 * height])
    image, moved = whole_image(source, box)
    assert moved is not None
    answer, shown = np.r_[5.0, moved / [144, 112, 144, 112] - 1].astype(np.float32), []

    class Knowing:
        def __init__(self, *_: object) -> None: ...

        def run(self, values: np.ndarray) -> np.ndarray:
            shown.append(values[0, 0])
            return answer

    monkeypatch.setattr(networks, "OnnxLocalizer", Knowing)
    assert networks.LocalizerModel(Path("knowing.onnx"))(source).box == pytest.approx(box, abs=1e-3)
    assert shown == [pytest.approx(image / 255 - 0.5, abs=1e-6)]


@pytest.mark.parametrize("size", [(640, 480), (640, 360), (270, 480), (300, 300)])
def test_augmented_faces_have_the_shape_that_they_have_in_frames_of_4_to_3(size: tuple[int, int]) -> None:
    """But for the tenth by which they are stretched on purpose."""
    width, height = size
    box = np.array([0.4 * width, 0.4 * height, 0.6 * width, 0.6 * height])
    aspect = (width * 288 / 640) / (height * 224 / 480)
    for seed in range(20):
        _, found = augmented(np.zeros((height, width), np.uint8), box, np.random.default_rng(seed))
        assert found is not None
        across, down = found[2:] - found[:2]
        assert abs(np.log(across / down / aspect)) < STRETCH + 0.03


def test_batches_hold_values_and_boxes_of_the_contract(tmp_path: Path, write: Callable[..., Path]) -> None:
    dataset = open_images(write(tmp_path / "x.h5", [True, False]))
    batch = checked(LocalizerBatches(dataset, np.arange(2), 2)[0])
    assert batch.image.shape == (2, 1, 224, 288)
    assert batch.image.min().item() == pytest.approx(40 / 255 - 0.5, abs=0.01)
    assert batch.image.max().item() == pytest.approx(250 / 255 - 0.5, abs=0.02)
    assert batch.has_face.tolist() == [1, 0]
    assert batch.face_box[0].tolist() == pytest.approx([-0.25, -0.5, 0.125, 1 / 6], abs=1e-6)
    assert batch.face_box[1].isnan().all()


def test_random_batches_depend_on_seed_and_epoch_alone(tmp_path: Path, write: Callable[..., Path]) -> None:
    dataset = open_images(write(tmp_path / "x.h5", [True, False, True, True]))
    batches = LocalizerBatches(dataset, np.arange(4), 2, seed=1)
    assert len(batches) == 2
    first, again, later = (checked(batches[request]) for request in ((0, 1), (0, 1), (1, 1)))
    assert torch.equal(first.image, again.image)
    assert not torch.equal(first.image, later.image)


def test_a_photograph_is_on_one_side_of_the_split(tmp_path: Path, write: Callable[..., Path]) -> None:
    flags = [True, False] * 10 + [True] * 4
    training, held_out = split(open_images(write(tmp_path / "x.h5", flags)), 0.25, seed=0)
    assert sorted([*training, *held_out]) == list(range(24))
    assert all(row + 1 in held_out for row in held_out if row < 20 and row % 2 == 0)


@pytest.mark.parametrize("faces_first", [True, False])
def test_both_parts_of_a_split_hold_both_kinds(faces_first: bool, tmp_path: Path, write: Callable[..., Path]) -> None:
    """Backgrounds that were joined to faces aren't all of the photograph of the last face."""
    flags = [faces_first] * 50 + [not faces_first] * 50
    dataset = open_images(write(tmp_path / "x.h5", flags))
    shares = []
    for seed in range(30):
        training, held_out = split(dataset, 0.1, seed)
        assert 8 <= len(held_out) <= 12
        shares.append(dataset.labels["has_face"][held_out].mean())
        assert 0 < shares[-1] < 1
        assert 0.4 < dataset.labels["has_face"][training].mean() < 0.6
    assert np.mean(shares) == pytest.approx(0.5, abs=0.05)


def test_a_kind_that_is_rare_is_held_out_too(tmp_path: Path, write: Callable[..., Path]) -> None:
    dataset = open_images(write(tmp_path / "x.h5", [True, False] + [True] * 30 + [False]))
    for seed in range(10):
        for rows in split(dataset, 0.1, seed):
            assert (~dataset.labels["has_face"][rows]).sum() == 1


def test_images_without_a_face_stay_with_the_face_before_them_in_random_order() -> None:
    """So that scenes are split as they always were."""
    flags = np.random.default_rng(0).random(6000) < 2 / 3
    assert flags[0]
    assert (photographs(flags) == np.cumsum(flags) - 1).all()


def test_unsuited_files_are_refused_by_name(tmp_path: Path, write: Callable[..., Path]) -> None:
    with pytest.raises(SampleFormatError, match=r"a\.h5: has no field 'hasface'.*ttc convert widerface"):
        open_images(write(tmp_path / "a.h5", [True], has_face=None))
    with pytest.raises(SampleFormatError, match=r"b\.h5: field 'hasface' is True in all 2 rows"):
        open_images(write(tmp_path / "b.h5", [True, True]))
    with pytest.raises(SampleFormatError, match=r"c\.h5: 2 rows are too few.*different photographs"):
        split(open_images(write(tmp_path / "c.h5", [True, False])), 0.5, seed=0)
    with pytest.raises(SampleFormatError, match=r"d\.h5: 3 rows are too few.*different photographs"):
        split(open_images(write(tmp_path / "d.h5", [True, False, True])), 0.5, seed=0)


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ([5, 5, 5, 9], "row 1 .* is empty, or its edges are swapped,"),
        ([9, 5, 5, 9], "row 1 .* is empty, or its edges are swapped,"),
        ([np.nan, 5, 5, 9], "row 1 .* isn't finite"),
        ([0, 0, 1e6, 1e6], "row 1 is more than 4 times as large as the image"),
        ([5000, 0, 5100, 100], "row 1 has its middle far outside of the image"),
    ],
)
@pytest.mark.parametrize("seed", [None, 1])
def test_boxes_where_no_face_can_be_are_named(
    box: list[float], message: str, seed: int | None, tmp_path: Path, write: Callable[..., Path]
) -> None:
    path = write(tmp_path / "a.h5", [False, True, True, False])
    with h5py.File(path, "a") as file:
        file["rois"][1] = box
    with pytest.raises(SampleFormatError, match=rf"a\.h5: field 'rois', {message}"):
        checked(LocalizerBatches(open_images(path), np.arange(4), 4, seed)[(0, 0) if seed else 0])
