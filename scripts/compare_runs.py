"""Compare training runs: error against epoch, size and latency.

python scripts/compare_runs.py runs/a runs/b --output compare.png

Several backbone families give one picture each besides: compare-resnet.png, compare-repvgg.png…
"""

import argparse
from pathlib import Path

from trackertraincode.cli import run_main
from trackertraincode.training.compare import ERRORS, draw_families, format_runs, read_runs, write_comparison


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folders of train_poseestimator.py")
    parser.add_argument("--output", type=Path, default=Path("compare.png"), metavar="FILE", help="picture to write")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers as JSON")
    parser.add_argument("--error", choices=ERRORS, default="geodesic", help="validation error (default geodesic)")
    options = parser.parse_args()
    runs = read_runs(options.runs, error=options.error)
    print(format_runs(runs, options.error))
    for path in draw_families(runs, options.output, options.error):
        print(path)
    if options.json is not None:
        write_comparison(runs, options.json)
    return 0


if __name__ == "__main__":
    run_main(main)
