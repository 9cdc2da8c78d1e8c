"""How many samples a step takes where --batchsize is auto: tried, not computed.

16, 32, … samples --seconds of a training step--> the last that fits and is faster per sample than the one before
"""

import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import torch
from torch import nn

from trackertraincode.errors import ConfigError
from trackertraincode.sample.sample import Batch, blank_batch
from trackertraincode.training.config import TrainConfig
from trackertraincode.training.distributed import say
from trackertraincode.training.module import PoseTraining, losses_of
from trackertraincode.training.optimisation import REFERENCE_BATCH, make_optimizer
from trackertraincode.training.trainer import AUTOCAST, wants_channels_last

SMALLEST, LARGEST = 16, 16384  # samples
GAIN = 1.05  # samples per second of twice as many, to be worth it
MEMORY_SHARE = 0.7  # of the device's, that steps may take: averages, waiting batches and validation need some, too
WARM_UP, STEPS = 2, 4


def choose_batchsize(config: TrainConfig, module: PoseTraining) -> TrainConfig:
    """The configuration with a number, which is said. Raises ConfigError where not even the smallest batch fits."""
    device = config.machine.device_type
    chosen: int | None = REFERENCE_BATCH
    if device == "cuda":
        most = min(LARGEST, config.data.samples_per_epoch)
        chosen = fastest(lambda count: seconds_of(count, config, module, torch.device(device)), most)
    if chosen is None:
        raise ConfigError(f"batchsize=auto: a step of {SMALLEST} samples doesn't fit in the memory of this device.")
    result = replace(config, optimisation=replace(config.optimisation, batchsize=chosen))
    say(f"--batchsize auto: {chosen} on {device}, learning rate {result.optimisation.peak_lr:g}")
    return result


def fastest(seconds: Callable[[int], float | None], most: int) -> int | None:
    """The last power of two, SMALLEST to `most`, that gains on the one before; seconds: of a step, None if it doesn't fit."""
    chosen, rate, count = None, 0.0, SMALLEST
    while count <= max(most, SMALLEST):
        taken = seconds(count)
        if taken is None or count / taken < GAIN * rate:
            break
        chosen, rate, count = count, count / taken, 2 * count
    return chosen


def seconds_of(count: int, config: TrainConfig, module: PoseTraining, device: torch.device) -> float | None:
    """Of one training step of a copy of the network; None where it takes too much of the device's memory."""
    try:
        return _seconds(count, config, module, device)
    except torch.OutOfMemoryError:
        return None
    finally:
        module.augment.cpu()


def _seconds(count: int, config: TrainConfig, module: PoseTraining, device: torch.device) -> float | None:
    wait, used = _device_functions(device)
    network, objective = deepcopy(module.network).to(device).train(), deepcopy(module.objective).to(device)
    half = AUTOCAST[config.machine.precision]
    losses = losses_of(network, objective, half=half is not None)
    optimizer = make_optimizer(network, config.optimisation, fused=True)
    augment, ramp = module.augment.to(device), torch.ones((), device=device)
    layout = torch.channels_last if wants_channels_last(config.machine, network) else torch.contiguous_format

    def step(loaded: Batch) -> None:
        optimizer.zero_grad()
        batch = augment(loaded, True)
        batch = replace(batch, image=batch.image.contiguous(memory_format=layout))
        with torch.autocast(device.type, half, enabled=half is not None):
            loss = losses(batch, ramp)[1]
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()

    size = network.config.input_size
    batch = blank_batch((count, network.config.channels, size, size), device)
    for _ in range(WARM_UP):
        step(batch)
    wait()
    start = time.perf_counter()
    for _ in range(STEPS):
        step(batch)
    wait()
    return (time.perf_counter() - start) / STEPS if used() < MEMORY_SHARE else None


def _device_functions(device: torch.device) -> tuple[Callable[[], None], Callable[[], float]]:
    """Wait until it is done; the share of its memory that was taken since this call."""
    if device.type != "cuda":
        return lambda: None, lambda: 0.0
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    total = torch.cuda.mem_get_info(device)[1]
    return lambda: torch.cuda.synchronize(device), lambda: torch.cuda.max_memory_allocated(device) / total
