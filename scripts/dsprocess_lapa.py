"""Convert LaPa to a sample file."""

from trackertraincode.cli import run_main
from trackertraincode.conversion.table import main_of

main = main_of("lapa")

if __name__ == "__main__":
    run_main(main)
