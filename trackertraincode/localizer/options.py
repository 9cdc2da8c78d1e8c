"""What a training of the localizer is made of.

options of the command line                            -->  LocalizerRun  -->  OUTDIR/config.toml
--resume OUTDIR/config.toml, options that may change   -->  LocalizerRun
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

from trackertraincode.errors import ConfigError
from trackertraincode.files import utf8_name, whole_file
from trackertraincode.options import besides_none, check, option, read_toml_file
from trackertraincode.training.options import check_resumed, convert, resumed_file, toml_lines
from trackertraincode.training.outdir import CONFIG_FILE, new_outdir
from trackertraincode.training.trainer import PRECISIONS

MAY_CHANGE = ("outdir", "device", "workers", "scheduler", "export", "compare")
"""Options that don't influence the weights, so that `--resume` takes new values of them."""


@dataclass(frozen=True, kw_only=True)
class LocalizerRun:
    """Raises ConfigError where a value can't be."""

    outdir: Path
    data: Path | None = None  # sample file with `hasface` and `rois`; None: synthetic scenes
    scenes: int = option(4000, "how many scenes to render without --data", least=1)
    epochs: int = option(15, "how often all images are seen", least=1, short="-e")
    batchsize: int = option(32, "images per step", least=1, short="-b")
    lr: float = option(2e-3, "peak learning rate of AdamW", above=0.0)
    val_fraction: float = option(
        0.1, "share of the photographs that is held out for the evaluation", above=0.0, most=0.5
    )
    precision: str = option("32", "arithmetic: 32, or mixed with bf16 or fp16", choices=tuple(PRECISIONS))
    device: str = "auto"
    workers: int | None = None  # None: NUM_WORKERS, else the cores
    scheduler: str | None = None  # whose workers render the scenes
    seed: int = option(0, "of every random number", least=0)
    pretrained: Path | None = None  # checkpoint with the weights to begin with
    export: Path | None = None  # .onnx to write
    compare: tuple[Path, ...] = ()  # other localizers, evaluated on the same held-out rows

    def __post_init__(self) -> None:
        check(self)
        if self.scheduler is not None and self.data is not None:
            raise ConfigError(
                f"scheduler={self.scheduler}: its workers render scenes, which data={self.data} replaces."
            )

    @property
    def recipe(self) -> dict[str, Any]:
        """What the weights depend on, without what is None."""
        return {name: value for name, value in vars(self).items() if name not in MAY_CHANGE and value is not None}


def read_run(given: Mapping[str, Any], *, resume: bool) -> LocalizerRun:
    """given: options of the command line. Raises ConfigError for wrong values, and where there is no run to resume."""
    run = _resumed(given) if resume else LocalizerRun(**{"outdir": new_outdir("localizer"), **given})
    for value in run.recipe.values():
        if isinstance(value, Path):
            utf8_name(value)  # as the file that tells of the run has it
    return run


def _resumed(given: Mapping[str, Any]) -> LocalizerRun:
    """The run in a folder, with the options that may change."""
    path = resumed_file(given)
    kinds = {name: besides_none(kind) for name, kind in get_type_hints(LocalizerRun).items()}
    before = {}
    for name, value in read_toml_file(path, ConfigError).items():
        if name not in kinds or name in MAY_CHANGE:
            raise ConfigError(f"{path}: option {name!r} is none of a localizer's training; start another run.")
        before[name] = convert(f"{path}: option {name!r}", value, kinds[name])
    lost = [item.name for item in fields(LocalizerRun) if item.name not in {*before, *MAY_CHANGE, "data", "pretrained"}]
    if lost:
        raise ConfigError(
            f"{path}: lacks {lost[0]!r}, so it isn't the whole configuration of a run; start another one."
        )
    check_resumed(given, before, MAY_CHANGE)
    return LocalizerRun(**{**before, **given})


def write_run(run: LocalizerRun) -> None:
    """Into its folder, for `read_run`."""
    with whole_file(run.outdir / CONFIG_FILE) as file:
        lines = ["# What this run is made of; --resume takes this file.", *toml_lines(run.recipe)]
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
