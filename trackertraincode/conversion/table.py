"""All converters, by the names of their commands, and what their command lines have in common.

trackertraincode convert NAME, scripts/dsprocess_NAME.py --add_options, convert--> Source --run_converter--> file
"""

import argparse
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

from trackertraincode.cli import add_workers_option, positive_int
from trackertraincode.conversion import (
    aflw2k,
    biwi,
    csv_labels,
    lapa,
    pointing04,
    synface,
    unlabeled,
    w300lp,
    w300vw,
    wflw,
    widerface,
)
from trackertraincode.conversion.run import Converter, ConvertOptions, run_converter
from trackertraincode.files import check_outputs

CONVERTERS: dict[str, Converter] = {  # adding a converter is adding a module and an entry
    "300vw": w300vw.CONVERTER,
    "300wlp": w300lp.CONVERTER,
    "aflw2k": aflw2k.CONVERTER,
    "biwi": biwi.CONVERTER,
    "csv": csv_labels.CONVERTER,
    "lapa": lapa.CONVERTER,
    "pointing04": pointing04.CONVERTER,
    "synface": synface.CONVERTER,
    "unlabeled_images": unlabeled.CONVERTER,
    "wflw": wflw.CONVERTER,
    "widerface": widerface.CONVERTER,
}


def add_options(parser: argparse.ArgumentParser, name: str) -> None:
    """The options of a converter: those that all have, and its own."""
    converter = CONVERTERS[name]
    parser.description, parser.formatter_class = converter.doc, argparse.RawDescriptionHelpFormatter
    parser.add_argument("source", type=Path, help=converter.source)
    parser.add_argument("destination", type=Path, help="sample file to write, .h5")
    parser.add_argument("-n", "--count", type=positive_int, metavar="N", help="convert only the first N samples")
    add_workers_option(parser)
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted run of the same command")
    parser.add_argument("--strict", action="store_true", help="stop at the first sample that can't be converted")
    parser.add_argument("--overwrite", action="store_true", help="replace files of other programs, too")
    converter.add_options(parser)


def convert(parsed: argparse.Namespace, name: str) -> int:
    """Run a converter with its parsed options. Returns the exit code; raises UserError."""
    common = {field.name for field in fields(ConvertOptions)}
    options = ConvertOptions(**{key: value for key, value in vars(parsed).items() if key in common})
    own = {key: value for key, value in vars(parsed).items() if key not in common}
    inputs = [options.source, *(value for value in own.values() if isinstance(value, Path))]
    check_outputs([options.destination], inputs, overwrite=options.overwrite)
    source = CONVERTERS[name].make_source(options.source, **own)
    return run_converter(options, f"dsprocess_{name}", source, own)


def main_of(name: str) -> Callable[[], int]:
    """The main function of scripts/dsprocess_NAME.py."""

    def main() -> int:
        parser = argparse.ArgumentParser()
        add_options(parser, name)
        return convert(parser.parse_args(), name)

    return main
