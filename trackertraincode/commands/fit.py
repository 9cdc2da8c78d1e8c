"""Fit a head model to landmarks: pose, head, shape and 3-D landmarks for every face of a sample file.

ttc fit wflw_train.h5 wflw_fitted.h5
ttc fit lapa.h5 lapa_fitted.h5 --face-model bfm_noneck_v3.pkl --start model.onnx
ttc filter wflw_fitted.h5 wflw_good.h5 --where "fit_residual < 3"

fit_residual is the mean distance between landmarks and fitted head in millimetres, of which a head radius has 100.
"""

import argparse
from pathlib import Path

from trackertraincode.arguments import OutputFile, add_engine_options, add_face_model_option
from trackertraincode.files import SAMPLES, check_outputs
from trackertraincode.light import defaults_in, names_in


def add_options(parser: argparse.ArgumentParser) -> None:
    defaults = defaults_in("labelling.fit", "FitOptions")
    parser.add_argument("source", type=Path, metavar="IN", help="sample file with landmarks, .h5")
    parser.add_argument("destination", type=OutputFile(*SAMPLES), metavar="OUT", help="sample file to write, .h5")
    add_face_model_option(parser)
    parser.add_argument(
        "--landmarks",
        choices=names_in("labelling.fit", "LANDMARKS"),
        default=defaults["landmarks"],
        help="those of the image, or those with depth; auto: with depth where a row has it",
    )
    parser.add_argument(
        "--contour",
        choices=names_in("labelling.fit", "CONTOURS"),
        default=defaults["contour"],
        help="whether the jaw's landmarks of the image slide along the silhouette, as annotators put them, or are fixed "
        "points of the head; auto: what fits a face better",
    )
    parser.add_argument(
        "--start", type=Path, metavar="MODEL", help="try a network's pose as a start too, .ckpt or .onnx"
    )
    add_engine_options(parser)


def run(options: argparse.Namespace) -> int:
    inputs = [options.source, options.face_model, options.start]
    check_outputs([options.destination, options.skipped], inputs, overwrite=options.overwrite)
    from trackertraincode.conversion.run import ConvertOptions, run_converter
    from trackertraincode.labelling.fit import FitOptions, make_source

    own = {name: getattr(options, name) for name in ("face_model", "landmarks", "contour", "start")}
    source = make_source(options.source, FitOptions(**own))
    return run_converter(ConvertOptions.of(options), "fit_head_model", source, own)
