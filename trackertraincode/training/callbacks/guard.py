"""Stops a run whose loss isn't finite, and keeps the batch that did it."""

from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor

from trackertraincode.errors import UserError
from trackertraincode.models.weights import save_plain
from trackertraincode.sample.sample import Batch

BATCH_FILE = "nan_batch.pt"


class TrainingDiverged(UserError):
    """The loss became NaN or infinite."""


class NanGuard(L.Callback):
    """Looks at each loss one step later, so that the device never waits for the check."""

    def __init__(self, outdir: Path) -> None:
        self.outdir = outdir
        self._pending: tuple[Tensor, dict[str, Tensor], Batch, int] | None = None

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self._check(trainer)
        self._pending = (outputs["loss"].detach(), outputs["parts"], batch, batch_idx)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        self._check(trainer)

    def _check(self, trainer: L.Trainer) -> None:
        """All processes stop together; those whose loss is not finite say so."""
        pending, self._pending = self._pending, None
        if pending is None:
            return
        loss, parts, batch, step = pending
        total = (
            torch.as_tensor(trainer.strategy.reduce(loss.clone(), reduce_op="sum")) if trainer.world_size > 1 else loss
        )
        if bool(torch.isfinite(total)):
            return
        epoch = trainer.current_epoch
        if bool(torch.isfinite(loss)):
            raise TrainingDiverged(f"epoch {epoch + 1}, step {step + 1}: another process's loss is not finite.")
        path = self.outdir / (BATCH_FILE if trainer.is_global_zero else f"rank{trainer.global_rank}_{BATCH_FILE}")
        save_plain(path, {k: v.cpu() for k, v in batch.tensors().items()} | {"parts": parts})
        bad = [name for name, value in parts.items() if not bool(torch.isfinite(value))]
        raise TrainingDiverged(
            f"epoch {epoch + 1}, step {step + 1}: the loss is not finite, by the terms {', '.join(bad) or '(sum)'}; the "
            f"batch is saved as {path}. Try a lower --lr, check the data with dscheck, or resume with --resume."
        )
