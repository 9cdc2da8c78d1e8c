"""Files of a running training: last.ckpt, best.ckpt and resume.ckpt.

The first two hold a network and its configuration (`models.checkpoint`). resume.ckpt is Lightning's own and holds all that
the next epoch depends on: weights, optimiser, averages, records, best score. It is written after everything else of an
epoch, under a temporary name, so a run may be killed at any moment: the epochs since then are done again, and since every
random number is a function of seed and epoch, with the same result.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor, nn

from trackertraincode.cli import Ended
from trackertraincode.errors import ModelFileError
from trackertraincode.files import files_of, whole_file
from trackertraincode.models.about import About, origins, without_folders
from trackertraincode.models.checkpoint import save_network
from trackertraincode.models.pose_network import PoseNetwork
from trackertraincode.models.weights import read_plain
from trackertraincode.training.config import TrainConfig
from trackertraincode.training.data import Members
from trackertraincode.training.outdir import BEST, LAST, RESUME_FILE
from trackertraincode.training.pace import CHECKPOINT_SHARE, Pace

RESUME_KEYS = {"epoch", "global_step", "state_dict", "optimizer_states", "callbacks", "loops"}


class Saver:
    """Writes checkpoints with where they come from."""

    def __init__(self, outdir: Path, config: TrainConfig, members: Members, began_with: dict[str, list[str]]) -> None:
        """began_with: images that made the weights of --pretrained (`about.ORIGINS`), which those of this run add to."""
        self.outdir, self._members, self._began_with = outdir, members, began_with
        given = {key: value for key, value in config.flat().items() if key != "scheduler"}  # says nothing of a network
        self._recipe = {key: without_folders(key, value) for key, value in given.items()}

    def save(self, name: str, network: nn.Module, epoch: int) -> None:
        """epoch: how many are done, the one under way included."""
        assert isinstance(network, PoseNetwork)
        files = {p.name for m in self._members.training for p in (m.dataset.path, *files_of(m.dataset.path))}
        own = {
            "trained_on": [m.name for m in self._members.training],
            "selected_on": [m.name for m in self._members.validation] if name == BEST else [],
            "training_files": sorted(files),
        }
        about: dict[str, Any] = {"recipe": self._recipe, "epoch": epoch, **origins(self._began_with, own)}
        save_network(self.outdir / f"{name}.ckpt", network, About(**about))


class Resumable(Checkpoint):
    """Writes resume.ckpt after each epoch. Lightning runs it after all other callbacks."""

    def __init__(self, outdir: Path) -> None:
        self.outdir = outdir
        self.started = False  # training, after a checkpoint was read

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        self.started = True

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        self.write(trainer)

    def write(self, trainer: L.Trainer) -> None:
        """All processes take part, the first one writes."""
        path = self.outdir / RESUME_FILE
        with whole_file(path) if trainer.is_global_zero else nullcontext(path) as temporary:
            trainer.save_checkpoint(temporary)


class RunCheckpoints(Resumable):
    """Writes the files after epochs."""

    def __init__(self, outdir: Path, saver: Saver, criterion: str, every: str) -> None:
        """criterion: entry of `module.validation` whose lowest value is best. every: see `Pace`."""
        super().__init__(outdir)
        self._pace = Pace(every, CHECKPOINT_SHARE)
        self._saver = saver
        self._criterion = criterion
        self.best_value = float("inf")
        self.best_epoch = 0
        self._epoch = 0  # the one under way, or the last one
        self._saved_step = 0  # of the weights in `last`

    @property
    def state_key(self) -> str:
        return "best"

    def state_dict(self) -> dict[str, Any]:
        return {"value": self.best_value, "epoch": self.best_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_value, self.best_epoch = state_dict["value"], state_dict["epoch"]

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        super().on_train_start(trainer, pl_module)
        self._saved_step = trainer.global_step  # not 0 where a run goes on

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        self._epoch = trainer.current_epoch + 1

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        network = pl_module.network
        assert isinstance(network, nn.Module)
        value = pl_module.validation.get(self._criterion)
        better = value is not None and value < self.best_value
        if better:
            self.best_value, self.best_epoch = value, self._epoch
        if better and trainer.is_global_zero:
            self._saver.save(BEST, network, self.best_epoch)
        if not self._pace.due(trainer):
            return
        start = time.monotonic()
        if trainer.is_global_zero:
            self._saver.save(LAST, network, self._epoch)
        self._saved_step = trainer.global_step
        self.write(trainer)
        self._pace.done(time.monotonic() - start)

    def on_exception(self, trainer: L.Trainer, pl_module: Any, exception: BaseException) -> None:
        """When a scheduler ends the run, there is time to keep the weights as they are."""
        ended = isinstance(exception, (SIGTERMException, Ended))
        if ended and trainer.is_global_zero and trainer.global_step > self._saved_step:
            self._saver.save(LAST, pl_module.network, self._epoch)


def check_resumable(path: Path, module: L.LightningModule) -> None:
    """Raises ModelFileError when this is no whole resume.ckpt of such a module, as far as weights tell."""
    content = read_plain(path)
    missing = sorted(RESUME_KEYS - content.keys()) if isinstance(content, dict) else ["everything"]
    if missing:
        raise _foreign(path, f"lacks {missing[0]}")
    state, optimizers = content["state_dict"], content["optimizer_states"]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise _foreign(path, "lacks weights")
    if not isinstance(optimizers, list) or len(optimizers) != 1:
        raise _foreign(path, "lacks the optimiser")
    if {k: v.shape for k, v in state.items()} != {k: v.shape for k, v in module.state_dict().items()}:
        raise _foreign(path, "holds another network")


@contextmanager
def resuming(path: Path | None, checkpoints: Resumable) -> Iterator[None]:
    """Round `trainer.fit` with this resume.ckpt: raises ModelFileError when Lightning finds no way to begin with it."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, AssertionError) as error:
        if path is None or checkpoints.started:
            raise
        raise _foreign(path, f"can't be resumed: {type(error).__name__} {str(error)[:100]}") from error


def _foreign(path: Path, what: str) -> ModelFileError:
    return ModelFileError(f"{path}: isn't the checkpoint of this run (it {what}); start another run.")
