"""What is in sample files: fields, counts, statistics, and on request an image of the pose distribution.

ttc info $DATADIR/300wlp.h5 $DATADIR/aflw2k.h5 --histogram poses.png
"""

import argparse
from pathlib import Path

from trackertraincode.arguments import IMAGES, OutputFile, add_overwrite_option
from trackertraincode.files import check_outputs


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="sample files, .h5")
    parser.add_argument(
        "--histogram", type=OutputFile(*IMAGES), metavar="IMAGE", help="draw a row of histograms per file, .png"
    )
    add_overwrite_option(parser)


def run(options: argparse.Namespace) -> int:
    check_outputs([options.histogram], options.files, overwrite=options.overwrite)
    from trackertraincode.datasets.statistics import describe, summarize
    from trackertraincode.visualize import contact_sheet, draw_histograms, write_image

    charts = []
    for path in options.files:
        summary = summarize(path)
        print(describe(summary), end="\n\n")
        if summary.quantities:
            charts.append(draw_histograms(summary.quantities))
    if options.histogram is not None and charts:
        write_image(options.histogram, contact_sheet(charts, 1))
        print(f"histograms: {options.histogram}")
    return 0
