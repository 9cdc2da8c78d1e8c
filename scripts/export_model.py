"""Export a checkpoint to ONNX, compare it with the network and check OpenTrack's contract.

python scripts/export_model.py runs/a/swa.ckpt                   writes runs/a/swa.onnx, for OpenTrack
python scripts/export_model.py runs/a/swa.ckpt --full            every output, any number of crops, for other tools
"""

import argparse
from pathlib import Path

from trackertraincode.cli import run_main
from trackertraincode.errors import ModelFileError
from trackertraincode.export.contract import opentrack_faults
from trackertraincode.export.onnx import MAX_DIFFERENCE, export_full, export_opentrack
from trackertraincode.models.checkpoint import load_network


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help=".ckpt of a pose network")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--opentrack", action="store_true", help="for OpenTrack's NeuralNet tracker (default)")
    kind.add_argument("--full", action="store_true", help="every output, any number of crops")
    parser.add_argument("--output", type=Path, metavar="FILE", help="default: beside the checkpoint")
    options = parser.parse_args()

    network, about = load_network(options.checkpoint)
    suffix = "_full.onnx" if options.full else ".onnx"
    path = options.output or options.checkpoint.with_name(options.checkpoint.stem + suffix)
    export = export_full if options.full else export_opentrack
    difference = export(network, path, about)
    print(
        f"{path}: {path.stat().st_size / 1e6:.1f} MB, differs from the network by {difference:.1e} (limit {MAX_DIFFERENCE:g})"
    )
    if not options.full:
        faults = opentrack_faults(path)
        if faults:
            raise ModelFileError(f"{path}: OpenTrack would not run it: " + "; ".join(faults))
        print("OpenTrack's contract: fulfilled")
    return 0


if __name__ == "__main__":
    run_main(main)
