"""Label faces by models: the mean of what they say, how far they are apart and how sure they are, for every row.

ttc pseudolabels unlabeled.h5 -c a.ckpt b.ckpt c.onnx
ttc pseudolabels video.h5 -c a.ckpt b.ckpt --output labelled.h5 --filter 5

Labels that a row has stay, all others that the models give are added: pose, head, landmarks, shape. Rows are then chosen
by rotation_spread and rotation_uncertainty (degrees), and by those of head and landmarks (mm, of which a head radius has
100). Without --output the file itself gets the labels, at the end and at once.
"""

import argparse
from pathlib import Path

from trackertraincode.arguments import (
    MODELS,
    Further,
    OutputFile,
    add_crop_factor_option,
    add_device_option,
    add_engine_options,
    degrees,
)
from trackertraincode.errors import UsageError, UserError
from trackertraincode.files import SAMPLES, check_outputs
from trackertraincode.light import names_in


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="sample file with face boxes, .h5")
    parser.add_argument("-c", "--model", nargs="+", action=Further, required=True, **MODELS)
    parser.add_argument(
        "--output", type=OutputFile(*SAMPLES), metavar="OUT", help="sample file to write (default: FILE itself)"
    )
    parser.add_argument("--filter", type=degrees, help="leave out rows whose rotation_spread is larger")
    parser.add_argument("--replace", action="store_true", help="replace labels that are there, too")
    add_crop_factor_option(parser, names_in("geometry.boxes", "CROP_FACTOR"))
    add_device_option(parser)
    add_engine_options(parser)


def run(options: argparse.Namespace) -> int:
    in_place = options.output is None
    if options.filter is not None and len(options.model) < 2:
        raise UsageError("--filter needs at least two models that can differ")
    if in_place and options.shards is not None:
        raise UsageError("--shards writes other files than FILE; name an --output")
    if in_place and (options.filter is not None or options.count is not None):
        raise UsageError("--filter and --count leave rows out, which FILE itself would lose; name an --output")
    check_outputs([options.output, options.skipped], [options.file, *options.model], overwrite=options.overwrite)
    from trackertraincode.conversion.run import ConvertOptions, run_converter
    from trackertraincode.datasets.selection import unknown_data_sets
    from trackertraincode.evaluation.predictor import choose_device
    from trackertraincode.labelling.pseudo import PseudoOptions, make_source

    left_out = ", ".join(unknown_data_sets(options.file))
    if in_place and not options.file.is_file():
        raise UserError(f"{options.file}: is more than one file; name an --output.")
    if in_place and left_out:
        raise UserError(f"{options.file}: would lose what isn't part of the format ({left_out}); name an --output.")
    if left_out:
        print(f"{options.file}: left out, since they aren't part of the format: {left_out}")
    settings = PseudoOptions(
        models=tuple(options.model),
        device=choose_device(options.device),
        factor=options.roi_expansion,
        replace=options.replace,
        limit=options.filter,
        all_rows=in_place,
    )
    options.source, options.destination = options.file, options.output or options.file
    if settings.device != "cpu":
        options.workers = 0  # that compute on one device would only wait for each other
    own = {f"model {number}": path for number, path in enumerate(options.model, 1)}
    own |= {"factor": settings.factor, "replace": settings.replace, "filter": options.filter}
    source = make_source(options.file, settings)
    return run_converter(ConvertOptions.of(options), "add_pose_pseudolabels", source, own)
