"""Check sample files: shapes, finite numbers, unit quaternions, boxes, landmarks against pose, images that decode.

Names every bad row, and what is suspicious about all rows together. The exit code is 0 when no row is bad.

ttc check $DATADIR/aflw2k.h5 --bad-rows bad.txt
ttc filter $DATADIR/aflw2k.h5 $DATADIR/clean.h5 --rows bad.txt --exclude
"""

import argparse
from pathlib import Path

from tqdm import tqdm

from trackertraincode.arguments import (
    LISTS,
    OutputFile,
    add_face_model_option,
    add_overwrite_option,
    add_workers_option,
)
from trackertraincode.errors import UsageError
from trackertraincode.files import check_outputs, whole_file
from trackertraincode.workers import choose_workers


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="sample files, .h5")
    parser.add_argument(
        "--bad-rows", type=OutputFile(*LISTS), metavar="LIST", help="write the numbers of bad rows, for `filter`"
    )
    add_face_model_option(parser)
    add_workers_option(parser)
    add_overwrite_option(parser)


def run(options: argparse.Namespace) -> int:
    if options.bad_rows is not None and len(options.files) > 1:
        raise UsageError("--bad-rows takes the rows of one FILE")
    check_outputs([options.bad_rows], [*options.files, options.face_model], overwrite=options.overwrite)
    clean = [_check(path, options) for path in options.files]
    return 0 if all(clean) else 1


def _check(path: Path, options: argparse.Namespace) -> bool:
    """Print all faults of one file; whether there are none."""
    from trackertraincode.datasets.checks import check_file, head_model_for
    from trackertraincode.datasets.plausibility import Whole
    from trackertraincode.facemodel.load import head_model_file

    read = [path, options.face_model, head_model_file()]
    workers = choose_workers(options.workers, options.scheduler, [file for file in read if file is not None])
    model, left_out = head_model_for(path, options.face_model)
    if left_out:
        print(f"{path}: {left_out}")
    count, whole = 0, Whole()
    rows: set[int] = set()
    with tqdm(unit=" samples", desc=path.name) as bar:

        def show_progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        for fault in check_file(path, model, workers, show_progress, whole):
            tqdm.write(f"{path}: {fault}")
            count += 1
            if fault.row is not None:
                rows.add(fault.row)
    if options.bad_rows is not None:
        with whole_file(options.bad_rows) as temporary:
            temporary.write_text("".join(f"{row}\n" for row in sorted(rows)), encoding="utf-8")
    suspicions = whole.suspicions()
    for text in suspicions:
        print(f"{path}: suspicious: {text}")
    clean = f"clean, but for {len(suspicions)} suspicions" if suspicions else "clean"
    print(f"{path}: {clean}" if count == 0 else f"{path}: {count} faults in {len(rows)} rows")
    return count == 0
