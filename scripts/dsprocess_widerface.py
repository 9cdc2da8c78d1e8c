"""Convert WIDER FACE to a sample file for the localizer: pictures of one face, and of none.

python scripts/dsprocess_widerface.py FOLDER_WITH_THE_THREE_ZIP_FILES $DATADIR/widerfacessingle.h5
"""

from trackertraincode.cli import non_negative_int, positive_int, run_main
from trackertraincode.conversion.run import converter_parser, run_converter
from trackertraincode.conversion.widerface import make_source


def main() -> int:
    parser = converter_parser(
        __doc__, "folder with WIDER_train.zip, WIDER_val.zip and wider_face_split.zip, or what they unpack to"
    )
    parser.add_argument("--max-size", type=positive_int, default=640, metavar="PX", help="longest picture side stored")
    parser.add_argument("--seed", type=non_negative_int, default=123, metavar="N", help="of the random sections")
    options = parser.parse_args()
    return run_converter(options, "dsprocess_widerface", make_source(options.source, options.seed, options.max_size))


if __name__ == "__main__":
    run_main(main)
