"""Convert 300W-LP to a sample file.

python scripts/dsprocess_300wlp.py 300W-LP.zip $DATADIR/300wlp.h5
"""

import argparse

from trackertraincode.cli import add_face_model_option, run_main
from trackertraincode.conversion.run import converter_parser, run_converter
from trackertraincode.conversion.w300lp import POSES, make_source


def main() -> int:
    parser = converter_parser(__doc__, "300W-LP.zip, or the folder it was unpacked to")
    add_face_model_option(parser)
    parser.add_argument("--subset", choices=POSES, default="both", help="original pictures, large poses, or both")
    parser.add_argument(
        "--reconstruct-head-bbox",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="box round the posed face mesh, forehead to chin, instead of round the landmarks",
    )
    options = parser.parse_args()
    source = make_source(options.source, options.face_model, options.subset, options.reconstruct_head_bbox)
    return run_converter(options, "dsprocess_300wlp", source)


if __name__ == "__main__":
    run_main(main)
