"""Convert INRIA Pointing'04 (Head Pose Image Database) to a sample file."""

from trackertraincode.cli import run_main
from trackertraincode.conversion.table import main_of

main = main_of("pointing04")

if __name__ == "__main__":
    run_main(main)
