"""Learning rate, loss weights and averages as functions of the samples seen, so that nothing has to be saved to resume.

A run has 1,500 periods, the published number of epochs, however it is cut into epochs: within a period, nothing changes.

steps done --period_of--> period --SCHEDULES, rampup, in_swa_phase--> factors
"""

import math
from collections.abc import Callable

PERIODS = 1500
WARMUP_SHARE = 10  # warm-up lasts max(1, periods // 10) periods (published recipe)
WARMUP_START = 0.01  # and starts from 1 % of the peak
STEP_FACTOR = 0.1  # at half time
COSINE_END = 0.01
SWA_START = 2 / 3  # share of training after which weights are averaged


def period_of(step: int, steps: int) -> int:
    """The period of step 0, 1, … of a run of so many steps."""
    return step * PERIODS // steps


def warmup(period: int, periods: int) -> float:
    """Factor of the learning rate in period 0, 1, …: exponential rise from 1 % to 1 in the first tenth."""
    length = max(1, periods // WARMUP_SHARE)
    return WARMUP_START ** max(0.0, 1.0 - period / length)


def steps(period: int, periods: int) -> float:
    """Warm-up, then 1, then a tenth from half time on."""
    return warmup(period, periods) * (STEP_FACTOR if 2 * period >= periods else 1.0)


def cosine(period: int, periods: int) -> float:
    """Warm-up times half a cosine from 1 towards 1 %."""
    share = period / max(1, periods)
    return warmup(period, periods) * (COSINE_END + (1.0 - COSINE_END) * 0.5 * (1.0 + math.cos(math.pi * share)))


def constant(period: int, periods: int) -> float:
    """Always 1, for short experiments and tests."""
    return 1.0


def rising(period: int, periods: int) -> float:
    """From 1 to 100, evenly on a logarithmic scale: shows which learning rates are too high."""
    return 100.0 ** (period / max(1, periods - 1))


SCHEDULES: dict[str, Callable[[int, int], float]] = {"steps": steps, "cosine": cosine, "constant": constant}


def rampup(period: int, periods: int) -> float:
    """Factor of the losses that are ramped: 0 in the first tenth, then up to 1 at two tenths (published recipe)."""
    return min(1.0, max(0.0, 10.0 * (period / periods - 0.1)))


def in_swa_phase(period: int, periods: int) -> bool:
    """Whether the weights after this period (counted from 0) belong to the average: training is past 2/3 of its periods."""
    return period + 1 > SWA_START * periods
