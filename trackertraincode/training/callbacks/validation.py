"""Validates at the pace that was asked for."""

import sys
import time
from typing import Any

import lightning as L

from trackertraincode.training.pace import VALIDATION_SHARE, Pace

NEVER = sys.maxsize  # more epochs than any run has


class PacedValidation(L.Callback):
    """Tells Lightning in which epochs to validate."""

    def __init__(self, every: str) -> None:
        """every: see `Pace`."""
        self._pace = Pace(every, VALIDATION_SHARE)
        self._start = 0.0

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        trainer.check_val_every_n_epoch = 1 if self._pace.due(trainer) else NEVER

    def on_validation_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        self._start = time.monotonic()

    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        self._pace.done(time.monotonic() - self._start)
