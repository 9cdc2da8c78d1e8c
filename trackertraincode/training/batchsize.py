"""How many samples a step takes where --batchsize is auto: tried, not computed.

16, 32, … samples --seconds of a training step--> the last that fits and is faster per sample than the one before
"""

import gc
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from trackertraincode.augmentation.crop_cache import Kept
from trackertraincode.errors import ConfigError
from trackertraincode.sample.sample import Batch, blank_batch
from trackertraincode.training.config import TrainConfig
from trackertraincode.training.data import Members
from trackertraincode.training.distributed import say
from trackertraincode.training.module import PoseTraining, is_recorded, losses_of
from trackertraincode.training.optimisation import REFERENCE_BATCH, make_optimizer
from trackertraincode.training.recorded import TrainingLosses, recorded
from trackertraincode.training.trainer import AUTOCAST, wants_channels_last

SMALLEST, LARGEST = 16, 16384  # samples
GAIN = 1.05  # samples per second of twice as many, to be worth it
MEMORY_SHARE = 0.7  # of the device's, for steps and kept crops: averages, waiting batches and validation need some
WARM_UP, STEPS = 2, 4


def choose_batchsize(config: TrainConfig, module: PoseTraining, members: Members) -> TrainConfig:
    """The configuration with a number, which is said. Raises ConfigError where not even the smallest batch fits."""
    device = config.machine.device_type
    chosen: int | None = REFERENCE_BATCH
    if device == "cuda":
        most, crops = min(LARGEST, config.data.samples_per_epoch), bytes_of_crops(config, members)
        chosen = fastest(lambda count: seconds_of(count, config, module, torch.device(device), crops), most)
    if chosen is None:
        raise ConfigError(f"batchsize=auto: a step of {SMALLEST} samples doesn't fit in the memory of this device.")
    result = replace(config, optimisation=replace(config.optimisation, batchsize=chosen))
    say(f"--batchsize auto: {chosen} on {device}, learning rate {result.optimisation.peak_lr:g}")
    return result


def bytes_of_crops(config: TrainConfig, members: Members) -> int:
    """The most that kept crops of all rows, and those of trained rows at half their size, take on the device."""
    if config.data.cache != "device":
        return 0
    network = config.network
    preset = config.augmentation.training_preset(size=network.input_size, color=network.channels == 3, tables=False)
    whole = sum({member.dataset.path: len(member.dataset) for member in members.training}.values())
    halved = sum(len(member.rows) for member in members.training) / 4
    return math.ceil((whole + halved) * Kept.of(preset, config.data.cache_quality).most_bytes)


def fastest(seconds: Callable[[int], float | None], most: int) -> int | None:
    """The last power of two, SMALLEST to `most`, that gains on the one before; seconds: of a step, None if it doesn't fit."""
    chosen, rate, count = None, 0.0, SMALLEST
    while count <= max(most, SMALLEST):
        taken = seconds(count)
        if taken is None or count / taken < GAIN * rate:
            break
        chosen, rate, count = count, count / taken, 2 * count
    return chosen


def seconds_of(
    count: int, config: TrainConfig, module: PoseTraining, device: torch.device, crops: int = 0
) -> float | None:
    """Of one training step of a copy of the network; None where steps and crops take too much of the device's memory.

    crops: bytes. Steps are recorded where those of the training are. They aren't compiled, which takes a minute per size;
    compiled ones are faster and take less memory.
    """
    try:
        with _memory_of(device) as used:
            taken = _seconds(count, config, module, device)
            return taken if used(crops) < MEMORY_SHARE else None
    except torch.OutOfMemoryError:
        return None
    finally:
        for part in (module.augment, module.objective):
            part.cpu()


def _seconds(count: int, config: TrainConfig, module: PoseTraining, device: torch.device) -> float:
    wait = partial(torch.cuda.synchronize, device) if device.type == "cuda" else lambda: None
    network, objective = deepcopy(module.network).to(device).train(), module.objective.to(device)
    half = AUTOCAST[config.machine.arithmetic]
    losses = losses_of(network, objective, half=half is not None)
    optimizer = make_optimizer(network, config.optimisation, fused=True)
    augment, ramp = module.augment.to(device), torch.ones((), device=device)
    layout = torch.channels_last if wants_channels_last(config.machine, network) else torch.contiguous_format

    def changed(loaded: Batch) -> Batch:
        batch = augment(loaded, True)
        return replace(batch, image=batch.image.contiguous(memory_format=layout))

    def started(batch: Batch, ramp: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        with torch.autocast(device.type, half, enabled=half is not None):
            return losses(batch, ramp)[1:]

    size = network.config.input_size
    loaded = blank_batch((count, network.config.channels, size, size), device)
    loss_of: TrainingLosses = started
    if is_recorded(config.machine, device, objective):
        loss_of = recorded(losses, network, changed(loaded), ramp, half)

    def step() -> None:
        optimizer.zero_grad()
        loss_of(changed(loaded), ramp)[0].backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()

    for _ in range(WARM_UP):
        step()
    wait()
    start = time.perf_counter()
    for _ in range(STEPS):
        step()
    wait()
    return (time.perf_counter() - start) / STEPS


@contextmanager
def _memory_of(device: torch.device) -> Iterator[Callable[[int], float]]:
    """Inside, a function of so many bytes: the device's share that they and what has been taken inside make, at most.

    What is recorded keeps the memory of all that it computes, which counts as reserved only.
    """
    if device.type != "cuda":
        yield lambda more: 0.0
        return
    torch.backends.cudnn.benchmark = True  # as in the training; its choices need memory
    _free()
    torch.cuda.reset_peak_memory_stats(device)
    total = torch.cuda.mem_get_info(device)[1]
    try:
        yield lambda more: (torch.cuda.max_memory_reserved(device) + more) / total
    finally:
        _free()


def _free() -> None:
    """Give back what earlier steps took; recorded ones are in cycles."""
    gc.collect()
    torch.cuda.empty_cache()
