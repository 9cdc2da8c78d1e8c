"""TrainConfig <-> command line and TOML.

    --recipe NAME|FILE.toml, then options of the command line  -->  TrainConfig
    --resume OUTDIR/config.toml, options that may change       -->  TrainConfig

Neither jsonargparse nor tyro: they name options of groups with dots, and keeping the flat flags and files, and the one-line
messages, would take as much code as this.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trackertraincode.errors import ConfigError, closest_first
from trackertraincode.files import utf8_name, whole_file
from trackertraincode.options import is_option, read_toml_file
from trackertraincode.training.config import TrainConfig, find, items
from trackertraincode.training.optimisation import AUTO_BATCH
from trackertraincode.training.outdir import CONFIG_FILE

RECIPES = Path(__file__).parent / "recipes"
DEFAULT_RECIPE = "opnet"

MAY_CHANGE = (
    "workers", "scheduler", "device", "cache_dir", "onnx", "save_plot", "draw_every", "tensorboard", "outdir",
)  # fmt: skip
"""Options that don't influence the weights, so that `--resume` takes new values of them."""
CHOSEN_ONCE = {"batchsize": (AUTO_BATCH,), "precision": ("auto",)}
"""Options -> values in whose place a run has what it chose at its start, and has it when it goes on."""


@dataclass(frozen=True)
class TrainRequest:
    """What the command line asks for."""

    config: TrainConfig
    resume: bool  # continue the run in the configuration's outdir


def read_options(options: argparse.Namespace) -> TrainRequest:
    """Options of the command line -> what to train. Raises ConfigError for wrong values."""
    given = dict(vars(options))
    recipe, resume = given.pop("recipe", None), given.pop("resume", False)
    if resume and recipe is not None:
        raise ConfigError(f"--recipe {recipe}: --resume goes on with a run as it was started; leave it out.")
    config = _resumed(given) if resume else TrainConfig.of(**(read_recipe(recipe or DEFAULT_RECIPE) | given))
    for value in config.flat().values():
        if isinstance(value, (str, Path)):
            utf8_name(value)  # as the files that tell of a run have it
    return TrainRequest(config, resume)


def read_recipe(name: str) -> dict[str, Any]:
    """Options of a named recipe or of a TOML file. Raises ConfigError for unknown names, keys and wrong types."""
    path = Path(name) if name.endswith(".toml") else RECIPES / f"{name}.toml"
    if not path.is_file() and name.endswith(".toml"):
        raise ConfigError(f"{path}: no such file; check the path of --recipe.")
    if not path.is_file():
        names = closest_first(name, sorted(p.stem for p in RECIPES.glob("*.toml")))
        raise ConfigError(f"recipe {name!r} is unknown; choose one of {', '.join(names)}, or give a .toml file.")
    return read_toml(path)


def read_toml(path: Path) -> dict[str, Any]:
    """TOML file -> checked options by their published names."""
    content = read_toml_file(path, ConfigError)
    tables = {item.field.metadata["table"]: key for key, item in items().items() if "table" in item.field.metadata}
    values: dict[str, Any] = {}
    for key, value in content.items():
        if key in tables and isinstance(value, dict):
            if key in items() and "preset" in value:
                values[key] = convert(f"{path}: [{key}] option 'preset'", value.pop("preset"), items()[key].kind)
            values[tables[key]] = _convert_table(f"{path}: [{key}]", value, items()[tables[key]].kind)
        else:
            item = find(key, f"{path}: ")
            if not is_option(item.field):
                raise ConfigError(
                    f"{path}: option {key!r} is {value!r}, expected a table [{item.field.metadata['table']}]."
                )
            switched = item.inside(value) if item.field.metadata.keys() & {"switch", "words"} else value
            values[key] = convert(f"{path}: option {key!r}", switched, item.kind)
    return values


def _convert_table(where: str, table: dict[str, Any], kinds: Mapping[str, Any]) -> dict[str, Any]:
    for name in table:
        if name not in kinds:
            raise ConfigError(f"{where} unknown option {name!r}; did you mean {closest_first(name, list(kinds))[0]!r}?")
    return {name: convert(f"{where} option {name!r}", value, kinds[name]) for name, value in table.items()}


def convert(where: str, value: Any, kind: Any) -> Any:
    """A TOML value as the option's type; where: begins the message."""
    if kind is float and type(value) is int:
        return float(value)
    if kind is Path and isinstance(value, str):
        return Path(value)
    if kind not in _WORDS:
        pair = value if isinstance(value, list) else []
        if len(pair) != 2 or not all(type(v) in (int, float) for v in pair) or pair[0] > pair[1]:
            raise ConfigError(f"{where} is {value!r}, expected two numbers, the lower one first.")
        return tuple(map(float, pair))
    if type(value) is not kind:
        raise ConfigError(f"{where} is {value!r}, expected {_WORDS[kind]}.")
    return value


_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", Path: "a path"}


def write_toml(config: TrainConfig, path: Path) -> None:
    """Every option of a run, one per line, tables last; what is None is left out."""
    lines, tables = ["# The resolved configuration of this run; --recipe takes this file."], []
    values = config.flat()
    for key, item in items().items():
        if is_option(item.field):
            continue
        table, name = values.pop(key), item.field.metadata["table"]
        if table and name in values:
            table = {"preset": values.pop(name)} | table
        tables += [f"\n[{name}]", *toml_lines(table)] if table else []
    with whole_file(path) as temporary:
        temporary.write_text("\n".join(lines + toml_lines(values) + tables) + "\n", encoding="utf-8")


def toml_lines(values: Mapping[str, Any]) -> list[str]:
    """One per option; what is None is left out."""
    known = {
        key: str(value) if isinstance(value, Path) else value for key, value in values.items() if value is not None
    }
    return [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in known.items()]


def _resumed(given: dict[str, Any]) -> TrainConfig:
    """The configuration in the run's folder, with the options that may change."""
    path = resumed_file(given)
    before = read_toml(path)
    lost = [key for key, value in TrainConfig().flat().items() if value not in (None, {}) and key not in before]
    if lost:
        raise ConfigError(f"{path}: lacks {lost[0]!r} (and {len(lost) - 1} more options), so it isn't the whole "
                          "configuration of a run; put them back, or start another run.")  # fmt: skip
    given = {key: value for key, value in given.items() if value not in CHOSEN_ONCE.get(key, ())}
    check_resumed(given, before, MAY_CHANGE)
    return TrainConfig.of(**(before | given))


def resumed_file(given: Mapping[str, Any]) -> Path:
    """The configuration of the run that goes on, by options of the command line. Raises ConfigError without one."""
    if given.get("outdir") is None:
        raise ConfigError("--resume needs --outdir, the folder of the run to continue.")
    path: Path = given["outdir"] / CONFIG_FILE
    if not path.is_file():
        raise ConfigError(f"{path}: no such file, so there is no run to resume here; start it without --resume.")
    return path


def check_resumed(given: Mapping[str, Any], before: Mapping[str, Any], may_change: Sequence[str]) -> None:
    """Options of the command line, and those of the run that goes on. Raises ConfigError where they differ."""
    for name, value in given.items():
        if name not in may_change and value != before.get(name):
            raise ConfigError(
                f"--resume continues a run as it was started: {name} was {before.get(name)!r} there, not {value!r}. "
                "Leave the option out, or start another run."
            )
