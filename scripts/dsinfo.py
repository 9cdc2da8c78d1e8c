"""What is in sample files: fields, counts, statistics, and on request a picture of the pose distribution.

python scripts/dsinfo.py $DATADIR/300wlp.h5 $DATADIR/aflw2k.h5 --histogram poses.png
"""

import argparse
from pathlib import Path

from trackertraincode.cli import run_main
from trackertraincode.datasets.statistics import describe, summarize
from trackertraincode.visualize import contact_sheet, draw_histograms, write_picture


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="sample files, .h5")
    parser.add_argument("--histogram", type=Path, metavar="PICTURE", help="draw a row of histograms per file, .png")
    options = parser.parse_args()
    charts = []
    for path in options.files:
        summary = summarize(path)
        print(describe(summary), end="\n\n")
        if summary.quantities:
            charts.append(draw_histograms(summary.quantities))
    if options.histogram is not None and charts:
        write_picture(options.histogram, contact_sheet(charts, 1))
        print(f"histograms: {options.histogram}")
    return 0


if __name__ == "__main__":
    run_main(main)
