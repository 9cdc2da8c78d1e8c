"""When the host waits for a GPU: whole steps with tensors that claim to be there, and clocks and events that are replaced."""

import io
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import pytest
import torch
from constant_onnx import build_model
from fake_devices import Copies, move_fakes, without_mps
from torch._subclasses import FakeTensorMode

from trackertraincode.augmentation.loader import checked
from trackertraincode.evaluation.predictor import OnnxPredictor
from trackertraincode.geometry.constants import constant
from trackertraincode.sample.packed import PackedBatch
from trackertraincode.sample.sample import Prediction, blank_batch
from trackertraincode.training import arriving
from trackertraincode.training.callbacks import guard, progress, records
from trackertraincode.training.callbacks.guard import BEHIND, NanGuard, TrainingDiverged
from trackertraincode.training.callbacks.progress import Progress
from trackertraincode.training.callbacks.records import Recorder
from trackertraincode.training.config import TrainConfig
from trackertraincode.training.data import PoseData, open_members
from trackertraincode.training.module import PoseTraining
from trackertraincode.training.network import make_network
from trackertraincode.training.run import make_data, make_module

GPU = torch.device("cuda", 0)
CATALOG = '[bare]\nfile = "aflw2k.h5"\nlabels = ["pose"]\nrows = [0]\nvalidation_rows = [0, 7]\n'
COPY = "aten._to_copy.default"

Mixture = Callable[..., tuple[PoseData, PoseTraining]]


@pytest.fixture
def mixture(faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mixture]:
    """mixture(**options): loaders and steps of two data sets, of which one has poses alone, for a GPU that isn't here."""
    monkeypatch.setenv("DATADIR", str(faces))
    (tmp_path / "catalog.toml").write_text(CATALOG)

    def make(**options: object) -> tuple[PoseData, PoseTraining]:
        values: dict = {
            "ds": "300wlp:2+bare:1", "catalog": tmp_path / "catalog.toml", "ds_offsets": True, "ds_weighting": True,
            "backbone": "repvgg_az", "width": 0.25, "input_size": 33, "with_nll_loss": True, "samples_per_epoch": 32,
            "batchsize": 16, "workers": 0, "val_fraction": 0.2, "cache_dir": tmp_path, "device": "cuda",
        }  # fmt: skip
        config = TrainConfig.of(**(values | options))
        with monkeypatch.context() as there:
            there.setattr(torch.cuda, "is_available", lambda: True)
            members = open_members(config.data)
            network, _ = make_network(config, members)
            data, module = make_data(config, members, network), make_module(config, network)
        module._trainer = SimpleNamespace(global_step=0, num_training_batches=4)  # type: ignore[assignment]
        return data, module

    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda value: value)  # there is none without a GPU
    constant.cache_clear()
    yield make
    constant.cache_clear()


def unlike(data: PoseData) -> bool:
    """Whether the first batch has rows of both data sets, with labels and weights of their own."""
    batch = checked(data.train_batches()[0, 0]).unpack()
    both = [batch.dataset == number for number in range(2)]
    landmarks = [batch.present("landmarks")[rows] for rows in both]
    return bool(landmarks[0].all() and len(landmarks[1]) and not landmarks[1].any()) and len(batch.weight.unique()) == 2


def test_a_mixture_comes_to_the_device_in_two_copies_and_nothing_waits(mixture: Mixture) -> None:
    """Constants are there after the first step."""
    data, module = mixture()
    assert unlike(data)
    steps = [(data.train_batches()[0, 0], module.training_step), (data.validation_batches()[0], module.validation_step)]
    strategy = SimpleNamespace(root_device=GPU)
    data.trainer = SimpleNamespace(  # type: ignore[assignment]
        global_rank=0, world_size=1, global_step=0, strategy=strategy
    )
    loaders: list[Any] = [data.train_dataloader(), data.val_dataloader()._loader]  # type: ignore[union-attr]
    assert [loader.pin_memory for loader in loaders] == [True, True]
    with FakeTensorMode(allow_non_fake_inputs=False) as fake:
        move_fakes(module, "cuda")
        for loaded, step in steps:
            packed = PackedBatch(*map(fake.from_tensor, checked(loaded)))
            copies = Copies()
            for mode in (nullcontext(), copies):
                with mode, torch.no_grad() if step == module.validation_step else nullcontext():
                    step(data.transfer_batch_to_device(packed, GPU, 0), 0)
            assert (copies.moved, copies.found) == ([COPY] * 2, [])


def test_a_mixture_that_is_made_on_the_device_never_waits(mixture: Mixture) -> None:
    """Batches of kept crops and steps with them; an epoch needs numbers of the host, which are sent ahead.

    MPS has kernels for all of it, and no number that comes to it has 64 bits.
    """
    data, module = mixture(cache="device")
    assert unlike(data)
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    data.trainer = SimpleNamespace(  # type: ignore[assignment]
        global_rank=0, world_size=1, global_step=0, strategy=strategy
    )
    batches: Any = data.train_dataloader()
    faces, places = batches._faces, batches._batches.plan(0)
    batches._batches.drawn(0, 0)

    def there(value: Any) -> Any:
        return torch.empty(value.shape, dtype=value.dtype, device=GPU) if isinstance(value, torch.Tensor) else value

    with FakeTensorMode(allow_non_fake_inputs=True):
        move_fakes(module, "cuda")
        for name, value in vars(faces).items():
            vars(faces)[name] = {k: there(v) for k, v in value.items()} if isinstance(value, dict) else there(value)
        faces.device, counts = GPU, []
        for mode in (nullcontext(), Copies()):
            with mode:
                for batch in batches:
                    made = data.transfer_batch_to_device(batch, GPU, 0)
                    assert made is batch
                    module.training_step(made, 0)
                    counts.append(len(batch))
    assert isinstance(mode, Copies)
    assert (sum(counts), mode.found) == (2 * len(places), [])
    assert len(mode.operations) > 50
    assert [name for name in mode.doubles if name.endswith("cuda")] == []
    assert without_mps(mode.operations) == set()


def test_teachers_take_one_copy_to_the_host_in_a_step_and_one_back(
    mixture: Mixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many they are; the first of the two waits."""
    for name in "ab":
        onnx.save(build_model(input_shape=(1, 1, 33, 33)), tmp_path / f"{name}.onnx")
    _, module = mixture(teachers="+".join(str(tmp_path / f"{name}.onnx") for name in "ab"))
    seen = []

    def answer(model: OnnxPredictor, images: torch.Tensor) -> Prediction:
        seen.append((model.path.name, images.device.type, len(images)))
        return Prediction(**{name: torch.zeros(len(images), n) for name, n in SHAPES.items()})

    SHAPES = {"rotation": 4, "head": 3, "face_box": 4, "shape": 50}
    monkeypatch.setattr(OnnxPredictor, "predict", answer)
    with FakeTensorMode(allow_non_fake_inputs=False):
        move_fakes(module, "cuda")
        batch, copies = blank_batch((16, 1, 33, 33), GPU), Copies()
        for mode in (nullcontext(), copies):
            with mode:
                parts: Any = module.training_step(batch, 0)["parts"]
    assert parts["teachers"].device.type == "cuda"
    assert (copies.moved, copies.found) == ([COPY] * 2, [COPY])
    assert seen == [(f"{name}.onnx", "cpu", 16) for name in "ab"] * 2


class Gpu:
    """Takes a second for a step, which the host starts in none; the clock is the host's."""

    def __init__(self) -> None:
        self.now = self.busy_until = 0.0
        self.waits = 0

    def work(self, seconds: float) -> None:
        self.busy_until = max(self.busy_until, self.now) + seconds

    def synchronize(self, device: torch.device) -> None:
        assert device == GPU
        self.waits += 1
        self.now = max(self.now, self.busy_until)

    def monotonic(self) -> float:
        return self.now


@pytest.mark.parametrize("validation", [0.0, 10.0])
def test_samples_per_second_are_those_that_the_device_has_computed(
    validation: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock is read after the device was waited for, which happens between epochs only; validation isn't counted."""
    gpu, recorder = Gpu(), Recorder(tmp_path, plot="")
    monkeypatch.setattr(records, "time", gpu)
    monkeypatch.setattr(torch.accelerator, "synchronize", gpu.synchronize)
    trainer: Any = SimpleNamespace(
        num_training_batches=4, strategy=SimpleNamespace(root_device=GPU), is_global_zero=True, logger=None, current_epoch=0,
        optimizers=[SimpleNamespace(param_groups=[{"lr": 0.1}])],
    )  # fmt: skip
    module: Any = SimpleNamespace(batchsize=16, train_means=dict, validation={}, record={})
    for trainer.current_epoch in range(2):
        before = gpu.waits
        recorder.on_train_epoch_start(trainer, module)
        for step in range(4):
            recorder.on_train_batch_start(trainer, module, None, step)
            gpu.work(1.0)
            recorder.on_train_batch_end(trainer, module, None, None, step)
        assert gpu.waits == before
        if validation:
            recorder.on_validation_start(trainer, module)
            gpu.work(validation)
            recorder.on_validation_batch_end(trainer, module, None, None, 0)
            assert gpu.waits == before + 1
            recorder.on_validation_end(trainer, module)
        recorder.on_train_epoch_end(trainer, module)
        assert (module.record["samples_per_s"], module.record["seconds"]) == (16.0, 4.0 + validation)


class Event:
    """Of a GPU that is done with it when `done` is True."""

    done = False
    read: list["Event"]

    def record(self) -> None:
        pass

    def query(self) -> bool:
        return self.done

    def synchronize(self) -> None:
        self.read.append(self)


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[Event]:
    """All that are made, in their order; `Event.read` has those that were waited for."""
    made: list[Event] = []

    def make() -> Event:
        made.append(Event())
        return made[-1]

    monkeypatch.setattr(Event, "read", [], raising=False)
    monkeypatch.setattr(arriving.torch.cuda, "Event", make)
    return made


class There:
    """A number on a GPU, which nobody may look at before it has come to the host."""

    device = GPU

    def __init__(self, value: float) -> None:
        self._value = value

    def detach(self) -> "There":
        return self

    def to(self, device: str, *, non_blocking: bool) -> float:
        assert (device, non_blocking) == ("cpu", True)
        return self._value


def test_a_loss_is_looked_at_some_steps_later(
    events: list[Event], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a device that isn't that far behind has long computed it; the rest when the epoch ends."""
    monkeypatch.setattr(guard.torch, "isfinite", lambda value: value)
    watch, trainer = NanGuard(tmp_path), SimpleNamespace(world_size=1)
    for step in range(BEHIND + 3):
        watch.on_train_batch_end(trainer, None, {"loss": There(1.0), "parts": {}}, None, step)  # type: ignore[arg-type]
        assert Event.read == events[: max(0, step + 1 - BEHIND)]
    watch.on_train_epoch_end(trainer, None)  # type: ignore[arg-type]
    assert Event.read == events
    assert len(events) == BEHIND + 3


def test_processes_tell_each_other_of_losses_without_a_barrier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At which each host would wait for its GPU, at every step."""
    others = iter([1.0, float("nan")])
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda value: value.add_(next(others)))
    trainer: Any = SimpleNamespace(world_size=2, current_epoch=0, is_global_zero=True)
    watch, loss = NanGuard(tmp_path), torch.tensor(1.0)
    for step in range(2):
        watch.on_train_batch_end(trainer, None, {"loss": loss, "parts": {}}, None, step)
    with pytest.raises(TrainingDiverged, match="epoch 1, step 2: another process's loss is not finite"):
        watch.on_train_epoch_end(trainer, None)
    assert loss == 1.0


def test_the_bar_shows_a_loss_when_it_has_come(events: list[Event], monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys, "stderr", terminal)
    trainer: Any = SimpleNamespace(
        is_global_zero=True, max_epochs=1, num_training_batches=9, current_epoch=0,
        optimizers=[SimpleNamespace(param_groups=[{"lr": 0.001}])],
    )  # fmt: skip
    bar, module = Progress(), SimpleNamespace(batchsize=4)
    monkeypatch.setattr(progress, "REFRESH_SECONDS", -1.0)
    bar.on_train_start(trainer, module)
    shown = []
    for step in range(6):
        for event in events:
            event.done = step >= 3
        bar.on_train_batch_end(trainer, module, {"loss": There(float(step))}, None, step)
        assert bar._bar is not None
        shown.append(bar._bar.postfix)
    bar.on_train_end(trainer, module)
    assert shown[:3] == [None] * 3
    assert str(shown[3]).startswith("loss 0.0000"), "the one that was sent first"
    assert len(events) == 2
