"""Convert WFLW to sample files: one for training, one for testing."""

from trackertraincode.cli import run_main
from trackertraincode.conversion.table import main_of

main = main_of("wflw")

if __name__ == "__main__":
    run_main(main)
