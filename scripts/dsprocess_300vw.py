"""Convert 300VW to a sample file.

python scripts/dsprocess_300vw.py 300VW_Dataset.zip $DATADIR/300vw.h5
"""

import argparse

from trackertraincode.cli import run_main
from trackertraincode.conversion.run import converter_parser, run_converter
from trackertraincode.conversion.w300vw import make_source


def main() -> int:
    parser = converter_parser(__doc__, "300VW's zip file, or the folder it was unpacked to")
    parser.add_argument(
        "--mtcnn",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="take the face detector's boxes where they overlap the landmarks (needs the extra [convert])",
    )
    options = parser.parse_args()
    return run_converter(options, "dsprocess_300vw", make_source(options.source, options.mtcnn))


if __name__ == "__main__":
    run_main(main)
