"""Convert WFLW to sample files: one for training, one for testing.

python scripts/dsprocess_wflw.py WFLW/ $DATADIR/wflw_train.h5
python scripts/dsprocess_wflw.py WFLW/ $DATADIR/wflw_test.h5 --split test
"""

from trackertraincode.cli import non_negative_int, run_main
from trackertraincode.conversion.run import converter_parser, run_converter
from trackertraincode.conversion.wflw import MIN_BOX_WIDTH, SPLITS, make_source


def main() -> int:
    parser = converter_parser(__doc__, "folder or zip file with WFLW_images and WFLW_annotations")
    parser.add_argument("--split", choices=SPLITS, default="train", help="which list of faces (default: train)")
    parser.add_argument(
        "--min-box-width",
        type=non_negative_int,
        default=MIN_BOX_WIDTH,
        metavar="PIXELS",
        help=f"leave out faces with narrower boxes (default: {MIN_BOX_WIDTH})",
    )
    options = parser.parse_args()
    source = make_source(options.source, options.split, options.min_box_width)
    return run_converter(options, "dsprocess_wflw", source)


if __name__ == "__main__":
    run_main(main)
