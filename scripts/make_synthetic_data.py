"""Render synthetic faces with exact labels: a sample file, or an archive in the layout of a public data set.

python scripts/make_synthetic_data.py faces.h5 -n 2000
python scripts/make_synthetic_data.py 300W-LP.zip -n 2000 --format 300wlp
"""

import argparse
from pathlib import Path

from trackertraincode.cli import add_workers_option, positive_int, run_main
from trackertraincode.conversion.synthetic import write_faces
from trackertraincode.rendering.generate import FORMATS, Request
from trackertraincode.workers import default_workers


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("destination", type=Path, help="file to write: .h5, or .zip for archives")
    parser.add_argument("-n", "--count", type=positive_int, default=1000, help="number of faces (default 1000)")
    parser.add_argument("--size", type=positive_int, default=256, help="edge of the pictures, pixels (default 256)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same faces (default 0)")
    parser.add_argument("--format", choices=FORMATS, default="hdf5", help="what to write (default hdf5)")
    add_workers_option(parser)
    options = parser.parse_args()
    workers = default_workers() if options.workers is None else options.workers
    request = Request(options.count, options.size, options.seed, options.format)
    write_faces(request, options.destination, workers)
    print(f"{options.destination}: {options.count} faces, seed {options.seed}")
    return 0


if __name__ == "__main__":
    run_main(main)
