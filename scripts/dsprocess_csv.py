"""Convert your own pictures, with labels in a CSV file, to a sample file.

python scripts/dsprocess_csv.py my_faces/labels.csv $DATADIR/my_faces.h5
"""

from trackertraincode.cli import run_main
from trackertraincode.conversion.csv_labels import COLUMNS_HELP, make_source
from trackertraincode.conversion.run import converter_parser, run_converter


def main() -> int:
    parser = converter_parser(
        f"{__doc__}\n{COLUMNS_HELP}", "CSV file, or a folder or zip file that holds one beside the pictures"
    )
    options = parser.parse_args()
    return run_converter(options, "dsprocess_csv", make_source(options.source))


if __name__ == "__main__":
    run_main(main)
