"""What must hold on GPUs or in half precision, shown on a CPU: by the meta device and by layers that are replaced."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest
import torch
from fake_devices import SMALL, Copies, move_fakes, small_network, without_mps
from timm.models.vision_transformer import Block
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from trackertraincode.augmentation import intensity_kornia
from trackertraincode.augmentation.crop import centered_geometry
from trackertraincode.augmentation.intensity_kornia import FUNCTIONS
from trackertraincode.augmentation.second_view import draw_views
from trackertraincode.facemodel.embedded import embedded_head
from trackertraincode.geometry.affine2d import pixels_to_normalized
from trackertraincode.geometry.constants import constant
from trackertraincode.geometry.rotation import random_quats
from trackertraincode.losses.objective import TERMS
from trackertraincode.models.pose_network import NetworkConfig, PoseNetwork, build_network
from trackertraincode.sample.sample import BATCH_LABELS, Batch, Prediction, make_batch
from trackertraincode.training import finish as finish_module
from trackertraincode.training.callbacks.averaging import (
    ExponentialMovingAverage,
    StochasticWeightAverage,
    WeightAverage,
)
from trackertraincode.training.callbacks.batch_norm import batch_norms
from trackertraincode.training.config import TrainConfig
from trackertraincode.training.device_augmentation import DeviceAugmentation
from trackertraincode.training.distributed import SyncBatchNorm
from trackertraincode.training.module import PoseTraining, is_recorded, losses_of
from trackertraincode.training.objective import LossOptions, Objective, make_objective
from trackertraincode.training.optimisation import OptimisationOptions
from trackertraincode.training.recorded import recorded
from trackertraincode.training.trainer import MachineOptions, wants_channels_last
from trackertraincode.training.validation import ValidationErrors, pose_errors


def devices(network: nn.Module) -> set[str]:
    return {value.device.type for value in [*network.parameters(), *network.buffers()]}


class Anywhere(nn.Conv2d):
    """Comes back from the meta device, which stands for a GPU here, with any values."""

    def cpu(self) -> "Anywhere":
        return self.to_empty(device="cpu")


def test_averages_are_finished_on_the_training_device_and_saved_from_the_cpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """After training, the network is on the CPU, and averages are where they were."""
    gpu = torch.device("meta")
    monkeypatch.setattr(StochasticWeightAverage, "started", True)  # tensors there have no values to look at
    network = Anywhere(1, 1, 1)
    average = StochasticWeightAverage(network)
    trainer = SimpleNamespace(strategy=SimpleNamespace(root_device=gpu))
    average.on_fit_start(trainer, SimpleNamespace(device=torch.device("cpu")))  # type: ignore[arg-type]
    assert devices(average.network) == {"meta"}
    measured, saved = [], []

    def measure(network: nn.Module, images: Iterator[torch.Tensor]) -> None:
        measured.append((devices(network), {network(image).device.type for image in images}))

    def batches(data: object, augment: object, device: torch.device, epoch: int) -> list[SimpleNamespace]:
        return [SimpleNamespace(image=torch.zeros(2, 1, 3, 3, device=device))]

    monkeypatch.setattr(finish_module, "refresh_batch_norm", measure)
    monkeypatch.setattr(finish_module, "_batches", batches)
    saver = SimpleNamespace(save=lambda name, network, epoch: saved.append((name, devices(network))))
    config = TrainConfig.of(epochs=1)
    data = SimpleNamespace(members=SimpleNamespace(validation=()))
    finish_module.finish(config, tmp_path, data, network, [average], None, saver, gpu)  # type: ignore[arg-type]
    assert (measured, saved) == ([({"meta"}, {"meta"})], [("swa", {"cpu"})])


def test_frozen_batch_norm_stays_frozen_when_lightning_replaces_the_layers() -> None:
    options = OptimisationOptions(freeze_batchnorm=True)
    network = small_network()
    objective = make_objective(LossOptions(), SMALL)
    module = PoseTraining(network, objective, DeviceAugmentation(kornia=False, plugin=False), options, MachineOptions())
    SyncBatchNorm().apply(module)
    trainer = SimpleNamespace(optimizers=[SimpleNamespace(param_groups=[])], current_epoch=0, global_rank=0)
    module._trainer = trainer  # type: ignore[assignment]
    module.train()
    module.on_train_epoch_start()
    layers = batch_norms(module.network)
    assert any(isinstance(layer, nn.SyncBatchNorm) for layer in layers)
    assert not any(layer.training for layer in layers)
    assert not any(parameter.requires_grad for layer in layers for parameter in layer.parameters())


@pytest.mark.parametrize(
    ("device", "bf16", "arithmetic"),
    [("cuda", True, "bf16"), ("cuda", False, "32"), ("mps", True, "32"), ("cpu", True, "32")],
)
def test_bf16_is_chosen_on_cuda_devices_that_have_it(
    monkeypatch: pytest.MonkeyPatch, device: str, bf16: bool, arithmetic: str
) -> None:
    """Older ones emulate it, which torch counts as having it unless it is asked otherwise."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: bf16 or including_emulation)
    assert MachineOptions(device=device, precision="auto").arithmetic == arithmetic
    assert MachineOptions(device=device, precision="fp16").arithmetic == "fp16"


@pytest.mark.parametrize(
    ("device", "plain", "transformer"), [("cpu", True, False), ("cuda", True, False), ("mps", False, False)]
)
def test_channels_last_is_chosen_by_device_and_network(
    monkeypatch: pytest.MonkeyPatch, device: str, plain: bool, transformer: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    networks = nn.Sequential(nn.Conv2d(1, 1, 1)), nn.Sequential(nn.Conv2d(1, 1, 1), Block(8, 2))
    for asked, expected in (("auto", [plain, transformer]), ("yes", [True, True]), ("no", [False, False])):
        machine = MachineOptions(device=device, channels_last=asked)
        assert [wants_channels_last(machine, network) for network in networks] == expected


@pytest.mark.parametrize(
    ("device", "options", "expected"),
    [
        ("cuda", {}, True),
        ("cuda", {"cuda_graph": False}, False),
        ("cuda", {"devices": 2}, False),
        ("cpu", {}, False),
        ("mps", {}, False),
    ],
)
def test_steps_are_recorded_where_one_gpu_trains_alone_and_answers_all(
    device: str, options: dict[str, Any], expected: bool
) -> None:
    alone, taught = Objective({}), Objective({}, teachers=object())  # type: ignore[arg-type]
    machine = MachineOptions(**options)
    assert is_recorded(machine, torch.device(device), alone) == expected
    assert not is_recorded(machine, torch.device(device), taught)
    assert is_recorded(machine, torch.device(device), taught.without_teachers()) == expected


@pytest.mark.parametrize(
    "make", [lambda: pixels_to_normalized(129, "meta"), lambda: centered_geometry(2, 1.1, "meta").shift]
)
def test_geometry_is_made_where_it_is_needed(make: Callable[[], torch.Tensor]) -> None:
    assert make().device.type == "meta"


@pytest.fixture
def all_of_kornia(monkeypatch: pytest.MonkeyPatch) -> None:
    """kornia's augmentation takes all of its operations, and fakes of its random numbers, which the host may look at.

    There is no page-locked memory without a GPU.
    """
    monkeypatch.setattr(
        intensity_kornia, "draw_operations", lambda count: (list(FUNCTIONS), torch.zeros(2, len(FUNCTIONS), count))
    )
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda value: value)


@pytest.mark.parametrize(("rotation", "channels", "kornia"), [("quaternion", 1, False), ("sixd", 3, True)])
@pytest.mark.parametrize("precision", ["32", "bf16", "fp16"])
@pytest.mark.parametrize("device", ["cuda", "cpu"])
@pytest.mark.usefixtures("all_of_kornia")
def test_steps_stay_on_their_device_and_never_wait(
    rotation: Literal["quaternion", "sixd"], channels: int, kornia: bool, device: str, precision: str
) -> None:
    """Fake tensors refuse to mix devices and to tell their values; the constants are on the device after one step.

    What they can't show: the backward pass of a device that isn't there; CUDA graphs. `test_gpu` has those. MPS has kernels
    for all of it, and needs no numbers of 64 bits to train.
    """
    config = replace(SMALL, rotation=rotation, channels=channels, offsets_of=("a", "b"))
    network, objective = PoseNetwork(config), make_objective(LossOptions(consistency=1.0), config)
    averages = [ExponentialMovingAverage(network, 0.99), StochasticWeightAverage(network)]
    augment, copies = DeviceAugmentation(kornia=kornia, plugin=True, pairs=True), Copies()
    module = PoseTraining(network, objective, augment, OptimisationOptions(), MachineOptions(precision=precision))
    module._trainer = SimpleNamespace(global_step=0, num_training_batches=4)  # type: ignore[assignment]
    constant.cache_clear()
    torch.set_autocast_dtype(device, {"32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision])
    with FakeTensorMode(allow_non_fake_inputs=False):
        for moved in (module, *(average.network for average in averages)):
            move_fakes(moved, device)
        zeros = torch.zeros(4, dtype=torch.long, device=device)
        labels = {name: torch.zeros(4, *shape, device=device) for name, shape in BATCH_LABELS.items()}
        image = torch.zeros(4, channels, 33, 33, dtype=torch.uint8, device=device)
        loaded = make_batch(image, zeros, zeros, zeros.float(), **labels)
        for mode in (nullcontext(), copies):
            with mode:
                torch.set_autocast_enabled(device, precision != "32")
                loss = module.training_step(loaded, 0)["loss"]
                assert copies.doubles == []
                with torch.no_grad():
                    module.validation_step(loaded, 0)
                torch.set_autocast_enabled(device, False)
                for average in averages:
                    average.add(module.network)
                if device == "cpu":  # autograd asks for the device itself
                    assert isinstance(loss, torch.Tensor)
                    loss.backward()
    constant.cache_clear()
    assert copies.found == []
    assert len(copies.operations) > 50
    assert without_mps(copies.operations) == set()


@pytest.mark.parametrize("decay", [None, 0.9])
def test_averages_equal_those_of_torch(decay: float | None) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    average = WeightAverage("any", network, decay)
    oracle = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay) if decay else None)
    for _ in range(4):
        for value in [*network.parameters(), *network.buffers()]:
            nn.init.normal_(value) if value.is_floating_point() else value.add_(1)
        average.add(network)
        oracle.update_parameters(network)
    for name, value in average.network.state_dict().items():
        torch.testing.assert_close(value, oracle.module.state_dict()[name])
    again = WeightAverage("any", nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)), decay)
    again.load_state_dict(average.state_dict())
    assert again.started
    assert torch.equal(again.network[0].weight, average.network[0].weight)  # type: ignore[index]


def test_validation_errors_are_means_over_the_rows_that_have_the_label() -> None:
    torch.manual_seed(0)
    rotation, answer, head = random_quats(6), random_quats(6), torch.randn(6, 3)
    rotation[4:], head[0] = torch.nan, torch.nan
    zeros, errors = torch.zeros(6, dtype=torch.long), ValidationErrors()
    batch = make_batch(torch.zeros(6, 1, 3, 3), zeros, zeros, rotation=rotation, head=head)
    prediction = Prediction(rotation=answer, head=torch.zeros(6, 3))
    for rows in ([0, 1, 2], [3, 4], [5]):
        some = torch.tensor(rows)
        errors.add(
            prediction.select(some), batch.select(some), dict.fromkeys(("loss", *TERMS), torch.tensor(float(len(rows))))
        )
    found = errors.result(SimpleNamespace(trainer=SimpleNamespace(world_size=1)))  # type: ignore[arg-type]
    expected = pose_errors(answer[:4], rotation[:4]).double().mean(0).tolist()
    assert [found[name] for name in ("pitch", "yaw", "roll", "geodesic")] == pytest.approx(expected)
    assert found["mae"] == pytest.approx(sum(expected[:3]) / 3)
    assert [found[name] for name in ("loss", *TERMS)] == pytest.approx([14 / 6] * (1 + len(TERMS)))
    assert found["size_rmse"] == pytest.approx(head[1:, 2].square().mean().sqrt().item())
    assert found["xy_rmse"] == pytest.approx(head[1:, :2].square().sum(-1).mean().sqrt().item())


def test_what_a_recorded_step_gives_outlives_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA graphs write to the same memory each time, which a function stands for here."""

    def graphed(function: Callable[..., Any], inputs: tuple[Any, ...], **_: Any) -> Callable[..., Any]:
        memory = [value.detach().clone() for value in function(*inputs)]
        return lambda *inputs: tuple(own.copy_(value) for own, value in zip(memory, function(*inputs)))

    def losses(batch: Batch, ramp: torch.Tensor) -> Any:
        return None, batch.image.mean() * ramp, {"mean": batch.image.mean()}

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", graphed)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda _: None)
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda *_: None)
    one, two = (
        make_batch(torch.full((2, 1, 3, 3), value), *torch.zeros(2, 2, dtype=torch.long)) for value in (1.0, 2.0)
    )
    step = recorded(losses, nn.Linear(1, 1), one, torch.ones(()), None)
    loss, parts = step(one, torch.tensor(3.0))
    step(two, torch.tensor(3.0))
    assert (loss.item(), parts["mean"].item()) == (3.0, 1.0)


def test_network_and_objective_are_one_graph() -> None:
    config = NetworkConfig(backbone="mobilenetv1", width=0.25, input_size=33, uncertainty=True, rotation="sixd")
    network = build_network(config, embedded_head()).eval()
    objective = make_objective(LossOptions(consistency=1.0), config)
    labels = {name: torch.rand(8, *shape) for name, shape in BATCH_LABELS.items()} | {"rotation": random_quats(8)}
    for values in labels.values():
        values[torch.rand(8) < 0.4] = torch.nan
    zeros = torch.zeros(8, dtype=torch.long)
    views = draw_views(8, torch.device("cpu")).maps
    batch = make_batch(torch.rand(8, 1, 33, 33) - 0.5, zeros, zeros, view=views, **labels)

    losses = losses_of(network, objective, half=False)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    whole = torch.compile(losses, fullgraph=True, backend="eager")  # raises at a break
    for ramp in (torch.tensor(0.0), torch.tensor(1.0)):
        assert whole(batch, ramp)[1].item() == pytest.approx(losses(batch, ramp)[1].item())
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    torch._dynamo.reset()
