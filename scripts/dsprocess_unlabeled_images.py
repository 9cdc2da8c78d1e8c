"""Convert pictures and videos without labels to a sample file: every face that the detector finds, with its box."""

from trackertraincode.cli import run_main
from trackertraincode.conversion.table import main_of

main = main_of("unlabeled_images")

if __name__ == "__main__":
    run_main(main)
