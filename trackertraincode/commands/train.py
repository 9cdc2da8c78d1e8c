"""Train a pose network on data sets of the catalog.

ttc train --ds "repro_300_wlp+wflw_lp" --with-swa
ttc train --recipe sixd --ds 300wlp --val biwi --outdir runs/sixd
ttc train --resume --outdir runs/sixd
"""

import argparse
from pathlib import Path

import trackertraincode.training
from trackertraincode.commands.options import add_option
from trackertraincode.light import groups_in, names_in


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
            add_option(group, option)


def run(options: argparse.Namespace) -> int:
    from trackertraincode.training.options import read_options
    from trackertraincode.training.run import train

    train(read_options(options))
    return 0
