"""--batchsize auto: the search by times that are given, a trial on the CPU, and what a run makes of it."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from constant_onnx import build_model
from torch import nn

from trackertraincode.augmentation.cache_files import open_caches
from trackertraincode.augmentation.crop_cache import Kept
from trackertraincode.augmentation.device_batches import _two_levels
from trackertraincode.facemodel.embedded import embedded_head
from trackertraincode.models.pose_network import build_network
from trackertraincode.sample.sample import Batch
from trackertraincode.training import batchsize
from trackertraincode.training.batchsize import SMALLEST, bytes_of_crops, fastest, seconds_of
from trackertraincode.training.config import TrainConfig
from trackertraincode.training.data import open_members
from trackertraincode.training.module import PoseTraining
from trackertraincode.training.options import read_toml
from trackertraincode.training.run import make_module


@pytest.mark.parametrize(
    ("overhead", "fits", "most", "expected"),
    [
        (1.0, 300, 10_000, 256),  # more is always faster, up to the memory
        (0.0, 300, 10_000, SMALLEST),  # nothing gains
        (0.1, 10_000, 10_000, 1024),  # from 1024 to 2048, 4.7 % are gained
        (1.0, 10_000, 200, 128),  # of an epoch
        (1.0, 10_000, 3, SMALLEST),
        (1.0, SMALLEST - 1, 10_000, None),
    ],
)
def test_the_last_size_that_gains_is_taken(overhead: float, fits: int, most: int, expected: int | None) -> None:
    tried = []

    def seconds(count: int) -> float | None:
        tried.append(count)
        return overhead + 0.001 * count if count <= fits else None

    assert fastest(seconds, most) == expected
    assert tried == [SMALLEST * 2**n for n in range(len(tried))]


@pytest.fixture
def config() -> TrainConfig:
    return TrainConfig.of(
        backbone="repvgg_az", width=0.25, input_size=33, with_nll_loss=True, batchsize="auto", device="cpu",
        augmentation="kornia", consistency=0.1,
    )  # fmt: skip


def test_a_trial_has_the_teachers_and_the_prior_of_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither can be copied: models have threads, and terms know the prior that they were made with, which is what moves
    to the device."""
    onnx.save(build_model(input_shape=(1, 1, 33, 33)), tmp_path / "teacher.onnx")
    config = TrainConfig.of(
        backbone="repvgg_az", width=0.25, input_size=33, batchsize="auto", device="cpu",
        teachers=str(tmp_path / "teacher.onnx"),
    )  # fmt: skip
    module = make_module(config, build_network(config.network, embedded_head()))
    move, moved, used = nn.Module.to, set[int](), set[int]()

    def note(part: nn.Module, *where: Any, **how: Any) -> nn.Module:
        moved.update(map(id, part.modules()))
        return move(part, *where, **how)

    monkeypatch.setattr(nn.Module, "to", note)
    assert module.objective.prior is not None
    module.objective.prior.register_forward_pre_hook(lambda part, _: used.add(id(part)))
    assert seconds_of(SMALLEST, config, module, torch.device("cpu")) is not None
    assert used
    assert used <= moved


@pytest.fixture
def module(config: TrainConfig) -> PoseTraining:
    return make_module(config, build_network(config.network, embedded_head()))


def test_a_trial_leaves_the_network_as_it_is(config: TrainConfig, module: PoseTraining) -> None:
    before = deepcopy(module.network.state_dict())
    seconds = seconds_of(SMALLEST, config, module, torch.device("cpu"))
    assert seconds is not None
    assert seconds > 0
    assert all(torch.equal(value, before[name]) for name, value in module.network.state_dict().items())
    assert all(parameter.grad is None for parameter in module.network.parameters())


def test_what_takes_too_much_memory_does_not_fit(
    config: TrainConfig, module: PoseTraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(module.augment, "forward", full)
    assert seconds_of(SMALLEST, config, module, torch.device("cpu")) is None


@pytest.mark.parametrize(("reserved", "crops", "fits"), [(60, 0, True), (75, 0, False), (60, 15, False)])
def test_recorded_memory_and_crops_have_to_fit_too(
    config: TrainConfig, module: PoseTraining, monkeypatch: pytest.MonkeyPatch, reserved: int, crops: int, fits: bool
) -> None:
    """Of 100 bytes; a recorded step keeps memory in which nothing is allocated any more."""
    for name, result in {
        "empty_cache": None, "reset_peak_memory_stats": None, "mem_get_info": (100, 100), "max_memory_reserved": reserved,
        "max_memory_allocated": 10,
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, lambda *_, result=result: result)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    monkeypatch.setattr(batchsize, "_seconds", lambda *_: 1.0)
    found = seconds_of(SMALLEST, config, module, torch.device("cuda"), crops)
    assert found == (1.0 if fits else None)


def test_a_trial_records_where_the_training_does(
    config: TrainConfig, module: PoseTraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps of the recorded losses are timed, which are recorded once, with a batch as steps bring it."""
    shapes, calls = [], []

    def record(losses: Any, network: Any, batch: Batch, ramp: torch.Tensor, half: Any) -> Any:
        shapes.append(tuple(batch.image.shape))
        return lambda batch, ramp: calls.append(batch) or losses(batch, ramp)[1:]  # type: ignore[func-returns-value]

    monkeypatch.setattr(batchsize, "is_recorded", lambda *_: True)
    monkeypatch.setattr(batchsize, "recorded", record)
    assert seconds_of(SMALLEST, config, module, torch.device("cpu")) is not None
    assert shapes == [(2 * SMALLEST, 1, 33, 33)]  # two views
    assert len(calls) == batchsize.WARM_UP + batchsize.STEPS


@pytest.mark.parametrize("rgb", [False, True])
def test_crops_take_no_more_of_a_device_than_is_set_aside(
    faces: Path, monkeypatch: pytest.MonkeyPatch, rgb: bool
) -> None:
    monkeypatch.setenv("DATADIR", str(faces))
    config = TrainConfig.of(ds="300wlp", cache="device", rgb=rgb, input_size=33, batchsize="auto")
    members = open_members(config.data)
    kept = Kept.of(config.augmentation.training_preset(size=33, color=rgb), "full")
    caches = open_caches(members.training, kept, None, 0, ram=True)
    levels = _two_levels(members.training, caches, 3 if rgb else 1)
    taken = sum(len(blob) for blob in levels.blobs)
    assert 0.3 * bytes_of_crops(config, members) < taken <= bytes_of_crops(config, members)
    assert bytes_of_crops(TrainConfig.of(batchsize="auto"), members) == 0


def test_a_run_on_the_cpu_takes_64_and_says_so(run: Callable[..., Path], capsys: pytest.CaptureFixture) -> None:
    folder = run(epochs=1, samples_per_epoch=64, batchsize="auto", scale_lr=True)
    assert "--batchsize auto: 64 on cpu, learning rate 0.001" in capsys.readouterr().out
    assert read_toml(folder / "config.toml")["batchsize"] == 64
