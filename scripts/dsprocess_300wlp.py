"""Convert 300W-LP to a sample file."""

from trackertraincode.cli import run_main
from trackertraincode.conversion.table import main_of

main = main_of("300wlp")

if __name__ == "__main__":
    run_main(main)
