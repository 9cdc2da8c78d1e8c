"""Train the face localizer of OpenTrack's NeuralNet tracker.

python scripts/train_localizer.py --data $DATADIR/widerfacessingle.h5 --outdir runs/localizer --export localizer.onnx
python scripts/train_localizer.py --outdir runs/synthetic       on rendered scenes
"""

import argparse
from pathlib import Path

from trackertraincode.cli import add_device_option, add_workers_option, non_negative_int, positive_int, run_main
from trackertraincode.localizer.training import LocalizerRun, default_outdir, format_scores, train_localizer


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = LocalizerRun
    parser.add_argument(
        "--data", type=Path, metavar="FILE", help="sample file with hasface and rois (default: synthetic scenes)"
    )
    parser.add_argument(
        "--scenes", type=positive_int, default=default.scenes, help=f"synthetic ones (default {default.scenes})"
    )
    parser.add_argument("-e", "--epochs", type=positive_int, default=default.epochs, help=f"default {default.epochs}")
    parser.add_argument(
        "-b", "--batchsize", type=positive_int, default=default.batchsize, help=f"default {default.batchsize}"
    )
    parser.add_argument("--lr", type=float, default=default.lr, help=f"peak learning rate (default {default.lr:g})")
    parser.add_argument(
        "--val-fraction",
        type=float,
        default=default.val_fraction,
        metavar="X",
        help=f"share that is held out for the evaluation (default {default.val_fraction:g})",
    )
    add_device_option(parser)
    add_workers_option(parser)
    parser.add_argument("--seed", type=non_negative_int, default=default.seed, help=f"default {default.seed}")
    parser.add_argument(
        "--outdir", type=Path, metavar="DIR", help="new folder of the run (default: runs/DATE-localizer)"
    )
    parser.add_argument("--export", type=Path, metavar="FILE", help="write the ONNX file for OpenTrack")
    parser.add_argument(
        "--compare",
        type=Path,
        nargs="+",
        default=(),
        metavar="MODEL",
        help="evaluate other localizers (.ckpt, .onnx) on the same held-out pictures",
    )
    options = parser.parse_args()
    values = vars(options) | {"outdir": options.outdir or default_outdir(), "compare": tuple(options.compare)}
    run = LocalizerRun(**values)
    print(format_scores(train_localizer(run)))
    print(f"{run.outdir}: done")
    return 0


if __name__ == "__main__":
    run_main(main)
