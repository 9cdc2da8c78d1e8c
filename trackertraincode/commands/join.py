"""Join sample files to one. Labels that only some of them have are absent in the rows of the others.

ttc join all.h5 first.h5 second.h5
"""

import argparse
from pathlib import Path

from tqdm import tqdm

from trackertraincode.arguments import OutputFile, add_overwrite_option
from trackertraincode.errors import UserError
from trackertraincode.files import SAMPLES, check_outputs, files_of, resolved


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("destination", type=OutputFile(*SAMPLES), metavar="OUT", help="sample file to write, .h5")
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="sample files, .h5")
    parser.add_argument(
        "--same-persons",
        action="store_true",
        help="equal numbers of persons mean the same person in all files (default: no person is in two files)",
    )
    add_overwrite_option(parser)


def run(options: argparse.Namespace) -> int:
    files = [file for path in options.files for file in files_of(path)]
    check_outputs([options.destination], files, overwrite=options.overwrite)
    _check_each_once(files)
    from trackertraincode.datasets.selection import join_files, unknown_data_sets

    for path in options.files:
        left_out = unknown_data_sets(path)
        if left_out:
            print(f"{path}: left out, since they aren't part of the format: {', '.join(left_out)}")
    written, left_out = join_files(
        options.files,
        options.destination,
        lambda samples, total: tqdm(samples, total=total, unit=" samples"),
        same_persons=options.same_persons,
    )
    if left_out:
        print(f"left out, since only some files have them and no row may lack them: {', '.join(left_out)}")
    print(f"{options.destination}: {written} samples of {len(files)} file{'s' * (len(files) != 1)}")
    return 0


def _check_each_once(files: list[Path]) -> None:
    """Raise UserError where samples would be in the destination twice."""
    once = {resolved(file) for file in files}
    for file in files:
        if resolved(file) not in once:
            raise UserError(f"{file}: is given twice, and its samples would be in the output twice; leave one out.")
        once.remove(resolved(file))
