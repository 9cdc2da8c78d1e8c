"""Convert a public data set, or your own images, to a sample file.

ttc convert 300wlp 300W-LP.zip $DATADIR/300wlp.h5
ttc convert csv my_faces/labels.csv $DATADIR/my_faces.h5

ttc convert SET --help explains a converter.
"""

import argparse
import dataclasses
from importlib import import_module
from pathlib import Path

from trackertraincode.cli import add_overwrite_option, add_workers_option, output_file, positive_int
from trackertraincode.conversion.converters import CONVERTERS
from trackertraincode.files import check_outputs


def add_options(parser: argparse.ArgumentParser) -> None:
    converters = parser.add_subparsers(dest="set", metavar="SET", required=True)
    for name, converter in CONVERTERS.items():
        own = converters.add_parser(name, help=converter.doc.splitlines()[0], description=converter.doc)
        own.add_argument("source", type=Path, help=converter.source)
        own.add_argument("destination", type=output_file, help="sample file to write, .h5")
        own.add_argument("-n", "--count", type=positive_int, metavar="N", help="convert only the first N samples")
        add_workers_option(own)
        own.add_argument("--resume", action="store_true", help="go on with an interrupted run of the same command")
        own.add_argument("--strict", action="store_true", help="stop at the first sample that can't be converted")
        own.add_argument("--skipped", type=output_file, metavar="FILE", help="list all that is skipped, and why")
        add_overwrite_option(own)
        for flags, settings in converter.options:
            own.add_argument(*flags, **settings)


def run(options: argparse.Namespace) -> int:
    converter = CONVERTERS[options.set]
    own = {name: getattr(options, name) for name in converter.option_names}
    inputs = [options.source, *(value for value in own.values() if isinstance(value, Path))]
    check_outputs([options.destination, options.skipped], inputs, overwrite=options.overwrite)
    from trackertraincode.conversion.archive import unpacked
    from trackertraincode.conversion.run import ConvertOptions, run_converter

    module = import_module(f"trackertraincode.conversion.{converter.module}")
    common = ConvertOptions(**{f.name: getattr(options, f.name) for f in dataclasses.fields(ConvertOptions)})
    with unpacked(options.source, options.destination) as path:
        return run_converter(common, f"dsprocess_{options.set}", module.make_source(path, **own), own)
