"""Learning rate and loss weights as functions of the epoch alone, so that nothing has to be saved to resume."""

import math
from collections.abc import Callable

WARMUP_SHARE = 10  # warm-up lasts max(1, epochs // 10) epochs (published recipe)
WARMUP_START = 0.01  # and starts from 1 % of the peak
STEP_FACTOR = 0.1  # at half time
COSINE_END = 0.01
SWA_START = 2 / 3  # share of training after which weights are averaged


def warmup(epoch: int, epochs: int) -> float:
    """Factor of the learning rate in epoch 0, 1, …: exponential rise from 1 % to 1 in the first tenth."""
    length = max(1, epochs // WARMUP_SHARE)
    return WARMUP_START ** max(0.0, 1.0 - epoch / length)


def steps(epoch: int, epochs: int) -> float:
    """Warm-up, then 1, then a tenth from half time on."""
    return warmup(epoch, epochs) * (STEP_FACTOR if 2 * epoch >= epochs else 1.0)


def cosine(epoch: int, epochs: int) -> float:
    """Warm-up times half a cosine from 1 towards 1 %."""
    share = epoch / max(1, epochs)
    return warmup(epoch, epochs) * (COSINE_END + (1.0 - COSINE_END) * 0.5 * (1.0 + math.cos(math.pi * share)))


def constant(epoch: int, epochs: int) -> float:
    """Always 1, for short experiments and tests."""
    return 1.0


def rising(epoch: int, epochs: int) -> float:
    """From 1 to 100, evenly on a logarithmic scale: shows which learning rates are too high."""
    return 100.0 ** (epoch / max(1, epochs - 1))


SCHEDULES: dict[str, Callable[[int, int], float]] = {"steps": steps, "cosine": cosine, "constant": constant}


def nll_rampup(epoch: int, epochs: int) -> float:
    """Factor of the likelihood losses: 0 in the first tenth, then up to 1 at two tenths (published recipe)."""
    return min(1.0, max(0.0, 10.0 * (epoch / epochs - 0.1)))


def in_swa_phase(epoch: int, epochs: int) -> bool:
    """Whether the weights after this epoch (counted from 0) belong to the average: training is past 2/3 of its epochs."""
    return epoch + 1 > SWA_START * epochs
