"""Time and memory of a training step beside those of the same backbone, bare, with linear heads.

    python benchmarks/bench_training.py [--backbones mobilenetv1,resnet18] [--batchsize 64] [--size 129] [--rounds 7] [--loop]

Ours has all heads, losses and uncertainties; a step is forward, losses, backward, clipping and Adam. The bare network has
one linear layer with as many outputs and a squared error. Both are in one process, their steps take turns, and medians
are compared: of the clock, and of processor time, which other programs disturb less, but which counts threads that spin
while the small operations of the losses wait for none of them (OMP_NUM_THREADS=1 has none).
Memory is what the tensors of a step need at most, measured by torch.

--loop measures something else: samples per second of a whole training on this CPU, loaders, augmentation and records
included, beside the same loop fed one constant batch. Both are in one training, whose epochs take turns; medians of all but
the first of each are compared. Faces are those of --ds in $DATADIR, or else synthetic ones.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import repeat
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from trackertraincode.cli import run_main
from trackertraincode.conversion.synthetic import write_faces
from trackertraincode.facemodel.embedded import embedded_head
from trackertraincode.geometry.rotation import random_quats
from trackertraincode.models.backbones import BackboneOptions, build_backbone, feature_count
from trackertraincode.models.pose_network import NetworkConfig, build_network
from trackertraincode.rendering.generate import Request
from trackertraincode.sample.sample import BATCH_LABELS, Batch, make_batch
from trackertraincode.training.callbacks.records import read_metrics
from trackertraincode.training.config import TrainConfig
from trackertraincode.training.data import PoseData
from trackertraincode.training.objective import LossOptions, make_objective
from trackertraincode.training.optimisation import OptimisationOptions, parameter_groups
from trackertraincode.training.options import TrainRequest
from trackertraincode.training.outdir import METRICS_FILE
from trackertraincode.training.run import train
from trackertraincode.workers import default_workers

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


class InTurns:
    """A loader's batches in every other epoch; in those between, one batch again and again."""

    def __init__(self, loader: Any) -> None:
        self._loader, self._epochs = loader, 0
        self._constant: Any = None

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Any]:
        self._epochs += 1
        if self._epochs % 2 == 0:
            yield from repeat(self._constant, len(self))
            return
        for batch in self._loader:
            self._constant = batch
            yield batch


def loop(backbone: str, options: argparse.Namespace, folder: Path) -> tuple[float, float]:
    """Samples per second of a whole training, and of the same loop fed one constant batch. folder: of the run."""
    config = TrainConfig.of(
        ds=options.ds or "300wlp", backbone=backbone, input_size=options.size, batchsize=options.batchsize,
        with_nll_loss=True, with_swa=True, cache=options.cache, cache_dir=folder, workers=options.workers, device="cpu",
        samples_per_epoch=options.samples, epochs=2 * options.rounds + 2, save_every="600m", validate_every="600m",
        onnx=False, save_plot="", tensorboard=False, draw_every=0, calibrate=False, outdir=folder / backbone,
    )  # fmt: skip
    plain = PoseData.train_dataloader
    with mock.patch.object(PoseData, "train_dataloader", lambda data: InTurns(plain(data))):
        train(TrainRequest(config, resume=False))
    rates = [row["samples_per_s"] for row in read_metrics(folder / backbone / METRICS_FILE)]
    return float(np.median(rates[2::2])), float(np.median(rates[3::2]))


def measure_loops(options: argparse.Namespace) -> int:
    """Of each backbone."""
    with tempfile.TemporaryDirectory() as folder:
        if options.ds is None:
            os.environ["DATADIR"] = folder
            write_faces(Request(400, 450, 0, "hdf5"), Path(folder) / "300wlp.h5", default_workers())
        for backbone in options.backbones.split(","):
            whole, constant = loop(backbone, options, Path(folder))
            print(
                f"{backbone}, batch {options.batchsize}, {options.size} pixels, --cache {options.cache}, "
                f"{torch.get_num_threads()} threads: {whole:.1f} samples/s, {constant:.1f} with a constant batch, "
                f"{whole / constant:.1%}",
                flush=True,
            )
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbones", default="mobilenetv1,resnet18")
    parser.add_argument("--batchsize", type=int, default=64)
    parser.add_argument("--size", type=int, default=129, help="edge of the crops, pixels")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--loop", action="store_true", help="measure whole trainings instead of steps")
    parser.add_argument("--ds", help="data sets to train on with --loop (default: synthetic faces)")
    parser.add_argument("--cache", default="none", choices=("none", "disk", "ram"), help="with --loop")
    parser.add_argument("--workers", type=int, help="with --loop")
    parser.add_argument("--samples", type=int, default=1280, help="per epoch, with --loop (default 1280)")
    options = parser.parse_args()
    if options.loop:
        return measure_loops(options)
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
