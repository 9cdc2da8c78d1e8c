"""Convert LaPa to a sample file.

python scripts/dsprocess_lapa.py LaPa.zip $DATADIR/lapa.h5
"""

import argparse

from trackertraincode.cli import run_main
from trackertraincode.conversion.lapa import SPLITS, make_source
from trackertraincode.conversion.run import converter_parser, run_converter


def main() -> int:
    parser = converter_parser(__doc__, "LaPa's zip file, or the folder it was unpacked to")
    parser.add_argument("--split", choices=("all", *SPLITS), default="all", help="which part (default: all)")
    parser.add_argument("--only-megaface", action="store_true", help="only pictures that come from MegaFace")
    parser.add_argument(
        "--mtcnn",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="take the face detector's boxes where they overlap the landmarks (needs the extra [convert])",
    )
    parser.add_argument(
        "--segmentation",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="store the label images",
    )
    options = parser.parse_args()
    source = make_source(options.source, options.split, options.only_megaface, options.mtcnn, options.segmentation)
    return run_converter(options, "dsprocess_lapa", source)


if __name__ == "__main__":
    run_main(main)
