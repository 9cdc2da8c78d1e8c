"""The folder of a run: what it leaves there, and that no other run writes there meanwhile."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from trackertraincode.errors import ConfigError
from trackertraincode.files import LOCK_FILE, locked
from trackertraincode.options import check, option
from trackertraincode.training.pace import AUTO, check_pace

CONFIG_FILE, ENVIRONMENT_FILE, METRICS_FILE, PLOT_FILE = "config.toml", "environment.json", "metrics.csv", "train.pdf"
LAST, BEST, RESUME_FILE, BATCH_FILE = "last", "best", "resume.ckpt", "nan_batch.pt"  # the first two are NAME.ckpt
TENSORBOARD, IMAGES = "tensorboard", "images"  # folders
UNFINISHED = (  # what a run leaves before its end
    LOCK_FILE, CONFIG_FILE, ENVIRONMENT_FILE, METRICS_FILE, PLOT_FILE, TENSORBOARD, IMAGES, f"{LAST}.ckpt", f"{BEST}.ckpt",
    RESUME_FILE, BATCH_FILE,
)  # fmt: skip
PLOT_ENDINGS = (".pdf", ".png", ".svg")


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """What a run leaves. Raises ConfigError where a value can't be."""

    outdir: Path | None = option(None, "new folder of the run (default: runs/DATE-BACKBONE)", metavar="DIR")
    best: str = option("loss", "what best.ckpt is best in on the validation samples", choices=("loss", "mae"))
    save_every: str = option(
        AUTO, "write checkpoints every so many epochs (10) or minutes (5m); auto: in at most 2 % of the time",
        metavar="N|Nm|auto",
    )  # fmt: skip
    onnx: bool = option(True, "export each checkpoint at the end")
    save_plot: str = option(
        PLOT_FILE,
        "draw the curves of the run into this file of its folder, or not at all",
        metavar="FILE",
        switch={True: PLOT_FILE, False: ""},
        off="--no-plotting",
    )
    draw_every: int = option(10, "draw predictions on images every so many epochs; 0: never", least=0)
    tensorboard: bool = option(True, "write TensorBoard logs")

    def __post_init__(self) -> None:
        check(self)
        check_pace("save_every", self.save_every)
        if self.save_plot and not self.save_plot.endswith(PLOT_ENDINGS):
            raise ConfigError(f"save_plot={self.save_plot!r}: end the name with one of {', '.join(PLOT_ENDINGS)}.")


def new_outdir(what: str) -> Path:
    """runs/DATE-WHAT."""
    return Path("runs") / f"{time.strftime('%Y%m%d-%H%M%S')}-{what}"


@contextmanager
def claimed(outdir: Path, *, resume: bool | None, first: bool) -> Iterator[None]:
    """Hold a run's folder while it trains; first: whether this is the first of the processes, which looks after it.
    resume: whether to go on with the run in it; None where such runs can't be resumed.

    Raises ConfigError when it holds another run, UserError when another process trains in it. Nothing is left of a run
    that wrote nothing.
    """
    if not first:
        yield
        return
    if outdir.exists() and not outdir.is_dir():
        raise ConfigError(f"{outdir}: is a file; choose another --outdir.")
    outdir.mkdir(parents=True, exist_ok=True)
    try:
        with locked(outdir / LOCK_FILE, f"{outdir}: another process trains in this folder; choose another --outdir."):
            if not resume and any(path.name != LOCK_FILE for path in outdir.iterdir()):
                way = ", or go on with that run by --resume" if resume is not None else ""
                raise ConfigError(f"{outdir}: is not empty; choose another --outdir{way}.")
            yield
    finally:
        with suppress(OSError):
            outdir.rmdir()  # fails where anything is in it
