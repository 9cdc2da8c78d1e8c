"""Train a pose network on data sets of the catalog.

ttc train --ds "repro_300_wlp+wflw_lp" --with-swa
ttc train --recipe sixd --ds 300wlp --val biwi --outdir runs/sixd
ttc train --resume --outdir runs/sixd
"""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import trackertraincode.training
from trackertraincode.arguments import output_folder, whole_number
from trackertraincode.commands import describe_default
from trackertraincode.light import Option, groups_in, names_in


def add_options(parser: argparse.ArgumentParser) -> None:
    """One flag per option of TrainConfig; only those that are given appear in the parsed result."""
    parser.argument_default, parser.allow_abbrev = argparse.SUPPRESS, False
    recipes = ", ".join(sorted(p.stem for p in Path(trackertraincode.training.__path__[0]).glob("recipes/*.toml")))
    default = names_in("training.options", "DEFAULT_RECIPE")
    parser.add_argument(
        "--recipe", metavar="NAME|FILE", help=f"options to start from: {recipes} or a TOML file (default: {default})"
    )
    parser.add_argument("--resume", action="store_true", help="continue the stopped run in --outdir")
    for title, options in groups_in("training.config", "TrainConfig").items():
        group = parser.add_argument_group(title)
        for option in options:
            _add(group, option)


def _add(group: argparse._ArgumentGroup, option: Option) -> None:
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
    group.add_argument(*short, flag, type=kind, metavar=metavar, help=text)


def _word_or(kind: Callable[[str], Any], words: Mapping[str, Any]) -> Callable[[str], Any]:
    """argparse type: one of the words, or what `kind` makes of others."""
    return lambda text: words[text] if text in words else kind(text)


def run(options: argparse.Namespace) -> int:
    from trackertraincode.training.options import read_options
    from trackertraincode.training.run import train

    train(read_options(options))
    return 0
