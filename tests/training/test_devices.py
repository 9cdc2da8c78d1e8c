"""What must hold on GPUs or in half precision, shown on a CPU: by the meta device and by layers that are replaced."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from trackertraincode.augmentation.crop import centered_geometry
from trackertraincode.facemodel.embedded import embedded_head
from trackertraincode.geometry.affine2d import pixels_to_normalized
from trackertraincode.geometry.rotation import random_quats
from trackertraincode.models.pose_network import NetworkConfig, PoseNetwork, build_network
from trackertraincode.sample.sample import BATCH_LABELS, make_batch
from trackertraincode.training import finish as finish_module
from trackertraincode.training.callbacks.averaging import StochasticWeightAverage
from trackertraincode.training.callbacks.batch_norm import batch_norms
from trackertraincode.training.config import TrainConfig
from trackertraincode.training.device_augmentation import DeviceAugmentation
from trackertraincode.training.distributed import SyncBatchNorm
from trackertraincode.training.module import PoseTraining
from trackertraincode.training.objective import LossOptions, make_objective
from trackertraincode.training.optimisation import OptimisationOptions
from trackertraincode.training.trainer import MachineOptions

SMALL = NetworkConfig(backbone="repvgg_az", width=0.5, input_size=33, uncertainty=True, rotation="sixd")


def small_network() -> PoseNetwork:
    return build_network(SMALL, embedded_head())


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
    finish_module.finish(config, tmp_path, None, network, [average], None, saver, gpu)  # type: ignore[arg-type]
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


def test_losses_are_computed_in_float32_inside_of_autocast() -> None:
    torch.manual_seed(0)
    network, zeros = small_network().eval(), torch.zeros(4, dtype=torch.long)
    labels = {name: torch.randn(4, *shape) for name, shape in BATCH_LABELS.items()} | {"rotation": random_quats(4)}
    batch = make_batch(torch.rand(4, 1, 33, 33) - 0.5, zeros, zeros, **labels)
    with torch.no_grad():
        prediction = network(batch.image)
        objective = make_objective(LossOptions(), SMALL)
        expected, parts = objective(prediction, batch, 0)
        with torch.autocast("cpu", torch.bfloat16):
            found, mixed = objective(prediction, batch, 0)
    assert {name: value.item() for name, value in mixed.items()} == {name: v.item() for name, v in parts.items()}
    assert torch.equal(found, expected)


@pytest.mark.parametrize(
    "make", [lambda: pixels_to_normalized(129, "meta"), lambda: centered_geometry(2, 1.1, "meta").shift]
)
def test_geometry_is_made_where_it_is_needed(make: Callable[[], torch.Tensor]) -> None:
    assert make().device.type == "meta"
