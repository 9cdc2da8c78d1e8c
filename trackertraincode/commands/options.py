"""Flags of options that dataclasses declare by `trackertraincode.options.option`."""

import argparse
from collections.abc import Callable, Mapping
from typing import Any

from trackertraincode.arguments import Once, output_folder, whole_number
from trackertraincode.commands import describe_default
from trackertraincode.light import Option


def add_option(group: argparse._ActionsContainer, option: Option) -> None:
    """The flag of an option; without a default, so that only those that are given appear in the parsed result."""
    metadata = option.metadata
    default, kind = option.default, option.kind
    if "values" in metadata:  # a switch between two values
        default, kind = next(switched for switched, value in metadata["values"].items() if value == default), bool
    text = metadata["help"].replace("%", "%%")
    if default is not None and default != "":
        text += f" (default: {describe_default(default)})"
    flag = "--" + metadata.get("key", option.field).replace("_", "-")
    if kind is bool:
        group.add_argument(flag, action=argparse.BooleanOptionalAction, help=text)
        return
    if "switch" in metadata:
        on, off = metadata["switch"][True], metadata["switch"][False]
        group.add_argument(flag, nargs="?", const=on, metavar=metadata["metavar"], help=text)
        names = [f"--no-{flag[2:]}", *([metadata["off"]] if "off" in metadata else [])]
        group.add_argument(*names, action="store_const", const=off, dest=option.field, help="not at all")
        return
    metavar = metadata.get("metavar", {int: "N", float: "X"}.get(kind))
    if "choices" in metadata:
        metavar = "{" + ",".join(metadata["choices"]) + "}"
    short = [metadata["short"]] if "short" in metadata else []
    kind = {int: whole_number}.get(kind, output_folder if metavar == "DIR" else kind)
    if "words" in metadata:
        kind = _word_or(kind, metadata["words"])
    action = Once if metavar is not None and "+" in metavar else "store"
    group.add_argument(*short, flag, action=action, type=kind, metavar=metavar, help=text)


def _word_or(kind: Callable[[str], Any], words: Mapping[str, Any]) -> Callable[[str], Any]:
    """argparse type: one of the words, or what `kind` makes of others."""
    return lambda text: words[text] if text in words else kind(text)
