"""Convert the BIWI Kinect head pose database, or FSA-Net's BIWI_done.npz, to a sample file."""

from trackertraincode.cli import run_main
from trackertraincode.conversion.table import main_of

main = main_of("biwi")

if __name__ == "__main__":
    run_main(main)
