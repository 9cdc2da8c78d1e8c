"""Look at the labels with which models disagree most: rows ranked, labels and models side by side, as one HTML page.

ttc review aflw2k.h5 --model a.ckpt b.onnx --report review.html
ttc review aflw2k.h5 --report review.html --order rotation --count 100 --list bad.txt
ttc filter aflw2k.h5 clean.h5 --rows bad.txt --exclude

Disagreement is the angle between rotations, the mean distance of landmarks, that of heads (mm, of which a head radius has
100), and the angle in what models expect of themselves. "worst" ranks by the largest, each divided by its median.
"""

import argparse
from pathlib import Path

from trackertraincode.arguments import (
    LISTS,
    MODELS,
    Further,
    OutputFile,
    add_crop_factor_option,
    add_device_option,
    add_overwrite_option,
    add_workers_option,
    positive_int,
)
from trackertraincode.files import check_outputs
from trackertraincode.light import names_in
from trackertraincode.pretrained import DEFAULT
from trackertraincode.workers import choose_workers


def add_options(parser: argparse.ArgumentParser) -> None:
    orders = names_in("labelling.review", "ORDERS")
    parser.add_argument("file", type=Path, metavar="FILE", help="sample file with labels and face boxes, .h5")
    parser.add_argument("--model", nargs="+", action=Further, default=[Path(DEFAULT)], **MODELS)
    parser.add_argument("--report", type=OutputFile(".html"), required=True, metavar="PAGE", help="HTML page to write")
    parser.add_argument(
        "--list", type=OutputFile(*LISTS), metavar="TEXT", help="file to write the shown rows' numbers to"
    )
    parser.add_argument("--count", type=positive_int, default=50, help="rows to show")
    parser.add_argument("--order", choices=orders, default=orders[0], help="what ranks rows")
    add_crop_factor_option(parser, names_in("geometry.boxes", "CROP_FACTOR"))
    add_device_option(parser)
    add_workers_option(parser)
    add_overwrite_option(parser)


def run(options: argparse.Namespace) -> int:
    models = tuple(options.model)
    check_outputs([options.report, options.list], [options.file, *models], overwrite=options.overwrite)
    from trackertraincode.evaluation.html_report import write_report
    from trackertraincode.evaluation.predictor import choose_device
    from trackertraincode.files import whole_file
    from trackertraincode.labelling.review import ReviewOptions, review
    from trackertraincode.labelling.review_page import review_sections

    device = choose_device(options.device)
    settings = ReviewOptions(
        models=models, device=device, factor=options.roi_expansion, order=options.order, count=options.count
    )
    given = options.workers if device == "cpu" else 0
    found = review(options.file, settings, choose_workers(given, options.scheduler, [options.file, *models]))
    write_report(options.report, f"Review of {options.file.name}", review_sections(found))
    if options.list is not None:
        lines = [f"{c.row}  # {', '.join(f'{n} {v:.1f}' for n, v in c.values.items())}\n" for c in found.ranked]
        with whole_file(options.list) as path:
            path.write_text(
                f"# rows of {options.file.name}, worst first\n{''.join(lines)}",
                encoding="utf-8",
                errors="backslashreplace",
            )
    print(f"{options.report}: {len(found.ranked)} of {len(found.compared)} rows, ranked by {options.order}")
    if found.skipped:
        print(f"  {len(found.skipped)} can't be compared, such as {found.skipped[0]}")
    return 0
