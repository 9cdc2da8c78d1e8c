"""Stops a run whose loss isn't finite, and keeps the batch that did it."""

from collections import deque
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import lightning as L
import torch
from torch import Tensor

from trackertraincode.errors import UserError
from trackertraincode.models.weights import save_plain
from trackertraincode.training.arriving import Arriving
from trackertraincode.training.outdir import BATCH_FILE

BEHIND = 8  # steps that a device may be behind the host before this waits for it
RESUMABLE = "Try a lower --lr, check the data with `ttc check`, or resume with --resume."


class TrainingDiverged(UserError):
    """The loss became NaN or infinite."""


class WithTensors(Protocol):
    """A batch of any kind."""

    def tensors(self) -> dict[str, Tensor]: ...


class _Step(NamedTuple):
    number: int
    loss: Tensor
    parts: dict[str, Tensor]
    batch: WithTensors
    finite: Arriving


class NanGuard(L.Callback):
    """Looks at each loss some steps later, when the device has long computed it, and at the rest before it validates."""

    def __init__(self, outdir: Path, advice: str = RESUMABLE) -> None:
        """advice: what the user may try."""
        self.outdir, self.advice = outdir, advice
        self._pending: deque[_Step] = deque()

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        loss = outputs["loss"].detach()
        total = loss
        if trainer.world_size > 1:
            total = loss.clone()
            torch.distributed.all_reduce(total)  # the strategy's `reduce` begins with a barrier, at which hosts wait
        finite = Arriving(torch.isfinite(total))
        self._pending.append(_Step(batch_idx, loss, outputs["parts"], batch, finite))
        if len(self._pending) > BEHIND:
            self._check(trainer, self._pending.popleft())

    def on_validation_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        while self._pending:
            self._check(trainer, self._pending.popleft())

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        self.on_validation_start(trainer, pl_module)  # where none came

    def _check(self, trainer: L.Trainer, step: _Step) -> None:
        """All processes stop together; those whose loss is not finite say so."""
        if step.finite.read():
            return
        where = f"epoch {trainer.current_epoch + 1}, step {step.number + 1}"
        if bool(torch.isfinite(step.loss)):
            raise TrainingDiverged(f"{where}: another process's loss is not finite.")
        path = self.outdir / (BATCH_FILE if trainer.is_global_zero else f"rank{trainer.global_rank}_{BATCH_FILE}")
        save_plain(path, {k: v.cpu() for k, v in step.batch.tensors().items()} | {"parts": step.parts})
        bad = [name for name, value in step.parts.items() if not bool(torch.isfinite(value))]
        raise TrainingDiverged(
            f"{where}: the loss is not finite, by the terms {', '.join(bad) or '(sum)'}; the batch is saved as {path}. "
            f"{self.advice}"
        )
