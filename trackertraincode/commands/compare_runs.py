"""Compare training runs: error against epoch, size and latency.

ttc compare-runs runs/a runs/b --output compare.png

Several backbone families give one image each besides: compare-resnet.png, compare-repvgg.png…
"""

import argparse
from pathlib import Path

from trackertraincode.arguments import CHARTS, OutputFile, add_overwrite_option
from trackertraincode.files import check_outputs
from trackertraincode.light import names_in


def add_options(parser: argparse.ArgumentParser) -> None:
    errors = names_in("training.compare", "ERRORS")
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folders of `train`")
    parser.add_argument("--output", type=OutputFile(*CHARTS), default=Path("compare.png"), help="image to write")
    parser.add_argument("--json", type=OutputFile(".json"), help="write the numbers as JSON")
    parser.add_argument("--error", choices=errors, default="geodesic", help="validation error")
    add_overwrite_option(parser)


def run(options: argparse.Namespace) -> int:
    inputs = [path for run in options.runs for path in (run, *(run.iterdir() if run.is_dir() else []))]
    check_outputs([options.output, options.json], inputs, overwrite=options.overwrite)
    from trackertraincode.training.compare import draw_families, format_runs, read_runs, write_comparison

    runs = read_runs(options.runs, error=options.error)
    print(format_runs(runs, options.error))
    for path in draw_families(runs, options.output, options.error):
        print(path)
    if options.json is not None:
        write_comparison(runs, options.json)
    return 0
