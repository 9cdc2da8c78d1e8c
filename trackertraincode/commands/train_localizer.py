"""Train the face localizer of OpenTrack's NeuralNet tracker.

ttc train-localizer --data $DATADIR/widerfacessingle.h5 --outdir runs/localizer --export localizer.onnx
ttc train-localizer --outdir runs/synthetic       on rendered scenes
ttc train-localizer --resume --outdir runs/synthetic
"""

import argparse
from pathlib import Path

from trackertraincode.arguments import (
    Further,
    OutputFile,
    add_device_option,
    add_overwrite_option,
    add_workers_option,
    output_folder,
)
from trackertraincode.commands.options import add_option
from trackertraincode.files import check_outputs
from trackertraincode.light import options_in


def add_options(parser: argparse.ArgumentParser) -> None:
    """Only options that are given appear in the parsed result."""
    parser.argument_default = argparse.SUPPRESS
    parser.add_argument("--resume", action="store_true", help="continue the stopped run in --outdir")
    parser.add_argument("--data", type=Path, help="sample file with hasface and rois (default: synthetic scenes)")
    for option in options_in("localizer.options", "LocalizerRun"):
        add_option(parser, option)
    parser.add_argument("--pretrained", type=Path, metavar="CKPT", help="begin with the weights of this localizer.ckpt")
    add_device_option(parser)
    add_workers_option(parser)
    parser.add_argument("--outdir", type=output_folder, help="new folder of the run (default: runs/DATE-localizer)")
    parser.add_argument("--export", type=OutputFile(".onnx"), help="write the ONNX file for OpenTrack")
    parser.add_argument(
        "--compare",
        type=Path,
        nargs="+",
        action=Further,
        metavar="MODEL",
        help="evaluate other localizers (.ckpt, .onnx) on the same held-out images",
    )
    add_overwrite_option(parser)


def run(options: argparse.Namespace) -> int:
    given = dict(vars(options))
    resume, overwrite = given.pop("resume", False), given.pop("overwrite", False)
    inputs = [given.get("data"), given.get("pretrained"), *given.get("compare", ())]
    check_outputs([given.get("export")], inputs, folders=[given.get("outdir")], overwrite=overwrite)
    from trackertraincode.localizer.options import read_run
    from trackertraincode.localizer.training import format_scores, train_localizer

    run = read_run(given, resume=resume)
    print(format_scores(train_localizer(run, resume=resume)))
    print(f"{run.outdir}: done")
    return 0
