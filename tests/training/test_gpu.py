"""Training on a real GPU; skipped where there is none. `test_devices` shows on a CPU what can be shown there.

The most telling tests come first, for GPUs that are lent for minutes; each has a limit of its own and ends with all that it
started on the device, so that an error is told where it belongs.
"""

import math
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch

from trackertraincode.augmentation.cache_files import open_caches
from trackertraincode.augmentation.crop_cache import Kept
from trackertraincode.augmentation.device_batches import DeviceBatches, DeviceFaces
from trackertraincode.augmentation.loader import TrainBatches
from trackertraincode.augmentation.presets import AugmentationOptions
from trackertraincode.conversion.synthetic import write_faces
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.datasets.mixing import Member
from trackertraincode.evaluation.predictor import load_predictor
from trackertraincode.rendering.generate import Request
from trackertraincode.sample.sample import LABELS
from trackertraincode.training import run as run_module
from trackertraincode.training.callbacks.guard import TrainingDiverged
from trackertraincode.training.callbacks.records import read_metrics
from trackertraincode.training.module import PoseTraining
from trackertraincode.workers import usable_cores

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
    pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype"),
]
GPU = torch.device("cuda", 0)
LIMIT, COMPILING = 60, 300  # seconds


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with 300wlp.h5, made by all cores: a machine with a GPU is there for other things."""
    folder = tmp_path_factory.mktemp("faces")
    write_faces(Request(96, 96, 1, "hdf5"), folder / "300wlp.h5", usable_cores())
    return folder


@pytest.fixture(autouse=True)
def limited(faces: Path, request: pytest.FixtureRequest) -> Iterator[None]:
    """Ends a test after its limit, where the system can tell; the others come to their turn."""

    def end(*_: object) -> None:
        raise TimeoutError(f"still running after {seconds} seconds")

    seconds = COMPILING if "compiled" in request.node.name else LIMIT
    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(seconds)
    try:
        yield
        torch.cuda.synchronize()
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def never_waiting() -> Iterator[None]:
    """Raises where the host waits for the device."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


class NoWaiting(L.Callback):
    """From the third step of an epoch to its last; validation from its second batch on."""

    def __init__(self) -> None:
        self.steps = 0

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if 2 <= batch_idx < trainer.num_training_batches - 2:
            torch.cuda.set_sync_debug_mode("error")
            self.steps += 1
        else:
            torch.cuda.set_sync_debug_mode("default")

    def on_validation_batch_end(
        self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if batch_idx < trainer.num_val_batches[0] - 2:  # type: ignore[operator]
            torch.cuda.set_sync_debug_mode("error")
            self.steps += 1
        else:
            torch.cuda.set_sync_debug_mode("default")


def watched_run(run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]) -> NoWaiting:
    """A run that ends with an error where a step waits for the device."""
    watch, plain = NoWaiting(), run_module.make_callbacks
    monkeypatch.setattr(run_module, "make_callbacks", lambda *a: [*plain(*a), watch])
    try:
        run(device="cuda", samples_per_epoch=16 * 12, batchsize=16, val_fraction=0.5, **options)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return watch


@pytest.mark.parametrize(
    "options",
    [
        {"precision": "32", "with_nll_loss": True, "with_swa": True, "ema": 0.9},
        {"precision": "bf16", "cache": "device", "with_nll_loss": True, "consistency": 1.0},
        {"enable_6drot": True, "rgb": True, "cache": "ram", "augmentation": "kornia", "cuda_graph": False},
        {"cache": "ram", "extra": "plugin_brightness"},
        {"precision": "fp16", "ds_offsets": True, "cache": "device", "augmentation": "none"},
    ],
    ids=lambda options: "+".join(options),
)
def test_no_step_waits_for_the_device(
    run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    assert watched_run(run, monkeypatch, options).steps > 20


@pytest.mark.parametrize(("precision", "cache"), [("32", "none"), ("bf16", "device"), ("fp16", "ram")])
def test_a_run_ends_with_files_that_work(run: Callable[..., Path], precision: str, cache: str) -> None:
    """Averages included, whose tensors stay on the device when Lightning has taken the network away."""
    folder = run(device="cuda", precision=precision, cache=cache, with_nll_loss=True, with_swa=True, ema=0.9, onnx=True)
    images = torch.rand(4, 1, 33, 33) - 0.5
    for name in ("last", "best", "swa", "ema"):
        for device in ("cpu", "cuda"):
            answers = [load_predictor(folder / f"{name}{kind}", device).predict(images) for kind in (".ckpt", ".onnx")]
            torch.testing.assert_close(answers[0].rotation, answers[1].rotation, rtol=0, atol=0.01)
    rows = read_metrics(folder / "metrics.csv")
    assert all(math.isfinite(row["train/loss"]) and math.isfinite(row["val/loss"]) for row in rows)


@pytest.mark.parametrize("color", [False, True])
def test_batches_of_the_device_equal_those_of_the_host(faces: Path, color: bool) -> None:
    dataset = Hdf5PoseDataset(faces / "300wlp.h5")
    member = Member("faces", dataset, np.arange(len(dataset)), 1.0, tuple(LABELS))
    preset = AugmentationOptions(augmentation="none").training_preset(size=65, color=color, tables=False)
    caches = open_caches([member], Kept.of(preset, "full"), None, 0, ram=True)
    batches = TrainBatches(
        [member], preset, batchsize=32, samples_per_epoch=320, seed=3, face_model=dataset.face_model, caches=caches
    )
    here, there = (
        list(DeviceBatches(batches, DeviceFaces([member], caches, preset, dataset.face_model, device), lambda: 0))
        for device in (torch.device("cpu"), GPU)
    )
    for first, second in zip(here, there, strict=True):
        assert (first.image - second.image.cpu()).abs().max() <= 1.0  # where rounding meets a half
        assert (first.image - second.image.cpu()).abs().mean() < 1e-3
        for name, values in first.labels.items():
            torch.testing.assert_close(second.labels[name].cpu(), values, equal_nan=True, rtol=1e-4, atol=1e-5)


def test_the_first_steps_equal_those_of_a_cpu(run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Same seed, same rows, same maps and tables; noise is left out, which each device draws for itself."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    options = {"augmentation": "none", "samples_per_epoch": 32, "epochs": 1, "precision": "32"}
    first, second = (
        read_metrics(run(device, device=device, **options) / "metrics.csv")[0] for device in ("cpu", "cuda")
    )
    assert second["train/loss"] == pytest.approx(first["train/loss"], rel=1e-3)


def test_recorded_steps_are_those_that_are_not(run: Callable[..., Path]) -> None:
    """The mean loss of an epoch included, whose first step the second one may not write over."""
    options = {"device": "cuda", "augmentation": "none", "samples_per_epoch": 32, "epochs": 2, "precision": "32"}
    first, second = (
        [row["train/loss"] for row in read_metrics(run(str(graph), cuda_graph=graph, **options) / "metrics.csv")]
        for graph in (False, True)
    )
    assert second == pytest.approx(first, rel=1e-3)


def test_making_batches_never_waits(faces: Path) -> None:
    dataset = Hdf5PoseDataset(faces / "300wlp.h5")
    member = Member("faces", dataset, np.arange(len(dataset)), 1.0, tuple(LABELS))
    preset = AugmentationOptions().training_preset(size=65, tables=True, deferred=True)
    caches = open_caches([member], Kept.of(preset, "full"), None, 0, ram=True)
    batches = TrainBatches(
        [member], preset, batchsize=32, samples_per_epoch=3200, seed=3, face_model=dataset.face_model, caches=caches
    )
    made = iter(DeviceBatches(batches, DeviceFaces([member], caches, preset, dataset.face_model, GPU), lambda: 0))
    for _ in range(3):
        next(made)
    with never_waiting():
        count = sum(1 for _ in made)
    assert count == 97


@pytest.mark.parametrize("sixd", [False, True])
def test_networks_answer_alike_on_both_devices(
    run: Callable[..., Path], sixd: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    path = run(device="cuda", enable_6drot=sixd, with_nll_loss=True) / "last.ckpt"
    images = torch.rand(4, 1, 33, 33) - 0.5
    here, there = (load_predictor(path, device).predict(images) for device in ("cpu", "cuda"))
    for name, values in vars(here).items():
        torch.testing.assert_close(getattr(there, name), values, rtol=1e-3, atol=1e-3)


def test_a_loss_that_is_not_finite_stops_the_run(run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    step = PoseTraining.training_step

    def broken(self: PoseTraining, batch: Any, batch_idx: int) -> Any:
        result: dict[str, Any] = step(self, batch, batch_idx)
        return result | {"loss": result["loss"] * (float("nan") if batch_idx == 3 else 1.0)}

    monkeypatch.setattr(PoseTraining, "training_step", broken)
    with pytest.raises(TrainingDiverged, match="epoch 1, step 4: the loss is not finite"):
        run(device="cuda", samples_per_epoch=16 * 30)


class Stopped(Exception):
    """What stops a run."""


class Stop(L.Callback):
    """In the third epoch."""

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        if trainer.current_epoch == 2:
            raise Stopped


def test_a_batch_size_is_found_with_all_losses(run: Callable[..., Path]) -> None:
    """Landmarks have a prior, and teachers answer on the host."""
    first = run("first", device="cuda", onnx=True, epochs=1)
    second = run("second", device="cuda", batchsize="auto", samples_per_epoch=64, teachers=str(first / "last.onnx"))
    assert all(0 < row["train/teachers"] < math.inf for row in read_metrics(second / "metrics.csv"))


def test_a_stopped_run_goes_on(run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {
        "device": "cuda", "precision": "32", "augmentation": "none", "with_swa": True, "ema": 0.9, "epochs": 4
    }  # fmt: skip
    whole = read_metrics(run("whole", **options) / "metrics.csv")
    plain = run_module.make_callbacks
    with monkeypatch.context() as patch:
        patch.setattr(run_module, "make_callbacks", lambda *a: [*plain(*a), Stop()])
        with pytest.raises(Stopped):
            run("cut", **options)
    rows = read_metrics(run("cut", resume=True, **options) / "metrics.csv")
    assert [row["train/loss"] for row in rows] == pytest.approx([row["train/loss"] for row in whole], rel=0.01)


@pytest.mark.parametrize("augmentation", ["kornia", "tables"])
def test_it_learns_as_on_a_cpu(run: Callable[..., Path], augmentation: str) -> None:
    options = {"samples_per_epoch": 512, "epochs": 4, "augmentation": augmentation, "lr": 3e-3}
    losses = {
        device: read_metrics(run(device, device=device, **options) / "metrics.csv")[-1]["val/loss"]
        for device in ("cpu", "cuda")
    }
    assert losses["cuda"] < 1.25 * losses["cpu"]
    assert losses["cpu"] < 1.25 * losses["cuda"]


def test_compiled_steps_never_wait_either(run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """The last one here: compiling takes longer than all others together."""
    options = {"compile": True, "cache": "device", "augmentation": "none"}
    assert watched_run(run, monkeypatch, options).steps > 20
