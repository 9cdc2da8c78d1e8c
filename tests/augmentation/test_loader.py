"""Batches are pure functions of seed, epoch and step, and carry right labels."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from trackertraincode.augmentation import loader as loader_module
from trackertraincode.augmentation.loader import TrainBatches, ValidationBatches, checked, make_loader
from trackertraincode.augmentation.presets import AugmentationOptions
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset, PoseWriter
from trackertraincode.datasets.mixing import Member
from trackertraincode.errors import SampleFormatError, WorkerError
from trackertraincode.geometry.boxes import box_center, box_size
from trackertraincode.sample.sample import LABELS, Batch, Sample

OPTIONS = AugmentationOptions()


@pytest.fixture
def member(tmp_path: Path, make_sample: Callable[..., Sample]) -> Member:
    path = tmp_path / "faces.h5"
    with PoseWriter(path, source={}, face_model="embedded-v1") as writer:
        for seed in range(20):
            writer.write(make_sample(seed))
    return Member("faces", Hdf5PoseDataset(path), np.arange(20), 1.0, tuple(LABELS))


def train_batches(member: Member, **changes: object) -> TrainBatches:
    values: dict = {"batchsize": 8, "samples_per_epoch": 24, "seed": 3, "face_model": "embedded-v1"}
    return TrainBatches([member], OPTIONS.training_preset(size=33), **(values | changes))


def equal(a: Batch, b: Batch) -> bool:
    return all(torch.equal(v.nan_to_num(-9), b.tensors()[name].nan_to_num(-9)) for name, v in a.tensors().items())


def batches_of(loader: Iterator) -> list[Batch]:
    return [checked(item) for item in loader]


def test_workers_and_repetition_change_nothing(member: Member) -> None:
    epochs = [0]
    loaders = [make_loader(train_batches(member), workers, epoch_now=lambda: epochs[0]) for workers in (0, 2)]
    first, second = (batches_of(loader) for loader in loaders)
    assert len(first) == 3
    assert all(equal(a, b) for a, b in zip(first, second))
    epochs[0] = 1
    assert not equal(batches_of(loaders[1])[0], first[0])


def test_processes_share_a_batch(member: Member) -> None:
    whole = checked(train_batches(member)[2, 1])
    parts = [checked(train_batches(member, rank=rank, world_size=2)[2, 1]) for rank in range(2)]
    assert equal(parts[0], whole.select(torch.arange(4)))
    assert equal(parts[1], whole.select(torch.arange(4, 8)))


def test_validation_goes_through_all_rows_once(member: Member) -> None:
    batches = batches_of(
        make_loader(ValidationBatches([member], OPTIONS.validation_preset(), batchsize=7, face_model=None), 0)
    )
    assert torch.cat([batch.row for batch in batches]).tolist() == list(range(20))


def test_validation_crop_is_centred_on_the_box(member: Member) -> None:
    batch = checked(ValidationBatches([member], OPTIONS.validation_preset(), batchsize=20, face_model="embedded-v1")[0])
    assert batch.image.dtype == torch.uint8
    assert box_center(batch.face_box).numpy() == pytest.approx(0.0, abs=1e-5)
    assert box_size(batch.face_box).amax(-1).numpy() == pytest.approx(2 / 1.1, abs=1e-4)


def test_labels_move_into_the_crop(member: Member) -> None:
    batch = checked(ValidationBatches([member], OPTIONS.validation_preset(), batchsize=20, face_model="embedded-v1")[0])
    stored = member.dataset.labels
    scale = 2 / (1.1 * box_size(torch.from_numpy(stored["face_box"])).amax(-1))
    expected = (torch.from_numpy(stored["head"][:, :2]) - box_center(torch.from_numpy(stored["face_box"]))) * scale[
        :, None
    ]
    assert torch.allclose(batch.head[:, :2], expected, atol=1e-4)
    assert torch.allclose(batch.head[:, 2], torch.from_numpy(stored["head"][:, 2]) * scale, atol=1e-4)


def test_what_is_not_to_be_trained_is_absent(member: Member) -> None:
    narrow = Member("n", member.dataset, member.rows, 1.0, ("landmarks", "face_box"), depth_known=False)
    batch = checked(train_batches(narrow)[0, 0])
    assert not batch.present("rotation").any()
    assert batch.present("landmarks").all()
    assert torch.isnan(batch.landmarks[..., 2]).all()


def test_coefficients_of_another_face_model_are_never_labels(member: Member) -> None:
    assert checked(train_batches(member)[0, 0]).present("shape").all()
    assert not checked(train_batches(member, face_model="bfm_noneck_v3")[0, 0]).present("shape").any()


def test_a_damaged_image_names_file_and_row(tmp_path: Path, make_sample: Callable[..., Sample]) -> None:
    path = tmp_path / "bad.h5"
    with PoseWriter(path, source={}, face_model="embedded-v1") as writer:
        for seed in range(2):
            sample = make_sample(seed)
            writer.write(make_sample(seed, image=bytes(sample.image[: 60 if seed else None])))  # type: ignore[arg-type]
    member = Member("bad", Hdf5PoseDataset(path), np.arange(2), 1.0, tuple(LABELS))
    with pytest.raises(SampleFormatError, match=r"bad\.h5.*'images', row 1 doesn't decode"):
        batches_of(
            make_loader(ValidationBatches([member], OPTIONS.validation_preset(), batchsize=2, face_model=None), 1)
        )


def test_rows_without_box_and_points_are_named(tmp_path: Path, make_sample: Callable[..., Sample]) -> None:
    path = tmp_path / "boxless.h5"
    with PoseWriter(path, source={}, face_model="embedded-v1") as writer:
        writer.write(make_sample(0, face_box=None, landmarks=None, landmarks_2d=None))
    member = Member("boxless", Hdf5PoseDataset(path), np.arange(1), 1.0, tuple(LABELS))
    with pytest.raises(SampleFormatError, match=r"boxless\.h5: row 0 has no usable face box"):
        checked(ValidationBatches([member], OPTIONS.validation_preset(), batchsize=2, face_model=None)[0])


def test_colour_crops(member: Member) -> None:
    batch = checked(train_batches(member)[0, 0])
    assert (batch.image.shape, batch.image.dtype) == ((8, 1, 33, 33), torch.float32)
    colour = TrainBatches(
        [member], AugmentationOptions(extra="blur").training_preset(size=33, color=True, tables=False), batchsize=8,
        samples_per_epoch=24, seed=3, face_model=None,
    )  # fmt: skip
    assert checked(colour[0, 0]).image.shape == (8, 3, 33, 33)


def test_full_shared_memory_is_said_instead_of_waiting_for_ever(
    member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(tensor: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("unable to write to file </torch_1_2_3>: No space left on device (28)")

    monkeypatch.setattr(loader_module, "get_worker_info", lambda: "of a worker process")
    monkeypatch.setattr(torch.Tensor, "share_memory_", full)
    with pytest.raises(WorkerError, match=r"/dev/shm\) is full.*--shm-size 2g.*--workers"):
        checked(train_batches(member)[0, 0])
