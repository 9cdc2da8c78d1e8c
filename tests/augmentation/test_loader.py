"""Batches are pure functions of seed, epoch and step, and carry right labels."""

import os
import signal
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from conftest import write_samples
from trackertraincode.augmentation import loader as loader_module
from trackertraincode.augmentation.crop import FOREHEAD, crop_boxes, crop_maps, crop_squares
from trackertraincode.augmentation.loader import Loader, TrainBatches, ValidationBatches, make_loader
from trackertraincode.augmentation.presets import AugmentationOptions
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset, PoseWriter
from trackertraincode.datasets.mixing import Member
from trackertraincode.errors import SampleFormatError, UserError, WorkerError
from trackertraincode.geometry import affine2d
from trackertraincode.geometry.boxes import bounding_box, box_center, box_size
from trackertraincode.geometry.rotation import quat_rotate
from trackertraincode.sample.images import decode
from trackertraincode.sample.moving import move
from trackertraincode.sample.packed import PackedBatch, pack_values
from trackertraincode.sample.sample import BATCH_LABELS, LABELS, Batch, Sample

OPTIONS = AugmentationOptions()


@pytest.fixture
def member(tmp_path: Path, make_sample: Callable[..., Sample]) -> Member:
    path = write_samples(tmp_path / "faces.h5", (make_sample(seed) for seed in range(20)))
    return Member("faces", Hdf5PoseDataset(path), np.arange(20), 1.0, tuple(LABELS))


def checked(item: PackedBatch | UserError) -> Batch:
    return loader_module.checked(item).unpack()


def train_batches(member: Member, **changes: object) -> TrainBatches:
    values: dict = {"batchsize": 8, "samples_per_epoch": 24, "seed": 3, "face_model": "embedded-v1"}
    return TrainBatches([member], OPTIONS.training_preset(size=33), **(values | changes))


def equal(a: Batch, b: Batch) -> bool:
    return all(torch.equal(v.nan_to_num(-9), b.tensors()[name].nan_to_num(-9)) for name, v in a.tensors().items())


def batches_of(loader: Iterable) -> list[Batch]:
    return [checked(item) for item in loader]


def test_workers_and_repetition_change_nothing(member: Member) -> None:
    epochs = [0]
    loaders = [make_loader(train_batches(member), workers, epoch_now=lambda: epochs[0]) for workers in (0, 2)]
    first, second = (batches_of(loader) for loader in loaders)
    assert len(first) == 3
    assert all(equal(a, b) for a, b in zip(first, second))
    epochs[0] = 1
    assert not equal(batches_of(loaders[1])[0], first[0])


def test_a_step_is_the_same_whichever_were_made_before(member: Member) -> None:
    """Labels and maps of several steps are made together."""
    batches = train_batches(member, samples_per_epoch=8 * 40)
    whole = {step: checked(batches[0, step]) for step in range(40)}
    for step in (39, 33, 31, 0, 17, 3):
        assert equal(checked(batches[0, step]), whole[step])
        assert equal(checked(train_batches(member, samples_per_epoch=8 * 40)[0, step]), whole[step])


def test_processes_share_a_batch(member: Member) -> None:
    whole = checked(train_batches(member)[2, 1])
    parts = [checked(train_batches(member, rank=rank, world_size=2)[2, 1]) for rank in range(2)]
    assert equal(parts[0], whole.select(torch.arange(4)))
    assert equal(parts[1], whole.select(torch.arange(4, 8)))


def test_batches_are_bit_by_bit_those_of_the_slow_way(member: Member) -> None:
    """One image, one map, one label after the other."""
    batches = TrainBatches(
        [member], OPTIONS.training_preset(size=65, tables=False), batchsize=8, samples_per_epoch=24, seed=3,
        face_model="embedded-v1",
    )  # fmt: skip
    batch = checked(batches[1, 2])
    drawn = batches.drawn(1, 2).select(batches.part(2))
    for i, row in enumerate(batch.row.tolist()):
        sample = member.dataset[row]
        labels = {
            name: torch.as_tensor(np.full(shape, np.nan) if (v := getattr(sample, name)) is None else v).float()[None]
            for name, shape in BATCH_LABELS.items()
        }
        geometry = drawn.geometry.select(slice(i, i + 1))
        affine = crop_maps(crop_squares(crop_boxes(labels, "original"), geometry), geometry, 65)[0]
        image = decode(sample.image, reduce=1)
        scale = float(affine2d.scale_of(affine))
        assert scale > 0.36  # decoded whole
        if scale >= 1.0:
            crop = cv2.warpAffine(image, affine2d.to_cv2(affine), (65, 65))
        else:
            doubled = affine2d.compose(affine2d.scaling(torch.tensor([2.0, 2.0])), affine)
            large = cv2.warpAffine(image, affine2d.to_cv2(doubled), (130, 130))
            crop = cv2.resize(large, (65, 65), interpolation=cv2.INTER_AREA)
        assert np.array_equal(crop, batch.image[i, 0].numpy())
        moved = move(labels, affine2d.compose(affine2d.pixels_to_normalized(65), affine), "embedded-v1")
        for name, values in moved.items():
            assert torch.allclose(batch.labels[name][i], values[0], rtol=0, atol=1e-6, equal_nan=True), name


@pytest.mark.parametrize("roi_override", ["original", "landmarks", "extent_to_forehead"])
def test_boxes_to_learn_are_of_the_kind_that_crops_are_made_around(member: Member, roi_override: str) -> None:
    """Of landmarks as they lie in the crop, turned and mirrored."""
    preset = replace(OPTIONS, roi_override=roi_override).training_preset(size=33)
    batch = checked(
        TrainBatches([member], preset, batchsize=20, samples_per_epoch=20, seed=3, face_model="embedded-v1")[0, 0]
    )
    points, box = batch.labels["landmarks"][..., :2], batch.labels["face_box"]
    if roi_override == "extent_to_forehead":
        top = quat_rotate(batch.labels["rotation"], torch.tensor(FOREHEAD).expand(20, 3))
        forehead = batch.labels["head"][:, :2] + batch.labels["head"][:, 2:] * top[:, :2]
        points = torch.cat([points, forehead[:, None]], dim=1)
    assert torch.allclose(box, bounding_box(points), atol=1e-5) == (roi_override != "original")


def test_depth_that_a_file_lacks_is_not_trained_on(tmp_path: Path, make_sample: Callable[..., Sample]) -> None:
    """z is 0 in such rows, among others that have it."""
    samples = [make_sample(seed) for seed in range(8)]
    for sample in samples[::2]:
        assert sample.landmarks is not None
        sample.landmarks[:, 2] = 0
    path = write_samples(tmp_path / "faces.h5", samples)
    mixed = Member("faces", Hdf5PoseDataset(path), np.arange(8), 1.0, tuple(LABELS))
    batch = checked(train_batches(mixed, samples_per_epoch=8)[0, 0])
    points = batch.labels["landmarks"]
    assert torch.isfinite(points[..., :2]).all()
    assert torch.equal(torch.isnan(points[..., 2]).all(1), batch.row % 2 == 0)


def test_tables_can_be_left_to_the_device(member: Member) -> None:
    here, later = (
        TrainBatches([member], preset, batchsize=16, samples_per_epoch=64, seed=3, face_model=None)
        for preset in (OPTIONS.training_preset(size=33), OPTIONS.training_preset(size=33, deferred=True))
    )
    changed, batch = checked(here[0, 1]), checked(later[0, 1])
    assert (batch.image.dtype, changed.intensity) == (torch.uint8, None)
    assert batch.intensity is not None
    tables, std = batch.intensity.split([256, 1], dim=1)
    quiet = torch.nonzero(std[:, 0] == 0)[:, 0]
    applied = tables.gather(1, batch.image.flatten(1).long()).reshape(batch.image.shape)
    assert 3 < len(quiet) < 16
    assert torch.equal(applied[quiet], changed.image[quiet])


def test_a_batch_travels_as_two_tensors_and_keeps_its_numbers(member: Member) -> None:
    packed = loader_module.checked(train_batches(member)[0, 0])
    assert [len(tensor) for tensor in packed] == [8, 8]
    batch = packed.unpack()
    assert batch.landmarks.data_ptr() > packed.values.data_ptr()
    shared = {t.untyped_storage().data_ptr() for t in batch.labels.values()}
    assert shared == {packed.values.untyped_storage().data_ptr()}
    far = torch.tensor([2**30 + 1, 2**24 + 1])  # more than float32 could tell apart
    values = pack_values(batch.select(torch.arange(2)).labels, weight=far / 3, dataset=far, row=far)
    again = PackedBatch(batch.image[:2], values).unpack()
    assert torch.equal(again.row, far)
    assert torch.equal(again.dataset, far)
    assert all(
        torch.equal(again.labels[name].nan_to_num(-9), value[:2].nan_to_num(-9)) for name, value in batch.labels.items()
    )


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
    path = write_samples(tmp_path / "boxless.h5", [make_sample(0, face_box=None, landmarks=None, landmarks_2d=None)])
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

    monkeypatch.setattr(loader_module, "get_worker_info", lambda: SimpleNamespace(num_workers=1))
    monkeypatch.setattr(torch.Tensor, "share_memory_", full)
    with pytest.raises(WorkerError, match=r"/dev/shm\) is full.*--shm-size 2g.*--workers"):
        checked(train_batches(member)[0, 0])


def test_each_process_reads_its_own_images_only(member: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    images = Hdf5PoseDataset.images

    def note(self: Hdf5PoseDataset, rows: np.ndarray) -> list[bytes]:
        read.extend(np.asarray(rows).tolist())
        return images(self, rows)

    monkeypatch.setattr(Hdf5PoseDataset, "images", note)
    parts = []
    for rank, processes in ((0, 2), (1, 2), (0, 1)):
        batches = TrainBatches(
            [member], OPTIONS.training_preset(size=33), batchsize=8, samples_per_epoch=16, seed=1,
            face_model="embedded-v1", rank=rank, world_size=processes,
        )  # fmt: skip
        read.clear()
        checked(batches[0, 1])
        parts.append(sorted(read))
    assert [len(part) for part in parts] == [4, 4, 8]
    assert sorted(parts[0] + parts[1]) == parts[2]


WAITS: list[bool] = []  # of a process that loads: whether SIGTERM waits in it from its beginning


class OfItsProcess(Dataset):
    """What the process that loads remembered."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> bool:
        return WAITS[index]


def remember_mask(_index: int) -> None:
    WAITS.append(signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, []))


@pytest.mark.skipif(os.name == "nt", reason="workers are forked here")
def test_sigterm_waits_in_all_threads_of_processes_that_load() -> None:
    """Torch begins some before `start_worker` is called; one that takes a signal to all processes would end the training."""
    loader = Loader(OfItsProcess(), batch_size=None, num_workers=1, worker_init_fn=remember_mask)
    assert list(loader) == [True]
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
