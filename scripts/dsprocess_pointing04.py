"""Convert INRIA Pointing'04 (Head Pose Image Database) to a sample file.

python scripts/dsprocess_pointing04.py HeadPoseImageDatabase $DATADIR/pointing04.h5
"""

from trackertraincode.cli import run_main
from trackertraincode.conversion.pointing04 import make_source
from trackertraincode.conversion.run import converter_parser, run_converter


def main() -> int:
    options = converter_parser(__doc__, "the folder HeadPoseImageDatabase, or a zip of it").parse_args()
    return run_converter(options, "dsprocess_pointing04", make_source(options.source))


if __name__ == "__main__":
    run_main(main)
