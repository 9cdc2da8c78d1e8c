"""Convert the BIWI Kinect head pose database, or FSA-Net's BIWI_done.npz, to a sample file.

python scripts/dsprocess_biwi.py kinect_head_pose_db.zip $DATADIR/biwi-v3.h5 --opal-annotation biwi_ann.txt
"""

import argparse
from pathlib import Path

from trackertraincode.cli import run_main
from trackertraincode.conversion import biwi, biwi_fsanet
from trackertraincode.conversion.run import Source, converter_parser, run_converter
from trackertraincode.errors import ConfigError


def main() -> int:
    parser = converter_parser(__doc__, "zip file or folder of the database, or BIWI_done.npz")
    parser.add_argument(
        "--opal-annotation",
        type=Path,
        metavar="FILE",
        help="biwi_ann.txt of opal23_headpose: its frames and boxes, instead of boxes from the face detector MTCNN",
    )
    parser.add_argument(
        "--published-projection",
        action="store_true",
        help="project at 65 degrees, as the published script did, instead of with the intrinsics of rgb.cal",
    )
    options = parser.parse_args()
    return run_converter(options, "dsprocess_biwi", make_source(options))


def make_source(options: argparse.Namespace) -> Source:
    """The converter for the kind of source. Raises ConfigError for options that don't fit it."""
    if not biwi_fsanet.is_fsanet(options.source):
        return biwi.make_source(options.source, options.opal_annotation, options.published_projection)
    if options.opal_annotation is not None or options.published_projection:
        raise ConfigError(f"{options.source}: has crops; --opal-annotation and --published-projection don't fit.")
    return biwi_fsanet.make_source(options.source)


if __name__ == "__main__":
    run_main(main)
