"""Train the face localizer of OpenTrack's NeuralNet tracker.

ttc train-localizer --data $DATADIR/widerfacessingle.h5 --outdir runs/localizer --export localizer.onnx
ttc train-localizer --outdir runs/synthetic       on rendered scenes
"""

import argparse
from pathlib import Path

from trackertraincode.arguments import (
    OutputFile,
    add_device_option,
    add_overwrite_option,
    add_workers_option,
    finite_number,
    non_negative_int,
    output_folder,
    positive_int,
)
from trackertraincode.files import check_outputs
from trackertraincode.light import defaults_in, names_in


def add_options(parser: argparse.ArgumentParser) -> None:
    default = defaults_in("localizer.training", "LocalizerRun")
    parser.add_argument("--data", type=Path, help="sample file with hasface and rois (default: synthetic scenes)")
    for flags, kind, text in (
        (["--scenes"], positive_int, "how many scenes to render without --data"),
        (["-e", "--epochs"], positive_int, "how often all images are seen"),
        (["-b", "--batchsize"], positive_int, "images per step"),
        (["--lr"], finite_number, "peak learning rate"),
        (["--val-fraction"], finite_number, "share that is held out for the evaluation"),
        (["--seed"], non_negative_int, "of every random number"),
    ):
        value = default[flags[-1].lstrip("-").replace("-", "_")]
        metavar = "X" if kind is finite_number else "N"
        parser.add_argument(*flags, type=kind, default=value, metavar=metavar, help=text)
    parser.add_argument(
        "--precision",
        choices=names_in("training.trainer", "PRECISIONS"),
        default=default["precision"],
        help="arithmetic: 32, or mixed with bf16 or fp16",
    )
    parser.add_argument("--pretrained", type=Path, metavar="CKPT", help="begin with the weights of this localizer.ckpt")
    add_device_option(parser)
    add_workers_option(parser)
    parser.add_argument("--outdir", type=output_folder, help="new folder of the run (default: runs/DATE-localizer)")
    parser.add_argument("--export", type=OutputFile(".onnx"), help="write the ONNX file for OpenTrack")
    parser.add_argument(
        "--compare",
        type=Path,
        nargs="+",
        default=(),
        metavar="MODEL",
        help="evaluate other localizers (.ckpt, .onnx) on the same held-out images",
    )
    add_overwrite_option(parser)


def run(options: argparse.Namespace) -> int:
    values = vars(options) | {"compare": tuple(options.compare)}
    inputs, overwrite = [options.data, options.pretrained, *options.compare], values.pop("overwrite")
    check_outputs([options.export], inputs, folders=[options.outdir], overwrite=overwrite)
    from trackertraincode.localizer.training import LocalizerRun, format_scores, train_localizer
    from trackertraincode.training.outdir import new_outdir

    run = LocalizerRun(**values | {"outdir": options.outdir or new_outdir("localizer")})
    print(format_scores(train_localizer(run)))
    print(f"{run.outdir}: done")
    return 0
