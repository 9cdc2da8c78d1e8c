"""--batchsize auto: the search by times that are given, a trial on the CPU, and what a run makes of it."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest
import torch

from trackertraincode.facemodel.embedded import embedded_head
from trackertraincode.models.pose_network import build_network
from trackertraincode.training.batchsize import SMALLEST, fastest, seconds_of
from trackertraincode.training.config import TrainConfig
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


def test_a_run_on_the_cpu_takes_64_and_says_so(run: Callable[..., Path], capsys: pytest.CaptureFixture) -> None:
    folder = run(epochs=1, samples_per_epoch=64, batchsize="auto", scale_lr=True)
    assert "--batchsize auto: 64 on cpu, learning rate 0.001" in capsys.readouterr().out
    assert read_toml(folder / "config.toml")["batchsize"] == 64
