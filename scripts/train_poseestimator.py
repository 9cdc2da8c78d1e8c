"""Train a pose network on data sets of the catalog.

python scripts/train_poseestimator.py --ds "repro_300_wlp+wflw_lp" --with-swa
python scripts/train_poseestimator.py --recipe sixd --ds 300wlp --val biwi --outdir runs/sixd
python scripts/train_poseestimator.py --resume --outdir runs/sixd
"""

from trackertraincode.cli import run_main
from trackertraincode.training.options import parse_options
from trackertraincode.training.run import train


def main() -> int:
    train(parse_options(None, __doc__))
    return 0


if __name__ == "__main__":
    run_main(main)
