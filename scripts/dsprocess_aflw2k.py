"""Convert AFLW2000-3D to a sample file."""

from trackertraincode.cli import run_main
from trackertraincode.conversion.table import main_of

main = main_of("aflw2k")

if __name__ == "__main__":
    run_main(main)
