"""What each process of a training sees."""

import os
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from conftest import write_samples
from trackertraincode.augmentation.loader import NICENESS, TrainBatches, checked
from trackertraincode.augmentation.presets import AugmentationOptions
from trackertraincode.datasets.pose_writer import PoseWriter
from trackertraincode.errors import CatalogError, ConfigError
from trackertraincode.sample.sample import Sample
from trackertraincode.training import trainer as trainer_module
from trackertraincode.training.data import DataOptions, Members, PoseData, open_members
from trackertraincode.training.trainer import MachineOptions, make_trainer, share_cores
from trackertraincode.workers import usable_cores


def test_each_device_keeps_its_share_of_the_rows(faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATADIR", str(faces))
    options = DataOptions(ds="300wlp", cache="device", cache_dir=tmp_path, workers=0, samples_per_epoch=64)
    members, presets = open_members(options), AugmentationOptions()
    shares = []
    for rank in range(2):
        data = PoseData(
            options, members, training=presets.training_preset(size=33), validation=presets.validation_preset(size=33),
            face_model="embedded-v1", batchsize=16, seed=3, processes=1,
        )  # fmt: skip
        device = SimpleNamespace(root_device=torch.device("cpu"))
        data.trainer = SimpleNamespace(  # type: ignore[assignment]
            global_rank=rank, world_size=2, global_step=0, strategy=device
        )
        batches = list(data.train_dataloader())
        assert [len(batch) for batch in batches] == [8] * 4
        assert data.transfer_batch_to_device(batches[0], torch.device("cpu"), 0) is batches[0]
        shares.append({row for batch in batches for row in batch.row.tolist()})
    assert not shares[0] & shares[1]
    assert shares[0] | shares[1] <= set(members.training[0].rows.tolist())


def test_what_is_best_in_poses_needs_poses_to_validate_on(faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATADIR", str(faces))
    members = open_members(DataOptions(ds="300wlp"))
    members.check_poses_validate()
    Members(members.training, []).check_poses_validate()  # nothing is best where nothing validates
    without = [replace(member, labels=("landmarks",)) for member in members.validation]
    Members(members.training, [*without, *members.validation]).check_poses_validate()
    with pytest.raises(
        ConfigError, match="--best mae: 300wlp, which is what validates, has no poses; give --best loss"
    ):
        Members(members.training, without).check_poses_validate()


def test_rotations_that_no_row_has_are_no_poses(
    tmp_path: Path, make_sample: Callable[..., Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a CSV file some of whose rows have poses."""
    monkeypatch.setenv("DATADIR", str(tmp_path))
    with PoseWriter(tmp_path / "some.h5", source={"converter": "test"}, face_model="embedded-v1") as writer:
        for i in range(20):
            writer.write(make_sample(i))
    with h5py.File(tmp_path / "some.h5", "a") as file:
        file["quats"][10:] = file["coords"][10:] = np.nan
    (tmp_path / "datasets.toml").write_text(
        '[some]\nfile = "some.h5"\nlabels = ["pose"]\nrows = [0, 10]\nvalidation_rows = [10]\n'
    )
    members = open_members(DataOptions(ds="some"))
    with pytest.raises(ConfigError, match="--best mae: some, which is what validates, has no poses"):
        members.check_poses_validate()
    with pytest.raises(CatalogError, match=r"some: .*some\.h5 has none of its labels \(head, rotation\) in 10 rows"):
        members.check_labels()
    Members(members.training, members.training).check_labels()
    with pytest.raises(CatalogError, match=r"in 10 rows .*, so that it would train nothing"):
        Members([*members.training, *members.validation], []).check_labels()


def test_boxes_alone_train_no_pose(
    tmp_path: Path, make_sample: Callable[..., Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of photographs that were found, and not labelled."""
    monkeypatch.setenv("DATADIR", str(tmp_path))
    bare = dict.fromkeys(("rotation", "head", "landmarks", "landmarks_2d", "shape"))
    write_samples(tmp_path / "found.h5", [make_sample(i, **bare) for i in range(20)])
    (tmp_path / "datasets.toml").write_text('[photos]\nfile = "found.h5"\nlabels = ["pose", "box"]\n')
    members = open_members(DataOptions(ds="photos"))
    assert "(the file has no rotation, head)" in members.describe()[0]
    with pytest.raises(CatalogError, match=r"photos: neither poses nor landmarks .*; label its faces with `ttc pseudo"):
        members.check_labels()


def write_catalog(folder: Path, text: str) -> Path:
    (folder / "mine.toml").write_text(text)
    return folder / "mine.toml"


def test_sets_that_validate_have_the_numbers_of_those_that_train(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By which their learned offsets are found; others are labelled as the first one."""
    monkeypatch.setenv("DATADIR", str(faces))
    rows = '[{0}]\nfile = "{0}.h5"\nlabels = ["pose"]\nrows = [0]\nvalidation_rows = [0, 4]\n'
    copy = '[copy]\nfile = "aflw2k.h5"\nlabels = ["pose"]\n'
    catalog = write_catalog(tmp_path, rows.format("300wlp") + rows.format("aflw2k") + copy)
    options = {"ds": "300wlp+aflw2k", "catalog": catalog, "workers": 0, "samples_per_epoch": 32}
    for val, numbers in ((None, {0, 1}), ("aflw2k+copy", {1, 0}), ("copy", {0}), ("aflw2k", {1})):
        chosen = DataOptions(**options, val=val)  # type: ignore[arg-type]
        members, presets = open_members(chosen), AugmentationOptions()
        data = PoseData(
            chosen, members, training=presets.training_preset(size=33), validation=presets.validation_preset(size=33),
            face_model="embedded-v1", batchsize=16, seed=3, processes=1,
        )  # fmt: skip
        packed = [data.validation_batches(whole=True)[i] for i in range(len(data.validation_batches(whole=True)))]
        assert {int(number) for batch in packed for number in checked(batch).unpack().dataset} == numbers
        assert [m.number for m in members.training] == [None, None]


def test_validation_takes_the_rows_that_the_catalog_names_and_tells_which_are_trained_on(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATADIR", str(faces))
    catalog = write_catalog(
        tmp_path,
        '[a]\nfile = "aflw2k.h5"\nlabels = ["pose"]\nrows = [0]\nvalidation_rows = [0, 8]\n'
        '[b]\nfile = "300wlp.h5"\nlabels = ["pose"]\nvalidation_file = "aflw2k.h5"\n'
        '[c]\nfile = "300wlp.h5"\nlabels = ["pose"]\n',
    )
    members = open_members(DataOptions(ds="a", catalog=catalog, val="a+b"))
    assert [len(m.rows) for m in (*members.training, *members.validation)] == [32, 8, 40]
    told = open_members(DataOptions(ds="c", catalog=catalog, val="c")).describe()
    assert "c: 96 rows of those that validate are trained on, too" in told[-1]
    assert "trained on, too" not in "".join(open_members(DataOptions(ds="c", catalog=catalog, val="a")).describe())


def test_more_workers_than_cores_are_the_users_choice() -> None:
    """Torch warns of them, in words for programmers, when a loader is made and again when it begins."""
    with warnings.catch_warnings(record=True) as said:
        make_trainer(MachineOptions(device="cpu"), 1, [])
        DataLoader(TensorDataset(torch.zeros(1)), num_workers=usable_cores() + 1)
    assert [str(warning.message) for warning in said] == []


def test_float16_is_refused_on_a_cpu() -> None:
    """Lightning would train in bfloat16 and say so in a line of its own; the run's files would tell of float16."""
    with pytest.raises(ConfigError, match="--precision fp16: is for GPUs; on a CPU, give 32 or bf16"):
        make_trainer(MachineOptions(device="cpu", precision="fp16"), 1, [])


@pytest.mark.skipif(not hasattr(os, "nice"), reason="this system has no niceness")
@pytest.mark.parametrize(("device", "added"), [("cpu", NICENESS), ("meta", 0)])
def test_loaders_let_the_network_go_first_where_both_compute_on_the_cpu(
    device: str, added: int, faces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATADIR", str(faces))
    options, presets = DataOptions(ds="300wlp", workers=1, samples_per_epoch=2), AugmentationOptions()
    data = PoseData(
        options, open_members(options), training=presets.training_preset(size=33),
        validation=presets.validation_preset(size=33), face_model="embedded-v1", batchsize=2, seed=3, processes=1,
    )  # fmt: skip
    strategy = SimpleNamespace(root_device=torch.device(device))
    data.trainer = SimpleNamespace(global_rank=0, world_size=1, global_step=0, strategy=strategy)  # type: ignore[assignment]

    def niceness(*_: object) -> int:
        return os.getpriority(os.PRIO_PROCESS, 0)

    monkeypatch.setattr(TrainBatches, "__getitem__", niceness)
    assert list(data.train_dataloader()) == [min(niceness() + added, 19)]  # no more is possible


def test_a_network_computes_on_all_cores_and_several_on_their_share(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    monkeypatch.setattr(trainer_module, "usable_cores", lambda: 4)
    try:
        for processes, threads in ((1, 4), (2, 2), (3, 1), (8, 1)):
            torch.set_num_threads(4)
            share_cores(processes)
            assert torch.get_num_threads() == threads
        torch.set_num_threads(1)  # as a user's OMP_NUM_THREADS does
        share_cores(1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
