"""What each process of a training sees."""

import os
import warnings
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from trackertraincode.augmentation.loader import NICENESS, TrainBatches
from trackertraincode.augmentation.presets import AugmentationOptions
from trackertraincode.errors import ConfigError
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


def test_more_workers_than_cores_are_the_users_choice() -> None:
    """Torch warns of them, in words for programmers, when a loader is made and again when it begins."""
    with warnings.catch_warnings(record=True) as said:
        make_trainer(MachineOptions(device="cpu"), 1, [])
        DataLoader(TensorDataset(torch.zeros(1)), num_workers=usable_cores() + 1)
    assert [str(warning.message) for warning in said] == []


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
