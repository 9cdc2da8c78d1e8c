"""The localizer: scenes, augmentation, scores, a tiny run and its exported file."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset, PoseWriter
from trackertraincode.errors import ConfigError, SampleFormatError
from trackertraincode.export.contract import opentrack_faults
from trackertraincode.losses.localizer import localizer_loss
from trackertraincode.models.localizer import Localizer, LocalizerConfig
from trackertraincode.sample.images import decode, encode_png
from trackertraincode.sample.sample import Sample
from trackertraincode.tracking.networks import LocalizerModel
from trackertraincode.training.localizer import (
    LocalizerRun,
    evaluate_localizer,
    format_scores,
    load_predict,
    lr_factor,
    score,
    train_localizer,
)
from trackertraincode.training.localizer_data import (
    LocalizerBatches,
    augmented,
    checked,
    open_pictures,
    split,
    whole_picture,
)
from trackertraincode.training.localizer_scenes import make_scene, write_scenes


def write(path: Path, flags: list[bool], **changes: object) -> Path:
    """A file of dark pictures, each with a white box where its face is said to be."""
    with PoseWriter(path, source={"converter": "test"}) as writer:
        for flag in flags:
            image = np.full((120, 160), 40, np.uint8)
            image[30:70, 60:90] = 250 if flag else 40
            box = np.array([60, 30, 90, 70], np.float32)
            writer.write(Sample(**({"image": encode_png(image), "face_box": box, "has_face": flag} | changes)))  # type: ignore[arg-type]
    return path


def white_box(image: np.ndarray) -> np.ndarray:
    """(4,) hull of all bright pixels."""
    y, x = np.nonzero(image > 145)
    return np.array([x.min(), y.min(), x.max() + 1, y.max() + 1])


class TestScenes:
    def test_a_scene_depends_on_seed_and_index_alone(self) -> None:
        first, again, other = make_scene(3, 5), make_scene(3, 5), make_scene(4, 5)
        assert first.image == again.image
        assert first.image != other.image

    def test_faces_are_inside_and_both_kinds_occur(self) -> None:
        scenes = [make_scene(0, i) for i in range(16)]
        assert {s.has_face for s in scenes} == {True, False}
        for scene in scenes:
            height, width = decode(scene.image).shape
            x0, y0, x1, y1 = scene.face_box
            assert (width, height) == (288, 224)
            assert 0 <= x0 < x1 <= width
            assert 0 <= y0 < y1 <= height

    def test_workers_make_the_same_file(self, tmp_path: Path) -> None:
        for workers in (0, 1):
            write_scenes(tmp_path / f"{workers}.h5", 3, 7, workers)
        alone, with_worker = (Hdf5PoseDataset(tmp_path / f"{w}.h5") for w in (0, 1))
        assert [bytes(d) for d in alone.images(range(3))] == [bytes(d) for d in with_worker.images(range(3))]


class TestPictures:
    def test_the_box_follows_the_picture(self, monkeypatch: pytest.MonkeyPatch) -> None:
        module = "trackertraincode.training.localizer_data.augment_picture"
        monkeypatch.setattr(module, lambda image, rng: image.astype(np.float32))
        picture = np.full((240, 400), 40, np.uint8)
        picture[90:150, 260:320] = 250
        for seed in range(30):
            image, box = augmented(picture, np.array([260.0, 90, 320, 150]), np.random.default_rng(seed))
            assert image.shape == (224, 288)
            assert box is not None
            assert np.abs(white_box(image) - box).max() <= 2.0, f"seed {seed}"

    def test_large_faces_stay_inside(self) -> None:
        picture, box = np.zeros((240, 320), np.uint8), np.array([10.0, 5, 310, 235])
        for seed in range(20):
            found = augmented(picture, box, np.random.default_rng(seed))[1]
            assert found is not None
            assert (found[:2] >= 0).all()
            assert (found[2:] - found[:2] <= np.array([288, 224]) * 0.78).all()

    def test_whole_pictures_are_stretched_like_the_tracker_does(self) -> None:
        image, box = whole_picture(np.zeros((100, 200), np.uint8), np.array([50.0, 50, 100, 100]))
        assert image.shape == (224, 288)
        assert box == pytest.approx([72, 112, 144, 224])

    def test_batches_hold_values_and_boxes_of_the_contract(self, tmp_path: Path) -> None:
        dataset = open_pictures(write(tmp_path / "x.h5", [True, False]))
        batch = checked(LocalizerBatches(dataset, np.arange(2), 2)[0])
        assert batch.image.shape == (2, 1, 224, 288)
        assert batch.image.min().item() == pytest.approx(40 / 255 - 0.5, abs=0.01)
        assert batch.image.max().item() == pytest.approx(250 / 255 - 0.5, abs=0.02)
        assert batch.has_face.tolist() == [1, 0]
        assert batch.face_box[0].tolist() == pytest.approx([-0.25, -0.5, 0.125, 1 / 6], abs=1e-6)
        assert batch.face_box[1].isnan().all()

    def test_random_batches_depend_on_seed_and_epoch_alone(self, tmp_path: Path) -> None:
        dataset = open_pictures(write(tmp_path / "x.h5", [True, False, True, True]))
        batches = LocalizerBatches(dataset, np.arange(4), 2, seed=1)
        assert len(batches) == 2
        first, again, later = (checked(batches[request]) for request in ((0, 1), (0, 1), (1, 1)))
        assert torch.equal(first.image, again.image)
        assert not torch.equal(first.image, later.image)

    def test_a_photograph_is_on_one_side_of_the_split(self, tmp_path: Path) -> None:
        flags = [True, False] * 10 + [True] * 4
        training, held_out = split(open_pictures(write(tmp_path / "x.h5", flags)), 0.25, seed=0)
        assert sorted([*training, *held_out]) == list(range(24))
        assert all(row + 1 in held_out for row in held_out if row < 20 and row % 2 == 0)

    def test_unsuited_files_are_refused_by_name(self, tmp_path: Path) -> None:
        with pytest.raises(SampleFormatError, match=r"a\.h5: has no field 'hasface'.*dsprocess_widerface"):
            open_pictures(write(tmp_path / "a.h5", [True], has_face=None))
        with pytest.raises(SampleFormatError, match=r"b\.h5: field 'hasface' is True in all 2 rows"):
            open_pictures(write(tmp_path / "b.h5", [True, True]))
        with pytest.raises(SampleFormatError, match=r"c\.h5: 2 rows are too few"):
            split(open_pictures(write(tmp_path / "c.h5", [True, False])), 0.5, seed=0)


class TestScores:
    def test_recall_wants_score_and_overlap(self) -> None:
        box = torch.tensor([[-0.5, -0.5, 0.5, 0.5]]).expand(4, 4)
        shifted = box + torch.tensor([0.5, 0.0, 0.5, 0.0])  # IoU 1/3
        output = torch.cat([torch.tensor([[2.0], [-2.0], [2.0], [3.0]]), torch.cat([box[:2], shifted[:2]])], dim=1)
        found = score(output, torch.tensor([1.0, 1, 1, 0]), box)
        assert found["iou"] == pytest.approx((1 + 1 + 1 / 3) / 3)
        assert found["recall"] == pytest.approx(1 / 3)
        assert found["false_alarms"] == 1.0
        assert found["accuracy"] == 0.5

    def test_what_has_no_pictures_is_none(self) -> None:
        found = score(torch.zeros(1, 5), torch.zeros(1), torch.full((1, 4), torch.nan))
        assert (found["iou"], found["recall"], found["false_alarms"]) == (None, None, 0.0)
        assert "–" in format_scores([{"model": "m", "n": 1, **found}])

    def test_the_learning_rate_rises_and_falls(self) -> None:
        values = [lr_factor(p) for p in np.linspace(0, 1, 41)]
        peak = int(np.argmax(values))
        assert values[peak] == pytest.approx(1.0)
        assert np.all(np.diff(values[: peak + 1]) > 0)
        assert np.all(np.diff(values[peak:]) < 0)


@pytest.mark.slow
def test_a_tiny_run_learns_and_exports_what_opentrack_loads(tmp_path: Path) -> None:
    data = write(tmp_path / "x.h5", [True, False] * 24)
    exported = tmp_path / "localizer.onnx"
    other = tmp_path / "run" / "localizer.ckpt"
    run = LocalizerRun(
        outdir=tmp_path / "run", data=data, epochs=2, batchsize=8, workers=0, device="cpu", export=exported
    )
    (row,) = train_localizer(run)
    assert row["n"] == 4
    assert json.loads((run.outdir / "evaluation.json").read_text()) == [row]
    assert {p.name for p in run.outdir.iterdir()} == {
        "localizer.ckpt", "metrics.csv", "train.pdf", "evaluation.json", "pictures.png",
    }  # fmt: skip
    lines = (run.outdir / "metrics.csv").read_text().splitlines()
    assert len(lines) == 3
    assert "train/box" in lines[0]
    assert "val/iou" in lines[0]
    assert opentrack_faults(exported) == []
    frame = np.full((240, 320), 40, np.uint8)
    assert 0 <= LocalizerModel(exported)(frame).score <= 1
    dataset = open_pictures(data)
    batches = LocalizerBatches(dataset, np.arange(8), 8)
    outputs = [evaluate_localizer(load_predict(path), [batches[0]])[0] for path in (other, exported)]
    assert torch.allclose(*outputs, atol=1e-4)
    with pytest.raises(ConfigError, match=r"run: is not empty; choose another --outdir"):
        train_localizer(run)


@pytest.mark.slow
def test_a_few_steps_lower_the_loss_on_one_batch(tmp_path: Path) -> None:
    torch.manual_seed(0)
    batch = checked(LocalizerBatches(open_pictures(write(tmp_path / "x.h5", [True, False] * 2)), np.arange(4), 4)[0])
    network = Localizer(LocalizerConfig())
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    losses = []
    for _ in range(25):
        loss = torch.stack(list(localizer_loss(network(batch.image), batch.has_face, batch.face_box).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_options_out_of_range_are_named() -> None:
    with pytest.raises(ConfigError, match=r"val_fraction=0\.9"):
        LocalizerRun(outdir=Path("x"), val_fraction=0.9)
    with pytest.raises(ConfigError, match=r"lr=-1"):
        LocalizerRun(outdir=Path("x"), lr=-1)
