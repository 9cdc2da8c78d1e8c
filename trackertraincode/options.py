"""Fields of dataclasses that are options: of the command line, of recipes and of resolved configurations.

Each part of a run has such a dataclass beside what it configures; `training.options` reads and writes all of them.
"""

import dataclasses
import math
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trackertraincode.errors import ConfigError, UserError, closest_first


def option(default: Any, help: str, **metadata: Any) -> Any:
    """A field with its help text.

    Limits: `choices`, `above` (exclusive), `least`, `most` (inclusive). On the command line: `metavar`, `short`; `key`, where
    the published option has another name; `values` {True: …, False: …}, where it is a switch between two values; `switch`
    {True: …, False: …}, what --x alone and --no-x mean where a value may follow; `off`, another name of --no-x; `words`
    {"auto": 0}, words that stand for a number, which need not be within the limits.
    """
    return dataclasses.field(default=default, metadata={"help": help, **metadata})


def table(key: str, kinds: Mapping[str, Any]) -> Any:
    """A field with numbers by name, which only recipes have, as a table [key]; kinds: type by name.

    Where an option has the same key, the table names that option's value as its `preset`.
    """
    return dataclasses.field(default_factory=dict, metadata={"table": key, "kinds": kinds})


def is_option(item: dataclasses.Field) -> bool:
    """Whether `option` made this field."""
    return "help" in item.metadata


def key_of(item: dataclasses.Field) -> str:
    """The published name of an option, with underscores."""
    key: str = item.metadata.get("key", item.name)
    return key


def kinds_of(options: type) -> dict[str, Any]:
    """Type of each option's values besides None, by the name of its field."""
    hints = typing.get_type_hints(options)
    return {item.name: besides_none(hints[item.name]) for item in filter(is_option, dataclasses.fields(options))}


def besides_none(kind: Any) -> Any:
    """X of the type X | None."""
    if isinstance(kind, types.UnionType):
        return next(k for k in typing.get_args(kind) if k is not type(None))
    return kind


def read_toml_file(path: Path, refusal: type[UserError]) -> dict[str, Any]:
    """Its values. Raises `refusal` where it is no TOML file, or has what no option can be."""
    if path.exists() and not path.is_file():
        raise refusal(f"{path}: isn't a file, but a folder, a device or a pipe; give a TOML file.")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        _check_values(content)
    except (ValueError, RecursionError) as error:  # TOMLDecodeError and UnicodeDecodeError are such, too
        raise refusal(f"{path}: not a TOML file ({error}).") from None
    return content


def _check_values(value: Any) -> None:
    """Raises ValueError where a whole number isn't of 64 bits, as TOML has them, or a text can't be a name of a file."""
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError("a whole number has more than 64 bits")
    if isinstance(value, str) and "\0" in value:
        raise ValueError("a text has a zero byte")
    if isinstance(value, (dict, list)):
        for inner in [*value, *value.values()] if isinstance(value, dict) else value:
            _check_values(inner)


def check(options: Any) -> None:
    """For `__post_init__`. Raises ConfigError where a value is outside of its limits."""
    for item in filter(is_option, dataclasses.fields(options)):
        _check(item, getattr(options, item.name))


_RULES: Mapping[str, tuple[str, Any]] = {
    "above": ("above", lambda value, limit: value > limit),
    "least": ("at least", lambda value, limit: value >= limit),
    "most": ("at most", lambda value, limit: value <= limit),
}


def _check(item: dataclasses.Field, value: Any) -> None:
    limits, name = item.metadata, key_of(item)
    choices = limits.get("choices")
    if choices is not None and value not in choices:
        raise ConfigError(f"{name}={value!r}: choose one of {', '.join(closest_first(str(value), choices))}.")
    if value in limits.get("words", {}).values():
        return
    for number in value if isinstance(value, tuple) else (value,):
        if not isinstance(number, (int, float)):
            continue
        for key, (words, holds) in _RULES.items():
            if key in limits and not holds(number, limits[key]):
                raise ConfigError(f"{name}={number}: expected a number {words} {limits[key]}.")
        if isinstance(number, float) and not math.isfinite(number):
            raise ConfigError(f"{name}={number}: expected a finite number.")
