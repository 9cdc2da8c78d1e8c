"""How often a run validates and writes checkpoints: every so many epochs or minutes, or so that it costs little.

Epochs may take less than a second, and a validation or a checkpoint several. By default both follow rules: validation by
the numbers of samples alone, so that the best weights depend on the seed and not on the machine; checkpoints by the clock.
"""

import re
import time

import lightning as L

from trackertraincode.errors import ConfigError

AUTO = "auto"
VALIDATION_SHARE, CHECKPOINT_SHARE = 0.05, 0.02  # of the time of training
FORWARD_SHARE = 1 / 3  # of the time of a trained sample, for a validated one: the backward pass takes two thirds

_PACE = re.compile(r"auto|(?P<epochs>[1-9]\d*)|(?P<minutes>\d+(\.\d+)?)m")


def check_pace(key: str, value: str) -> None:
    """Raises ConfigError when this is no pace."""
    if not _PACE.fullmatch(value):
        raise ConfigError(
            f"{key}={value!r}: give a number of epochs, such as 10, or of minutes, such as 5m, or {AUTO}."
        )


def validation_pace(value: str, rows: int, samples_per_epoch: int) -> str:
    """The pace that `auto` stands for, in epochs: a twentieth of the time, whatever machine."""
    if value != AUTO:
        return value
    return str(max(1, -int(-rows * FORWARD_SHARE // (VALIDATION_SHARE * samples_per_epoch))))


class Pace:
    """Says at which epochs something is due; the last one of a run always is."""

    def __init__(self, value: str, share: float) -> None:
        """value: as `check_pace` admits. share: of the time, where it is `auto`."""
        match = _PACE.fullmatch(value)
        assert match is not None
        self._epochs = int(match["epochs"] or 0)
        self._wait = 60 * float(match["minutes"]) if match["minutes"] else 0.0  # seconds from one end to the next begin
        self._share = share if value == AUTO else None
        self._last = time.monotonic()

    def due(self, trainer: L.Trainer) -> bool:
        """Whether in this epoch; all processes get the answer of the first one."""
        done = trainer.current_epoch + 1
        if self._epochs:
            return done % self._epochs == 0 or done == trainer.max_epochs
        late = done == trainer.max_epochs or time.monotonic() - self._last >= self._wait
        return bool(trainer.strategy.broadcast(late)) if trainer.world_size > 1 else late

    def done(self, seconds: float) -> None:
        """It took so long."""
        self._last = time.monotonic()
        if self._share is not None:
            self._wait = seconds / self._share
