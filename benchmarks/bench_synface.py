"""Speed of the FaceSynthetics converter next to its codec: a loop that only decodes PNG files and encodes JPEG files.

    python benchmarks/bench_synface.py [--archive dataset_100000.zip] [-n 600] [--workers 2]

The loop is OpenCV's own calls, in as many processes, on the same members; the JPEG bytes are dropped. It runs once with
the images alone and once with the label images decoded as well, which the converter can't do without: boxes come from
them. Without an archive, one of synthetic faces of 512 × 512 pixels is made first.
Rounds alternate and their medians are compared, since machines change their speed. Where other programs take turns on
the cores, trust the shares of processor time, of all processes together.
"""

import argparse
import contextlib
import io
import os
import statistics
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from trackertraincode.arguments import non_negative_int, positive_int
from trackertraincode.cli import run_main
from trackertraincode.conversion.archive import open_archive
from trackertraincode.conversion.run import ConvertOptions, run_converter
from trackertraincode.conversion.synface import make_source
from trackertraincode.rendering.generate import Request, make_face
from trackertraincode.sample.images import decode, encode_png
from trackertraincode.workers import map_in_order

DIFFERENT_FACES = 24  # drawn; the others repeat them
ROUNDS = 5


def write_archive(path: Path, count: int, workers: int) -> None:
    """Synthetic faces in FaceSynthetics' layout."""
    drawn = []
    faces = range(min(count, DIFFERENT_FACES))
    for face in map_in_order(partial(make_face, Request(len(faces), 512, 0, "hdf5")), faces, workers):
        sample = face.sample
        assert isinstance(sample.image, bytes)
        assert isinstance(sample.segmentation, bytes)
        assert sample.landmarks_2d is not None
        points = [*sample.landmarks_2d, *sample.landmarks_2d[:2]]
        text = "".join(f"{x:.4f} {y:.4f}\n" for x, y in points)
        drawn.append((encode_png(decode(sample.image, color=True)), sample.segmentation, text))
    with zipfile.ZipFile(path, "w") as archive:
        for index in range(count):
            image, labels, text = drawn[index % len(drawn)]
            archive.writestr(f"{index:06d}.png", image)
            archive.writestr(f"{index:06d}_seg.png", labels)
            archive.writestr(f"{index:06d}_ldmks.txt", text, zipfile.ZIP_DEFLATED)


def transcode(archive: Path, with_labels: bool, stems: Sequence[str]) -> None:
    """The least that any converter must do."""
    opened = open_archive(archive)
    for stem in stems:
        image = cv2.imdecode(np.frombuffer(opened.read(f"{stem}.png"), np.uint8), cv2.IMREAD_COLOR)
        assert image is not None
        cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])
        if with_labels:
            cv2.imdecode(np.frombuffer(opened.read(f"{stem}_seg.png"), np.uint8), cv2.IMREAD_UNCHANGED)


def run_codec(archive: Path, stems: Sequence[str], workers: int, with_labels: bool) -> None:
    work = partial(transcode, archive, with_labels)
    if workers == 0:
        work(stems)
        return
    chunks = [stems[i : i + 16] for i in range(0, len(stems), 16)]
    with ProcessPoolExecutor(workers) as pool:
        list(pool.map(work, chunks))


def run_conversion(archive: Path, folder: Path, count: int, workers: int) -> None:
    options = ConvertOptions(source=archive, destination=folder / "out.h5", count=count, workers=workers, strict=True)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        run_converter(options, "bench_synface", make_source(archive, segmentation=True))


def measure(action: Callable[[], None]) -> tuple[float, float]:
    """Seconds on the clock, and of the processors, those of finished child processes included."""
    start, busy = time.perf_counter(), sum(os.times()[:4])
    action()
    return time.perf_counter() - start, sum(os.times()[:4]) - busy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archive", type=Path, help="dataset_100000.zip, or the folder it was unpacked to")
    parser.add_argument("-n", type=positive_int, default=600, help="images to convert")
    parser.add_argument("--workers", type=non_negative_int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        archive: Path = options.archive or folder / "synface.zip"
        if options.archive is None:
            write_archive(archive, options.n, options.workers)
        stems = make_source(archive, segmentation=True).items[: options.n]
        actions: dict[str, Callable[[], None]] = {
            "decode and encode images": partial(run_codec, archive, stems, options.workers, False),
            "and decode label images": partial(run_codec, archive, stems, options.workers, True),
            "converter": partial(run_conversion, archive, folder, options.n, options.workers),
        }
        taken: dict[str, list[tuple[float, float]]] = {label: [] for label in actions}
        for _ in range(ROUNDS):
            for label, action in actions.items():
                taken[label].append(measure(action))
    clock, busy = ({label: statistics.median(t[i] for t in times) for label, times in taken.items()} for i in (0, 1))
    print(f"{options.workers} processes                  samples/s, converter relative to it: clock, processor time")
    for label in actions:
        shares = [times[label] / times["converter"] for times in (clock, busy)]
        print(f"{label:>28}: {len(stems) / clock[label]:6.0f}{shares[0]:30.0%}{shares[1]:8.0%}")


if __name__ == "__main__":
    run_main(main)
