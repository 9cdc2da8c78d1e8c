"""The numbers of a run, epoch by epoch: metrics.csv, TensorBoard, train.pdf.

module.train_means(), module.validation --Recorder--> module.record --> metrics.csv, tensorboard/, train.pdf
"""

import csv
import time
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.loggers import TensorBoardLogger

from trackertraincode.evaluation.plots import draw_epochs, pyplot
from trackertraincode.files import whole_file
from trackertraincode.training.callbacks.guard import TrainingDiverged
from trackertraincode.training.outdir import METRICS_FILE


class Recorder(L.Callback):
    """Collects the numbers of each epoch and writes them; must be the first of the callbacks that read `record`."""

    def __init__(self, outdir: Path, *, plot: str) -> None:
        """plot: file in `outdir` for the curves; empty for none."""
        self.outdir = outdir
        self._plot = plot
        self._rows: list[dict[str, float]] = []
        self._epoch_start = 0.0
        self._seconds = 0.0

    @property
    def state_key(self) -> str:
        return "records"

    def state_dict(self) -> dict[str, list[dict[str, float]]]:
        return {"rows": self._rows}

    def load_state_dict(self, state_dict: dict[str, list[dict[str, float]]]) -> None:
        self._rows = state_dict["rows"]

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        self._epoch_start, self._seconds = time.monotonic(), 0.0

    def on_validation_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        wait_for(trainer.strategy.root_device)
        self._seconds = time.monotonic() - self._epoch_start

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        epoch = trainer.current_epoch
        samples = int(trainer.num_training_batches) * pl_module.batchsize
        wait_for(trainer.strategy.root_device)
        now = time.monotonic() - self._epoch_start
        seconds = self._seconds or now
        record = {
            "epoch": epoch + 1,
            "samples": (epoch + 1) * samples,
            "lr": trainer.optimizers[0].param_groups[0]["lr"],
            "seconds": round(now, 3),
            "samples_per_s": round(samples / max(seconds, 1e-9), 2),
        }
        record |= {f"train/{k}": v for k, v in pl_module.train_means().items()}
        record |= {f"val/{k}": v for k, v in pl_module.validation.items()}
        pl_module.record = record
        self._rows.append(record)
        if trainer.is_global_zero:
            write_metrics(self._rows, self.outdir / METRICS_FILE)
            if isinstance(trainer.logger, TensorBoardLogger):
                trainer.logger.log_metrics(record, step=int(record["samples"]))

    def on_fit_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """The curves; also when a run that was killed after its last epoch goes on, and nothing is left to train."""
        if self._plot and self._rows and trainer.is_global_zero:
            plot_metrics(self._rows, self.outdir / self._plot)

    def on_exception(self, trainer: L.Trainer, pl_module: Any, exception: BaseException) -> None:
        """The curves also of a run that diverged, which is how --find-lr usually ends."""
        if isinstance(exception, TrainingDiverged):
            self.on_fit_end(trainer, pl_module)


def wait_for(device: torch.device) -> None:
    """Until it has computed everything, so that a clock tells the truth."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def write_metrics(rows: list[dict[str, float]], path: Path) -> None:
    """One line per epoch; columns are all that any epoch has."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with whole_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The rows of a metrics.csv; empty cells are left out."""
    with path.open(newline="", encoding="utf-8") as file:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]


def plot_metrics(rows: list[dict[str, float]], path: Path) -> None:
    """Curves of all losses, the errors and the learning rate over epochs."""
    plt = pyplot()

    columns = list(dict.fromkeys(key for row in rows for key in row))
    losses = [c.removeprefix("train/") for c in columns if c.startswith("train/")]
    errors = [c for c in columns if c.startswith("val/") and c.removeprefix("val/") not in losses]
    panels = [(name, [f"train/{name}", f"val/{name}"]) for name in losses]
    panels += [(name.removeprefix("val/"), [name]) for name in errors] + [("lr", ["lr"])]
    across = 3
    down = -(-len(panels) // across)
    figure, axes = plt.subplots(down, across, figsize=(11, 2.6 * down), squeeze=False, layout="constrained")
    for axis, (title, names) in zip(axes.flat, panels):
        draw_epochs(axis, title, rows, {name.split("/")[0]: name for name in names})
    for axis in axes.flat[len(panels) :]:
        axis.axis("off")
    with whole_file(path) as temporary:
        figure.savefig(temporary)
    plt.close(figure)
