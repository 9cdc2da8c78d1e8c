"""Convert a public data set, or your own images, to a sample file.

ttc convert 300wlp 300W-LP.zip $DATADIR/300wlp.h5
ttc convert csv my_faces/labels.csv $DATADIR/my_faces.h5

ttc convert SET --help explains a converter.
"""

import argparse
from importlib import import_module
from pathlib import Path

from trackertraincode.arguments import OutputFile, add_engine_options
from trackertraincode.conversion.converters import CONVERTERS
from trackertraincode.files import SAMPLES, check_outputs


def add_options(parser: argparse.ArgumentParser) -> None:
    converters = parser.add_subparsers(dest="set", metavar="SET", required=True)
    for name, converter in CONVERTERS.items():
        own = converters.add_parser(name, help=converter.doc.splitlines()[0], description=converter.doc)
        own.add_argument("source", type=Path, metavar="IN", help=converter.source)
        own.add_argument("destination", type=OutputFile(*SAMPLES), metavar="OUT", help="sample file to write, .h5")
        add_engine_options(own)
        for flags, settings in converter.options:
            own.add_argument(*flags, **settings)


def run(options: argparse.Namespace) -> int:
    converter = CONVERTERS[options.set]
    own = {name: getattr(options, name) for name in converter.option_names}
    inputs = [options.source, *(value for value in own.values() if isinstance(value, Path))]
    check_outputs([options.destination, options.skipped], inputs, overwrite=options.overwrite)
    from trackertraincode.conversion.archive import naming_archives_in
    from trackertraincode.conversion.archive_kinds import unpacked
    from trackertraincode.conversion.run import ConvertOptions, run_converter

    module = import_module(f"trackertraincode.conversion.{converter.module}")
    with unpacked(options.source, options.destination) as path:
        with naming_archives_in(path):
            source = module.make_source(path, **own)
        return run_converter(ConvertOptions.of(options), f"dsprocess_{options.set}", source, own)
