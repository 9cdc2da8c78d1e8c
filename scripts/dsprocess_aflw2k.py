"""Convert AFLW2000-3D to a sample file.

python scripts/dsprocess_aflw2k.py AFLW2000-3D.zip $DATADIR/aflw2k.h5
"""

from trackertraincode.cli import add_face_model_option, run_main
from trackertraincode.conversion.aflw2k import make_source
from trackertraincode.conversion.run import converter_parser, run_converter


def main() -> int:
    parser = converter_parser(__doc__, "AFLW2000-3D.zip, or the folder it was unpacked to")
    add_face_model_option(parser)
    options = parser.parse_args()
    return run_converter(options, "dsprocess_aflw2k", make_source(options.source, options.face_model))


if __name__ == "__main__":
    run_main(main)
