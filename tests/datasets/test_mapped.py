"""Rows from the file's pages are those that HDF5 reads."""

import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest

from conftest import write_samples
from trackertraincode.augmentation.loader import TrainBatches, checked
from trackertraincode.augmentation.presets import AugmentationOptions
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.datasets.mapped import _blocks, map_file, map_rows
from trackertraincode.datasets.mixing import Member
from trackertraincode.sample.images import encode_png
from trackertraincode.sample.sample import LABELS, Sample

ROWS = np.array([3, 0, 299, 299, 17])


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f2", "<f8", "<i8"])
@pytest.mark.parametrize("options", [{}, {"chunks": (128, 3)}, {"chunks": (7, 3), "maxshape": (None, 3)}])
def test_numbers(tmp_path: Path, dtype: str, options: dict[str, Any]) -> None:
    values = np.random.default_rng(0).normal(0, 100, (300, 3)).astype(dtype)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=values, **options)
    with h5py.File(tmp_path / "a.h5") as file:
        rows = map_rows(map_file(tmp_path / "a.h5"), file["x"])
    assert rows is not None
    assert np.array_equal(rows[ROWS], values[ROWS])


@pytest.mark.parametrize(
    ("shape", "options"),
    [((300, 3), {"chunks": (128, 3), "compression": "gzip"}), ((300, 3), {"chunks": (128, 2)}), ((), {})],
)
def test_what_only_hdf5_can_read(tmp_path: Path, shape: tuple[int, ...], options: dict[str, Any]) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=np.ones(shape, np.float32), **options)
        file.create_dataset("unwritten", (300, 3), np.float32, chunks=(128, 3))
    with h5py.File(tmp_path / "a.h5") as file:
        data = map_file(tmp_path / "a.h5")
        assert [map_rows(data, file[name]) for name in ("x", "unwritten")] == [None, None]


def test_places_that_hdf5_does_not_know_are_no_places() -> None:
    class Damaged:
        chunks, shape = (4, 3), (8, 3)
        id = SimpleNamespace(chunk_iter=lambda note: note(SimpleNamespace(chunk_offset=(0, 0), byte_offset=2**64 - 1)))

        def __len__(self) -> int:
            return 8

    assert _blocks(Damaged(), None, 4).tolist() == [-1, -1]  # type: ignore[union-attr]


@pytest.fixture
def faces(tmp_path: Path, make_sample: Callable[..., Sample]) -> Path:
    for name, compress in (("plain.h5", False), ("packed.h5", True)):
        write_samples(tmp_path / name, (make_sample(seed) for seed in range(20)), compress=compress)
    return tmp_path


def test_labels_and_images_are_the_same_packed_or_not(faces: Path) -> None:
    plain, packed = (Hdf5PoseDataset(faces / name) for name in ("plain.h5", "packed.h5"))
    rows = np.array([7, 19, 7, 0])
    (images, labels), (others, expected) = plain.batch(rows), packed.batch(rows)
    assert images == others
    for name, values in labels.items():
        assert np.array_equal(values, expected[name], equal_nan=True), name
        assert np.array_equal(plain.labels[name][rows], values, equal_nan=True), name


def batches(dataset: Hdf5PoseDataset) -> TrainBatches:
    member = Member("a", dataset, np.arange(len(dataset)), 1.0, tuple(LABELS))
    preset = AugmentationOptions().training_preset(size=33)
    return TrainBatches([member], preset, batchsize=4, samples_per_epoch=8, seed=0, face_model=None)


def test_training_batches_copy_no_label_that_lies_open_in_the_file(faces: Path) -> None:
    dataset = Hdf5PoseDataset(faces / "plain.h5")
    checked(batches(dataset)[0, 0])
    assert set(dataset.labels.kept) <= {"has_face"}


def test_what_was_trained_on_goes_when_nobody_needs_it(faces: Path) -> None:
    dataset = Hdf5PoseDataset(faces / "plain.h5")
    checked(batches(dataset)[0, 0])
    left = weakref.ref(dataset)
    del dataset
    gc.collect()
    assert left() is None


def test_images_come_from_collections_of_one_object_and_of_many(tmp_path: Path) -> None:
    """HDF5 puts small objects together in a collection of its heap, and large ones alone."""
    rng = np.random.default_rng(0)
    images = [encode_png(rng.integers(0, 256, (n, n), np.uint8)) for n in rng.integers(1, 120, 60)]
    write_samples(tmp_path / "a.h5", (Sample(image=image) for image in images), face_model="none")
    rows = rng.permutation(60)
    assert Hdf5PoseDataset(tmp_path / "a.h5").images(rows) == [images[row] for row in rows]
