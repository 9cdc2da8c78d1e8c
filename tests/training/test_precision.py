"""Mixed precision: what stays in float32, and scaled gradients of float16."""

from contextlib import nullcontext
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from fake_devices import SMALL, Copies, move_fakes, small_network
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import nn
from torch._subclasses import FakeTensorMode

from trackertraincode.geometry.rotation import random_quats
from trackertraincode.models.pose_network import PoseNetwork
from trackertraincode.sample.sample import BATCH_LABELS, make_batch
from trackertraincode.training.device_augmentation import DeviceAugmentation
from trackertraincode.training.module import PoseTraining
from trackertraincode.training.objective import LossOptions, make_objective
from trackertraincode.training.optimisation import OptimisationOptions, make_optimizer
from trackertraincode.training.trainer import PRECISIONS, MachineOptions


def test_losses_are_computed_in_float32_inside_of_autocast() -> None:
    torch.manual_seed(0)
    network, zeros = small_network().eval(), torch.zeros(4, dtype=torch.long)
    labels = {name: torch.randn(4, *shape) for name, shape in BATCH_LABELS.items()} | {"rotation": random_quats(4)}
    batch = make_batch(torch.rand(4, 1, 33, 33) - 0.5, zeros, zeros, **labels)
    with torch.no_grad():
        prediction = network(batch.image)
        objective = make_objective(LossOptions(), SMALL)
        expected, parts = objective(prediction, batch)
        with torch.autocast("cpu", torch.bfloat16):
            found, mixed = objective(prediction, batch)
    assert {name: value.item() for name, value in mixed.items()} == {name: v.item() for name, v in parts.items()}
    assert torch.equal(found, expected)


class Optimiser:
    """What Lightning does with a step's gradients in half precision, without the rest of it."""

    def __init__(
        self, network: PoseNetwork, options: OptimisationOptions, device: str, precision: str = "fp16"
    ) -> None:
        augment, machine = DeviceAugmentation(kornia=False, plugin=False), MachineOptions(precision=precision)
        self.module = PoseTraining(network, make_objective(LossOptions(), SMALL), augment, options, machine)
        self.precision = MixedPrecision(PRECISIONS[precision], device)  # type: ignore[arg-type]
        self.module._trainer = SimpleNamespace(precision_plugin=self.precision)  # type: ignore[assignment]
        clip = partial(self.module.configure_gradient_clipping, gradient_clip_val=options.gradient_clip)
        self.precision._after_closure = lambda _, optimizer: clip(optimizer)  # type: ignore
        self.optimizer = self.module.configure_optimizers()

    def step(self, gradient: float, device: str) -> None:
        """With the same gradient everywhere, which is scaled as that of a loss is."""

        def closure() -> torch.Tensor:
            one, scaler = torch.ones((), device=device), self.precision.scaler
            scale = one if scaler is None else scaler.scale(one)
            for parameter in self.module.network.parameters():
                parameter.grad = torch.full_like(parameter, gradient) * scale
            return scale

        self.precision.optimizer_step(self.optimizer, self.module, closure)


def test_gradients_of_fp16_are_clipped_unscaled_and_left_out_where_they_are_infinite() -> None:
    torch.manual_seed(0)
    network, plain = small_network(), small_network()
    plain.load_state_dict(network.state_dict())
    options = OptimisationOptions(gradient_clip=0.5, optimizer="adamw")
    scaled = Optimiser(network, options, "cpu")
    oracle = make_optimizer(plain, options, fused=False)
    for gradient in (0.3, float("inf"), -2.0, 1e-4):
        scaled.step(gradient, "cpu")
        if gradient != float("inf"):
            for parameter in plain.parameters():
                parameter.grad = torch.full_like(parameter, gradient)
            nn.utils.clip_grad_norm_(plain.parameters(), 0.5)
            oracle.step()
    for own, expected in zip(network.parameters(), plain.parameters()):
        torch.testing.assert_close(own, expected)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_optimisers_never_wait_for_a_gpu(monkeypatch: pytest.MonkeyPatch, precision: str) -> None:
    """Scaling, unscaling, clipping, the step and the next scale; fakes refuse to tell whether gradients are infinite."""
    monkeypatch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
    network, copies = PoseNetwork(SMALL), Copies()
    with FakeTensorMode(allow_non_fake_inputs=False):
        move_fakes(network, "cuda")
        scaled = Optimiser(network, OptimisationOptions(), "cuda", precision)
        for mode in (nullcontext(), copies):
            with mode:
                scaled.step(1.0, "cuda")
    assert copies.found == []
