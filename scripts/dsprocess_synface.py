"""Convert Microsoft's FaceSynthetics to a sample file.

python scripts/dsprocess_synface.py dataset_100000.zip $DATADIR/microsoft_synface_100000-v1.1.h5
"""

import argparse

from trackertraincode.cli import run_main
from trackertraincode.conversion.run import converter_parser, run_converter
from trackertraincode.conversion.synface import make_source


def main() -> int:
    parser = converter_parser(__doc__, "dataset_100000.zip, or the folder it was unpacked to")
    parser.add_argument(
        "--segmentation",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="store the label images, about 6 KB per face",
    )
    options = parser.parse_args()
    return run_converter(options, "dsprocess_synface", make_source(options.source, options.segmentation))


if __name__ == "__main__":
    run_main(main)
