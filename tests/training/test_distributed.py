"""Two processes train as one."""

import os
import random
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import pytest
import torch
from constant_onnx import build_model
from fake_devices import small_network
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from timm.layers import BatchNormAct2d
from torch import nn

from conftest import PROJECT, start_script
from trackertraincode.errors import ConfigError
from trackertraincode.facemodel.embedded import embedded_head
from trackertraincode.geometry.constants import constant
from trackertraincode.models.backbones import BackboneOptions, build_backbone
from trackertraincode.models.checkpoint import load_network
from trackertraincode.models.pose_network import NetworkConfig, build_network
from trackertraincode.sample.sample import blank_batch
from trackertraincode.training.callbacks.batch_norm import SharedStatistics
from trackertraincode.training.callbacks.records import read_metrics
from trackertraincode.training.config import TrainConfig
from trackertraincode.training.device_augmentation import DeviceAugmentation
from trackertraincode.training.distributed import SyncBatchNorm, freeze_unused, global_rank
from trackertraincode.training.module import PoseTraining, losses_of
from trackertraincode.training.objective import LossOptions, make_objective
from trackertraincode.training.optimisation import OptimisationOptions
from trackertraincode.training.trainer import MachineOptions

CATALOG = """
[bare]
file = "aflw2k.h5"
labels = ["pose"]
rows = [0]
validation_rows = [0, 7]
"""
OPTIONS = {
    "backbone": "mobilenetv1", "width": 0.25, "input_size": 65, "epochs": 2,
    "samples_per_epoch": 80, "batchsize": 8, "with_nll_loss": True, "with_swa": True, "ema": 0.9,
    "freeze_batchnorm": True, "val_fraction": 0.1, "calibrate": False, "schedule": "constant",
}  # fmt: skip


def as_arguments(options: dict) -> list[str]:
    words = []
    for name, value in options.items():
        flag = name.replace("_", "-")
        words += [f"--{flag}" if value else f"--no-{flag}"] if isinstance(value, bool) else [f"--{flag}", str(value)]
    return words


@pytest.mark.slow
def test_two_processes_equal_one_with_the_same_global_batch(
    run: Callable[..., Path], faces: Path, tmp_path: Path
) -> None:
    """20 steps; half of the rows lack labels, so that a process may have none of a kind; 21 rows validate."""
    catalog = tmp_path / "catalog.toml"
    catalog.write_text(CATALOG)
    start = run("start", **(OPTIONS | {"freeze_batchnorm": False, "epochs": 1}))
    options = OPTIONS | {
        "ds": "300wlp:2+bare:1",
        "ds_offsets": True,
        "catalog": catalog,
        "pretrained": start / "last.ckpt",
    }
    one = run("one", **options | {"pretrained": str(start / "last.ckpt")})
    rest = {
        "workers": 0,
        "validate_every": "1",
        "save_every": "1",
        "onnx": False,
        "save_plot": False,
        "tensorboard": False,
        "draw_every": 1,
        "device": "cpu",
    }
    words = as_arguments(options | rest | {"devices": 2, "outdir": tmp_path / "two"})
    done = start_script("train_poseestimator.py", *words, DATADIR=str(faces), MASTER_PORT=str(free_port()))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("epoch 2/2") == 1
    for name in ("last", "swa", "ema", "best"):
        first, second = (load_network(out / f"{name}.ckpt")[0].state_dict() for out in (one, tmp_path / "two"))
        for key, value in first.items():
            assert torch.allclose(value, second[key], rtol=0, atol=1e-5), (name, key)
    for a, b in zip(*(read_metrics(out / "metrics.csv") for out in (one, tmp_path / "two"))):
        same = [key for key in a if not key.startswith("s")]  # seconds, samples per second
        assert [b[key] for key in same] == pytest.approx([a[key] for key in same], rel=1e-4, abs=1e-5)


def test_synchronised_batch_norm_keeps_activations_and_names() -> None:
    backbone = build_backbone("mobilenetv1", BackboneOptions(width=0.25, size=65)).eval()
    names, image = list(backbone.state_dict()), torch.randn(2, 1, 65, 65)
    assert any(isinstance(m, BatchNormAct2d) for m in backbone.modules())
    before = backbone(image)
    converted = SyncBatchNorm().apply(backbone)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in converted.modules())
    assert torch.equal(converted(image), before)
    assert list(converted.state_dict()) == names


@pytest.mark.parametrize("last", [True, False])
def test_running_statistics_are_means_over_processes_after_an_epoch(last: bool) -> None:
    network = nn.Sequential(nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3), nn.BatchNorm2d(2))
    there = torch.arange(10.0)  # of the other process: means and variances of both layers

    def reduce(here: torch.Tensor, reduce_op: str) -> torch.Tensor:
        assert reduce_op == "mean"
        return (here + there) / 2

    trainer: Any = SimpleNamespace(world_size=2, is_last_batch=last, strategy=SimpleNamespace(reduce=reduce))
    SharedStatistics().on_train_batch_end(trainer, SimpleNamespace(network=network), None, None, 0)
    found = [getattr(network[k], name).tolist() for k in (1, 2) for name in ("running_mean", "running_var")]
    expected = [[0.0, 0.5, 1.0], [2.0, 2.5, 3.0], [3.0, 3.5], [4.5, 5.0]]
    assert found == (expected if last else [[0.0] * 3, [1.0] * 3, [0.0] * 2, [1.0] * 2])


def test_only_parameters_that_no_loss_depends_on_are_frozen() -> None:
    """Found without computing anything: no weight, statistic or random number changes."""
    network = build_network(NetworkConfig(backbone="mobilenetv1", width=0.25, input_size=33), embedded_head())
    objective = make_objective(LossOptions(roi_train=False), network.config)
    before, random = {k: v.clone() for k, v in network.state_dict().items()}, torch.get_rng_state()
    losses = losses_of(network, objective, half=False)
    constant.cache_clear()
    frozen = freeze_unused(network, losses)
    assert frozen == [name for name, value in network.named_parameters() if name.startswith("face_box")]
    assert frozen == [name for name, value in network.named_parameters() if not value.requires_grad]
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert network.training
    assert network.eval()(torch.zeros(1, 1, 33, 33)).rotation.norm().item() == pytest.approx(1.0)


def test_processes_that_have_teachers_find_a_gradient_for_all_that_they_train(tmp_path: Path) -> None:
    """What no loss depends on is found with labels alone: teachers compute, and answer labels."""
    onnx.save(build_model(input_shape=(1, 1, 33, 33)), tmp_path / "teacher.onnx")
    network = small_network()
    objective = make_objective(LossOptions(teachers=str(tmp_path / "teacher.onnx"), roi_train=False), network.config)
    augment, machine = DeviceAugmentation(kornia=False, plugin=False), MachineOptions(device="cpu", devices=2)
    PoseTraining(network, objective, augment, OptimisationOptions(), machine)
    trained = {name for name, value in network.named_parameters() if value.requires_grad}
    _, loss, parts = losses_of(network, objective, half=False)(blank_batch((2, 1, 33, 33), "cpu"), torch.ones(()))
    loss.backward()
    assert parts["teachers"] > 0
    assert trained == {name for name, value in network.named_parameters() if value.grad is not None}
    assert 0 < len(trained) < len(list(network.parameters()))


def test_several_processes_need_a_common_folder() -> None:
    with pytest.raises(ConfigError, match="several processes need --outdir in common"):
        TrainConfig.of(devices=2)


LAUNCHERS = {  # the variables that each sets for the third of four processes, two on each of two machines
    "torchrun": {"TORCHELASTIC_RUN_ID": "x", "RANK": "2", "LOCAL_RANK": "0", "GROUP_RANK": "1", "WORLD_SIZE": "4"},
    "srun": {"SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": "2", "SLURM_JOB_NAME": "x", "SLURM_PROCID": "2",
             "SLURM_LOCALID": "0", "SLURM_NODEID": "1", "SLURM_STEP_ID": "0"},
    "by hand": {"NODE_RANK": "1"},
    "Lightning": {"NODE_RANK": "1", "LOCAL_RANK": "0"},
}  # fmt: skip


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """launched(launcher): this process is the one that it started."""

    def launch(launcher: str) -> None:
        for name in {name for variables in LAUNCHERS.values() for name in variables}:
            monkeypatch.delenv(name, raising=False)
        for name, value in LAUNCHERS[launcher].items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(rank_zero_only, "rank", 0)

    return launch


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_the_first_process_of_the_second_node_is_not_the_first_of_all(
    launcher: str, launched: Callable[[str], None]
) -> None:
    launched(launcher)
    assert (global_rank(4, 2), rank_zero_only.rank) == (2, 2)  # type: ignore[attr-defined]


@pytest.mark.parametrize("launcher", ["torchrun", "srun"])
def test_processes_that_would_not_train_together_are_one_line(launcher: str, launched: Callable[[str], None]) -> None:
    """Each of them would be the first of its own training, or wait for others in vain."""
    launched(launcher)
    with pytest.raises(ConfigError, match=rf"{launcher} started 4 processes of --nodes 1 × --devices 1; give both"):
        global_rank(1, 1)


@pytest.mark.parametrize("launcher", ["by hand", "Lightning"])
def test_a_process_alone_is_the_first(launcher: str, launched: Callable[[str], None]) -> None:
    launched(launcher)
    assert global_rank(1, 1) == 0


def test_a_batch_script_of_slurm_starts_one_process(
    launched: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without srun, Lightning would wait for the others, which nobody starts."""
    launched("srun")
    monkeypatch.delenv("SLURM_STEP_ID")
    monkeypatch.setenv("SLURM_PROCID", "0")
    assert global_rank(1, 1) == 0
    with pytest.raises(ConfigError, match="SLURM started 1 process of --nodes 2 × --devices 2; put srun before"):
        global_rank(4, 2)


def test_tasks_of_slurm_that_lightning_cannot_use_are_one_line(
    run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"SLURM_NTASKS": "2", "SLURM_JOB_NAME": "train"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("SLURM_NTASKS_PER_NODE", raising=False)
    with pytest.raises(ConfigError, match=r"Use `--ntasks-per-node=2` instead"):
        run()


TINY = "--ds 300wlp --epochs 4 --samples-per-epoch 16 --batchsize 8 --backbone repvgg_az --width 0.25 --input-size 33"
SILENT = "--no-onnx --no-tensorboard --no-save-plot --draw-every 0 --device cpu --workers 0 --nodes 2 --outdir run"
START = f"{TINY} {SILENT} --save-every 1 --validate-every 1"
NODE = """
import datetime, sys
import trackertraincode.training.distributed as distributed
distributed.WAIT = datetime.timedelta(seconds=int(sys.argv.pop(1)))
from trackertraincode.commands import main
main("train")
"""


def start_node(
    rank: int, port: int, patience: int, folder: Path, faces: Path, words: str = START, before: str = ""
) -> subprocess.Popen:
    """A process of its own that trains as one of two nodes; patience: seconds that it waits for the other one.

    before: Python that it runs first.
    """
    variables = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "NODE_RANK": str(rank), "DATADIR": str(faces)}
    return subprocess.Popen(
        [sys.executable, "-c", before + NODE, str(patience), *words.split()],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder,
        env={**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1", **variables},
    )  # fmt: skip


def free_port() -> int:
    """Not one of those that systems give to whom asks for any, of which others may get it before it is used here."""
    for port in random.Random(os.getpid()).sample(range(20_000, 30_000), 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("all are taken")


DIES = """
import os, signal
from trackertraincode.augmentation.loader import TrainBatches
make = TrainBatches.__getitem__
TrainBatches.__getitem__ = lambda self, place: os.kill(os.getpid(), signal.SIGKILL) if place[0] == 2 else make(self, place)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="kills by a signal")
def test_a_node_that_is_killed_ends_the_other_and_both_go_on(faces: Path, tmp_path: Path) -> None:
    """Two nodes of one process each in one folder; one is killed in the third epoch, then both are resumed."""
    port = free_port()
    nodes = [start_node(rank, port, 120, tmp_path, faces, before=DIES * rank) for rank in range(2)]
    outputs = [node.communicate()[0] for node in nodes]
    assert [node.returncode for node in nodes] == [1, -9], outputs
    lines = outputs[0].splitlines()
    assert any(line.startswith("error: another process of this training doesn't answer") for line in lines[-2:]), lines
    assert "Traceback" not in outputs[0]
    port = free_port()
    nodes = [start_node(rank, port, 120, tmp_path, faces, "--resume --outdir run") for rank in range(2)]
    outputs = [node.communicate()[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], outputs
    assert "epoch 2/4" not in outputs[0]
    assert "epoch 4/4" in outputs[0]
    assert "epoch 4/4" not in outputs[1]


@pytest.mark.slow
def test_a_node_that_never_comes_is_not_waited_for(faces: Path, tmp_path: Path) -> None:
    node = start_node(0, free_port(), 2, tmp_path, faces)
    output = node.communicate()[0]
    assert node.returncode == 1
    assert "error: another process of this training doesn't answer" in output.splitlines()[-1]
    assert "Traceback" not in output
