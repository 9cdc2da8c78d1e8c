"""Convert WIDER FACE to a sample file for the localizer: pictures of one face, and of none."""

from trackertraincode.cli import run_main
from trackertraincode.conversion.table import main_of

main = main_of("widerface")

if __name__ == "__main__":
    run_main(main)
