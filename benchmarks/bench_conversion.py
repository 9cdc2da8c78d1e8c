"""Processor time per sample of the 300W-LP and AFLW2000-3D converters, beside reading and decoding the archive only.

    python benchmarks/bench_conversion.py [--aflw2k AFLW2000-3D.zip] [--face-model bfm_noneck_v3.pkl] [--workers 2]

Without archives, synthetic ones are made first. All in this process, start-up left out, medians of turns; with --workers,
samples per second are told, too.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from trackertraincode.arguments import positive_int
from trackertraincode.cli import run_main
from trackertraincode.conversion import aflw2k, w300lp
from trackertraincode.conversion.archive import Archive
from trackertraincode.conversion.run import ConvertOptions, Source, run_converter
from trackertraincode.conversion.synthetic import write_faces
from trackertraincode.rendering.generate import Request
from trackertraincode.sample.images import decode

ROUNDS = 3


def compare(name: str, archive: Path, source: Source, folder: Path) -> tuple[float, float]:
    """Microseconds of processor time per sample, of the conversion and of reading and decoding the images alone."""
    options = ConvertOptions(source=archive, destination=folder / f"{name}.h5", workers=0, overwrite=True)
    opened = Archive(archive)
    images = [n for n in opened.names if n.endswith(".jpg")]
    taken = []
    for _ in range(ROUNDS + 1):  # the first one warms up
        start = time.process_time()
        run_converter(options, name, source)
        middle = time.process_time()
        for image in images:
            decode(opened.read(image), color=True)
        taken.append(((middle - start) / len(source.items), (time.process_time() - middle) / len(images)))
    whole, bare = 1e6 * np.median(taken[1:], axis=0)
    return float(whole), float(bare)


def measure(name: str, archive: Path, source: Source, folder: Path, workers: int) -> None:
    whole, bare = compare(name, archive, source, folder)
    print(f"{name}: {whole:.0f} µs of processor time per sample; reading and decoding in colour alone: {bare:.0f} µs")
    if workers:
        options = ConvertOptions(source=archive, destination=folder / f"{name}.h5", workers=workers, overwrite=True)
        start = time.perf_counter()
        run_converter(options, name, source)
        print(f"  {workers} workers: {len(source.items) / (time.perf_counter() - start):.0f} samples/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--aflw2k", type=Path, help="AFLW2000-3D.zip")
    parser.add_argument("--w300lp", type=Path, help="300W-LP.zip")
    parser.add_argument("--face-model", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("-n", type=positive_int, default=1500, help="synthetic faces where an archive isn't given")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        archives = {"aflw2k": options.aflw2k, "300wlp": options.w300lp}
        for layout, given in archives.items():
            if given is None:
                archives[layout] = folder / f"{layout}.zip"
                write_faces(Request(options.n, 256, 0, layout), archives[layout], options.workers)
        source = w300lp.make_source(archives["300wlp"], options.face_model, "both", False)
        measure("300W-LP", archives["300wlp"], source, folder, options.workers)
        source = aflw2k.make_source(archives["aflw2k"], options.face_model)
        measure("AFLW2000-3D", archives["aflw2k"], source, folder, options.workers)


if __name__ == "__main__":
    run_main(main)
