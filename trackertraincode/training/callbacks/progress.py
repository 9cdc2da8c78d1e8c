"""Shows how far training is: a bar on terminals, a line per epoch elsewhere."""

import sys
import time
from typing import Any

import lightning as L
from tqdm import tqdm

from trackertraincode.training.arriving import Arriving

REFRESH_SECONDS = 0.5


class Progress(L.Callback):
    """One bar over the whole run: epoch, samples per second, time left, losses and learning rate."""

    def __init__(self) -> None:
        self._bar: tqdm | None = None
        self._shown = 0.0
        self._loss: Arriving | None = None  # that will be shown next
        self._validated = ""
        self._started = (0.0, 0)  # time and epoch

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        self._started = (time.monotonic(), trainer.current_epoch)
        if trainer.is_global_zero and sys.stderr.isatty():
            epochs, samples = _epochs(trainer), _samples_per_epoch(trainer, pl_module)
            self._bar = tqdm(
                total=epochs * samples,
                initial=trainer.current_epoch * samples,
                unit=" samples",
                unit_scale=True,
                dynamic_ncols=True,
                mininterval=REFRESH_SECONDS,
            )

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        if self._bar is not None:
            self._bar.set_description(f"epoch {trainer.current_epoch + 1}/{_epochs(trainer)}", refresh=False)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self._bar is None:
            return
        self._bar.update(pl_module.batchsize)
        if self._loss is None and time.monotonic() - self._shown > REFRESH_SECONDS:
            self._loss = Arriving(outputs["loss"].detach())
        if self._loss is not None and self._loss.there():
            loss, lr = self._loss.read(), trainer.optimizers[0].param_groups[0]["lr"]
            self._bar.set_postfix_str(f"loss {loss:.4f}, lr {lr:.1e}{self._validated}", refresh=False)
            self._loss, self._shown = None, time.monotonic()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        record: dict[str, float] = pl_module.record
        self._validated = _validated(record)
        if self._bar is None and trainer.is_global_zero:
            done = trainer.current_epoch + 1
            since, first = self._started
            left = (time.monotonic() - since) / (done - first) * (_epochs(trainer) - done)
            print(
                f"epoch {done}/{_epochs(trainer)}: loss {record['train/loss']:.4f}{self._validated}, "
                f"lr {record['lr']:.1e}, {record['samples_per_s']:.0f} samples/s, {_duration(left)} left",
                flush=True,
            )

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        self._close()

    def on_exception(self, trainer: L.Trainer, pl_module: Any, exception: BaseException) -> None:
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _validated(record: dict[str, float]) -> str:
    text = f", val {record['val/loss']:.4f}" if "val/loss" in record else ""
    return text + (f", {record['val/geodesic']:.2f}°" if "val/geodesic" in record else "")


def _epochs(trainer: L.Trainer) -> int:
    assert trainer.max_epochs is not None
    return trainer.max_epochs


def _samples_per_epoch(trainer: L.Trainer, pl_module: Any) -> int:
    return int(trainer.num_training_batches) * pl_module.batchsize


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
