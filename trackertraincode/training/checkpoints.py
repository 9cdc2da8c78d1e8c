"""Files of a running training: last.ckpt, best.ckpt and resume.ckpt.

The first two hold a network and its configuration (`models.checkpoint`). resume.ckpt is Lightning's own and holds all that
the next epoch depends on: weights, optimiser, averages, records, best score. It is written after everything else of the
epoch, under a temporary name, so a run may be killed at any moment: the epoch that it was in is done again, and since
every random number is a function of seed and epoch, with the same result.
"""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Checkpoint
from torch import nn

from trackertraincode.files import whole_file

RESUME_FILE = "resume.ckpt"

SaveNetwork = Callable[[str, nn.Module], None]  # name of the checkpoint, network


class RunCheckpoints(Checkpoint):
    """Writes the files after each epoch. Lightning runs it after all other callbacks."""

    def __init__(self, outdir: Path, save: SaveNetwork, criterion: str) -> None:
        """criterion: entry of `module.validation` whose lowest value is best."""
        self.outdir = outdir
        self._save = save
        self._criterion = criterion
        self.best_value = float("inf")
        self.best_epoch = 0

    @property
    def state_key(self) -> str:
        return "best"

    def state_dict(self) -> dict[str, Any]:
        return {"value": self.best_value, "epoch": self.best_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_value, self.best_epoch = state_dict["value"], state_dict["epoch"]

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        network = pl_module.network
        assert isinstance(network, nn.Module)
        value = pl_module.validation.get(self._criterion)
        better = value is not None and value < self.best_value
        if better:
            self.best_value, self.best_epoch = value, trainer.current_epoch + 1
        if trainer.is_global_zero:
            self._save("last", network)
            if better:
                self._save("best", network)
        path = self.outdir / RESUME_FILE
        with whole_file(path) if trainer.is_global_zero else nullcontext(path) as temporary:
            trainer.save_checkpoint(temporary)  # all ranks take part, the first one writes
