"""Fields of dataclasses that are options: of the command line, of recipes and of resolved configurations.

Each part of a run has such a dataclass beside what it configures; `training.options` reads and writes all of them.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from typing import Any

from trackertraincode.errors import ConfigError, closest_first


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
