"""TrainConfig <-> command line and TOML.

--recipe NAME|FILE.toml, then options of the command line  -->  TrainConfig
--resume OUTDIR/config.toml, options that may change       -->  TrainConfig
"""

import argparse
import dataclasses
import json
import tomllib
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trackertraincode.errors import ConfigError, closest_first
from trackertraincode.training.config import TrainConfig

RECIPES = Path(__file__).parent / "recipes"
CONFIG_FILE = "config.toml"  # in the folder of a run
DEFAULT_RECIPE = "opnet"

MAY_CHANGE = ("workers", "device", "onnx", "save_plot", "draw_every", "tensorboard", "outdir")
"""Options that don't influence the weights, so that `--resume` takes new values of them."""

SHORT = {"batchsize": "-b", "epochs": "-e"}


@dataclass(frozen=True)
class Request:
    """What the command line asks for."""

    config: TrainConfig
    resume: bool  # continue the run in config.outdir


def parse_options(arguments: Sequence[str] | None, description: str | None) -> Request:
    """Command line -> what to train. Exits with 2 on wrong usage; raises ConfigError for wrong values."""
    parser = build_parser(description)
    known, unknown = parser.parse_known_args(arguments)
    if unknown:
        parser.error(_unknown_option(unknown[0], parser))
    given = vars(known)
    recipe, resume = given.pop("recipe", DEFAULT_RECIPE), given.pop("resume", False)
    if resume:
        return Request(_resumed(given), resume=True)
    return Request(TrainConfig(**(read_recipe(recipe) | given)), resume=False)


def build_parser(description: str | None) -> argparse.ArgumentParser:
    """One option per field of TrainConfig; only options that are given appear in the parsed result."""
    parser = argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    names = ", ".join(sorted(path.stem for path in RECIPES.glob("*.toml")))
    parser.add_argument(
        "--recipe",
        metavar="NAME|FILE",
        help=f"options to start from: {names} or a TOML file (default: {DEFAULT_RECIPE})",
    )
    parser.add_argument("--resume", action="store_true", help="continue the stopped run in --outdir")
    group: argparse._ArgumentGroup | None = None
    for item in dataclasses.fields(TrainConfig):
        if "group" in item.metadata:
            group = parser.add_argument_group(item.metadata["group"])
        assert group is not None, "the first field names its group"
        _add(group, item)
    return parser


def _add(group: argparse._ArgumentGroup, item: dataclasses.Field) -> None:
    kind = value_type(item)
    text = item.metadata["help"].replace("%", "%%")
    if item.default is not None and item.default != "":
        shown = ("yes" if item.default else "no") if kind is bool else item.default
        text += f" (default: {shown})"
    flag = "--" + item.name.replace("_", "-")
    if kind is bool:
        group.add_argument(flag, action=argparse.BooleanOptionalAction, help=text)
        return
    metavar = item.metadata.get("metavar", {int: "N", float: "X"}.get(kind))
    if "choices" in item.metadata:
        metavar = "{" + ",".join(item.metadata["choices"]) + "}"
    short = [SHORT[item.name]] if item.name in SHORT else []
    group.add_argument(*short, flag, type=kind, metavar=metavar, help=text)


def value_type(item: dataclasses.Field) -> Any:
    """The type of a field's values besides None."""
    kind = typing.get_type_hints(TrainConfig)[item.name]
    if isinstance(kind, types.UnionType):
        kind = next(k for k in typing.get_args(kind) if k is not type(None))
    return kind


def _unknown_option(word: str, parser: argparse.ArgumentParser) -> str:
    known = [flag for action in parser._actions for flag in action.option_strings]
    name = word.split("=")[0]
    close = closest_first(name, known)[0]
    return f"unknown option {name}; did you mean {close}? --help lists all."


def read_recipe(name: str) -> dict[str, Any]:
    """Options of a named recipe or of a TOML file. Raises ConfigError for unknown names, keys and wrong types."""
    path = Path(name) if name.endswith(".toml") else RECIPES / f"{name}.toml"
    if not path.is_file():
        names = closest_first(name, sorted(p.stem for p in RECIPES.glob("*.toml")))
        raise ConfigError(f"recipe {name!r} is unknown; choose one of {', '.join(names)}, or give a .toml file.")
    return read_toml(path)


def read_toml(path: Path) -> dict[str, Any]:
    """TOML file -> checked options."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not a TOML file ({error}).") from None
    items = {item.name: item for item in dataclasses.fields(TrainConfig)}
    return {key: _convert(path, key, value, items) for key, value in content.items()}


def _convert(path: Path, key: str, value: Any, items: dict[str, dataclasses.Field]) -> Any:
    if key not in items:
        raise ConfigError(f"{path}: unknown option {key!r}; did you mean {closest_first(key, list(items))[0]!r}?")
    kind = value_type(items[key])
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is Path and isinstance(value, str):
        return Path(value)
    if type(value) is not kind:
        raise ConfigError(f"{path}: option {key!r} is {value!r}, expected {_WORDS[kind]}.")
    return value


_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", Path: "a path"}


def write_toml(config: TrainConfig, path: Path) -> None:
    """Every option of a run, one per line; what is None is left out."""
    lines = ["# The resolved configuration of this run; --recipe takes this file."]
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        if value is not None:
            text = json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)
            lines.append(f"{item.name} = {text}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _resumed(given: dict[str, Any]) -> TrainConfig:
    """The configuration in the run's folder, with the options that may change."""
    outdir = given.get("outdir")
    if outdir is None:
        raise ConfigError("--resume needs --outdir, the folder of the run to continue.")
    path = outdir / CONFIG_FILE
    if not path.is_file():
        raise ConfigError(f"{path}: no such file, so there is no run to resume here; start it without --resume.")
    config = TrainConfig(**(read_toml(path) | {"outdir": outdir}))
    for name, value in given.items():
        before = getattr(config, name)
        if name not in MAY_CHANGE and value != before:
            raise ConfigError(
                f"--resume continues a run as it was started: {name} was {before!r} there, not {value!r}. "
                "Leave the option away, or start another run."
            )
    return dataclasses.replace(config, **{name: value for name, value in given.items() if name in MAY_CHANGE})
