"""Convert 300VW to a sample file."""

from trackertraincode.cli import run_main
from trackertraincode.conversion.table import main_of

main = main_of("300vw")

if __name__ == "__main__":
    run_main(main)
