"""Copy some samples of a file to a new one: rows by number, or those for which an expression is true.

ttc filter 300wlp.h5 profiles.h5 --where "abs(yaw) > 60 and size >= 40"
ttc filter 300wlp.h5 some.h5 --rows 0-99,205
ttc filter 300wlp.h5 clean.h5 --rows bad.txt --exclude

Expressions know row, pitch, yaw, roll (degrees), size, box_width and box_height (pixels), and how good labels are:
fit_residual of `ttc fit`, rotation_spread, rotation_uncertainty (degrees) and those of head and landmarks of
`ttc pseudolabels` (mm, of which a head radius has 100). A comparison with what a row lacks is false.
"""

import argparse
from pathlib import Path

from tqdm import tqdm

from trackertraincode.arguments import Once, OutputFile, add_overwrite_option
from trackertraincode.files import SAMPLES, check_outputs


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, metavar="IN", help="sample file, .h5")
    parser.add_argument("destination", type=OutputFile(*SAMPLES), metavar="OUT", help="sample file to write, .h5")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--rows", action=Once, metavar="LIST", help="such as 3,7,10-19 (19 included), or a file of row numbers"
    )
    which.add_argument("--where", action=Once, metavar="EXPRESSION", help='such as "abs(yaw) > 60 and size >= 40"')
    parser.add_argument("--exclude", action="store_true", help="keep the other rows")
    add_overwrite_option(parser)


def run(options: argparse.Namespace) -> int:
    source: Path = options.source
    import numpy as np

    from trackertraincode.datasets.selection import (
        count_rows,
        filter_file,
        parse_rows,
        rows_file,
        select_where,
        unknown_data_sets,
    )
    from trackertraincode.datasets.statistics import row_quantities

    listed = None if options.rows is None else rows_file(options.rows)
    check_outputs([options.destination], [source, listed], overwrite=options.overwrite)

    count = count_rows(source)
    if options.rows is not None:
        rows = parse_rows(options.rows, count)
    else:
        rows = select_where(options.where, row_quantities(source), count)
    if options.exclude:
        rows = np.setdiff1d(np.arange(count), rows)
    chosen = {key: str(value) for key in ("rows", "where", "exclude") if (value := getattr(options, key))}
    left_out = unknown_data_sets(source)
    if left_out:
        print(f"{source}: left out, since they aren't part of the format: {', '.join(left_out)}")

    written = filter_file(
        source, options.destination, rows, chosen, lambda samples, total: tqdm(samples, total=total, unit=" samples")
    )
    print(f"{options.destination}: {written} of {count} samples")
    return 0
