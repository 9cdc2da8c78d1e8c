"""Train a pose network on data sets of the catalog.

ttc train --ds "repro_300_wlp+wflw_lp" --with-swa
ttc train --recipe sixd --ds 300wlp --val biwi --outdir runs/sixd
ttc train --resume --outdir runs/sixd
"""

import argparse


def add_options(parser: argparse.ArgumentParser) -> None:
    from trackertraincode.training.options import add_options as add

    add(parser)


def run(options: argparse.Namespace) -> int:
    from trackertraincode.training.options import read_options
    from trackertraincode.training.run import train

    train(read_options(options))
    return 0
