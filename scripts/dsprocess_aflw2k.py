"""Convert AFLW2000-3D to a sample file.

python scripts/dsprocess_aflw2k.py AFLW2000-3D.zip $DATADIR/aflw2k.h5
python scripts/dsprocess_aflw2k.py AFLW2000-3D.zip $DATADIR/aflw2k_closedeyes.h5 --close-eyes
"""

from trackertraincode.cli import add_face_model_option, run_main
from trackertraincode.conversion.aflw2k import make_source
from trackertraincode.conversion.run import converter_parser, run_converter


def main() -> int:
    parser = converter_parser(__doc__, "AFLW2000-3D.zip, or the folder it was unpacked to")
    add_face_model_option(parser)
    parser.add_argument(
        "--close-eyes", action="store_true", help="draw the upper lids over all visible eyes, for aflw2k3d-closedeyes"
    )
    options = parser.parse_args()
    source = make_source(options.source, options.face_model, options.close_eyes)
    return run_converter(options, "dsprocess_aflw2k", source)


if __name__ == "__main__":
    run_main(main)
