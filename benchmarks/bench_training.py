"""Time and memory of a training step beside those of the same backbone, bare, with linear heads.

    python benchmarks/bench_training.py [--backbones mobilenetv1,resnet18] [--batchsize 64] [--size 129] [--rounds 7]

Ours has all heads, losses and uncertainties; a step is forward, losses, backward, clipping and Adam. The bare network has
one linear layer with as many outputs and a squared error. Both are in one process, their steps take turns, and medians
are compared: of the clock, and of processor time, which other programs disturb less, but which counts threads that spin
while the small operations of the losses wait for none of them (OMP_NUM_THREADS=1 has none).
Memory is what the tensors of a step need at most, measured by torch.
"""

import argparse
import time
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from trackertraincode.cli import run_main
from trackertraincode.facemodel.embedded import embedded_head
from trackertraincode.geometry.rotation import random_quats
from trackertraincode.models.backbones import BackboneOptions, build_backbone, feature_count
from trackertraincode.models.pose_network import NetworkConfig, build_network
from trackertraincode.sample.sample import BATCH_LABELS, Batch, make_batch
from trackertraincode.training.objective import LossOptions, make_objective
from trackertraincode.training.optimisation import OptimisationOptions, parameter_groups

OUTPUTS = 4 + 3 + 4 + 50 + 6 + 6  # rotation, head, box, shape and two triangular factors
MEBIBYTE = 2**20

Step = Callable[[], None]


def make_steps(backbone: str, batchsize: int, size: int) -> dict[str, Step]:
    """One training step of ours and one of the bare network."""
    batch = _make_batch(batchsize, size)
    network = build_network(NetworkConfig(backbone=backbone, input_size=size, uncertainty=True), embedded_head())
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    objective = make_objective(LossOptions(), network.config)
    plain = build_backbone(backbone, BackboneOptions(size=size))
    bare = nn.Sequential(plain, nn.Linear(feature_count(plain), OUTPUTS))
    bare = bare.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    target = torch.randn(batchsize, OUTPUTS)
    optimizers = [
        torch.optim.Adam(parameter_groups(network, OptimisationOptions()), fused=True),
        torch.optim.Adam(bare.parameters(), fused=True),
    ]
    return {
        "ours": lambda: _step(network, optimizers[0], lambda: objective(network(batch.image), batch)[0]),
        "bare": lambda: _step(bare, optimizers[1], lambda: (bare(batch.image) - target).square().mean()),
    }


def _step(network: nn.Module, optimizer: torch.optim.Optimizer, loss: Callable[[], Tensor]) -> None:
    optimizer.zero_grad()
    loss().backward()
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()


def _make_batch(count: int, size: int) -> Batch:
    torch.manual_seed(0)
    labels = {name: torch.randn(count, *shape) for name, shape in BATCH_LABELS.items()} | {
        "rotation": random_quats(count)
    }
    zeros = torch.zeros(count, dtype=torch.long)
    image = torch.rand(count, 1, size, size).contiguous(memory_format=torch.channels_last) - 0.5
    return make_batch(image, zeros, zeros, **labels)


def peak_memory(step: Step) -> int:
    """Bytes that the tensors of a step need at most, beyond those that exist before it."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        step()
    current = highest = 0
    for event in recorded.profiler.kineto_results.events():  # type: ignore[union-attr]
        if event.name() == "[memory]":
            current += event.nbytes()
            highest = max(highest, current)
    return highest


def compare(steps: Mapping[str, Step], rounds: int) -> dict[str, np.ndarray]:
    """Of each step: (2,) seconds of the clock and of processor time, medians."""
    for step in steps.values():
        step()  # allocates the optimiser's state
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            clock, busy = time.perf_counter(), time.process_time()
            step()
            taken[name].append((time.perf_counter() - clock, time.process_time() - busy))
    return {name: np.median(times, axis=0) for name, times in taken.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbones", default="mobilenetv1,resnet18")
    parser.add_argument("--batchsize", type=int, default=64)
    parser.add_argument("--size", type=int, default=129, help="edge of the crops, pixels")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    for backbone in options.backbones.split(","):
        steps = make_steps(backbone, options.batchsize, options.size)
        seconds = compare(steps, options.rounds)
        memory = {name: peak_memory(step) for name, step in steps.items()}
        print(f"{backbone}, batch {options.batchsize}, {options.size} pixels, {torch.get_num_threads()} threads")
        for name in seconds:
            clock, busy = 1e3 * seconds[name]
            print(
                f"  {name}: {clock:.1f} ms per step, {busy:.1f} ms of processor time, {memory[name] / MEBIBYTE:.1f} MiB"
            )
        clock, busy = seconds["ours"] / seconds["bare"]
        print(f"  ours / bare: {clock:.3f}, {busy:.3f}, {memory['ours'] / memory['bare']:.3f}", flush=True)
    return 0


if __name__ == "__main__":
    run_main(main)
