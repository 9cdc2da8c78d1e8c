"""The table of docs/speed.md: what each work costs, beside the least that it could cost, all measured in one run.

    python benchmarks/speed.py [--aflw2k AFLW2000-3D.zip] [--output docs/speed.md]

The archive's images are read as they are, in the layout of 300W-LP, and converted; without it, synthetic faces are made.
Takes a quarter of an hour; 10 million rows need 0.7 GB of disk.
"""

import argparse
import io
import platform
import tempfile
import zipfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import NamedTuple

import bench_conversion
import bench_loader
import bench_scale
import bench_training
import cv2
import numpy as np
import torch
from scipy.io import savemat

from trackertraincode.cli import run_main
from trackertraincode.conversion import aflw2k, w300lp
from trackertraincode.conversion.archive import Archive
from trackertraincode.conversion.matfile import numbers, read_mat
from trackertraincode.conversion.run import ConvertOptions, run_converter
from trackertraincode.conversion.synthetic import write_faces
from trackertraincode.files import whole_file
from trackertraincode.rendering.generate import Request
from trackertraincode.workers import usable_cores, use_one_thread

FACES, EDGE = 1600, 450  # synthetic ones, pixels
ROWS = (1_000, 100_000, 1_000_000, 10_000_000)
BATCH, CROP, ROUNDS = 64, 129, 5
ON_A_GPU = """
## On a GPU

- `python -m pytest tests/training/test_gpu.py -v --durations=0`: no step waits for the device, runs end with files that
  work, batches and steps are those of a CPU.
- `python benchmarks/bench_gpu.py --aflw2k AFLW2000-3D.zip`: samples per second, beside the same loop fed one constant
  batch, and errors on both devices.

What was measured so is told in [Results](results.md#on-a-gpu)."""


class Row(NamedTuple):
    """Microseconds of processor time per sample."""

    work: str
    before: str  # of the published code
    now: float
    floor: float | None
    floor_is: str


def as_300wlp(source: Path, destination: Path) -> None:
    """The images of AFLW2000-3D in the layout of 300W-LP."""
    archive = Archive(source)
    with zipfile.ZipFile(destination, "w") as written:
        for stem in (name[:-4] for name in archive.names if name.endswith(".jpg")):
            mat, place = archive.read(f"{stem}.mat"), f"AFW/{Path(stem).name}_0"
            points = numbers(read_mat(mat, stem, ("pt3d_68",)), stem, "pt3d_68", (3, 68))[:2].T
            landmarks = io.BytesIO()
            savemat(landmarks, {"pts_2d": points}, do_compression=True)
            written.writestr(f"300W_LP/{place}.jpg", archive.read(f"{stem}.jpg"))
            written.writestr(f"300W_LP/{place}.mat", mat)
            written.writestr(f"300W_LP/landmarks/{place}_pts.mat", landmarks.getvalue())


def measured(files: argparse.Namespace, folder: Path) -> Iterator[Row]:
    """All rows but those of large data sets."""
    data = folder / "faces.h5"
    archives = {"aflw2k": files.aflw2k or folder / "aflw2k.zip", "300wlp": folder / "300wlp.zip"}
    if files.aflw2k is not None:
        as_300wlp(files.aflw2k, archives["300wlp"])
        convert = ConvertOptions(source=files.aflw2k, destination=data, workers=usable_cores())
        run_converter(convert, "speed", aflw2k.make_source(files.aflw2k, None))
    for layout, path in {"hdf5": data, **archives}.items():
        if not path.exists():
            write_faces(Request(FACES, EDGE, 0, layout), path, usable_cores())
    batches, plain = bench_loader.open_batches(data, folder)
    whole, bare = bench_loader.compare(batches, plain)
    yield Row("training batch, all labels and tables", "10,300", whole, bare, "decode and warp")
    batches, plain = bench_loader.open_batches(data, folder, "disk", deferred=True)
    cached, _ = bench_loader.compare(batches, plain)
    yield Row("the same with `--cache disk`, tables left to the device", "", cached, None, "")
    sources = {
        "AFLW2000-3D": (archives["aflw2k"], "91,000 to 143,000", aflw2k.make_source(archives["aflw2k"], None)),
        "300W-LP": (archives["300wlp"], "8,700 to 10,400", w300lp.make_source(archives["300wlp"], None, "both", False)),
    }
    for name, (archive, before, source) in sources.items():
        whole, bare = bench_conversion.compare(name, archive, source, folder)
        yield Row(f"conversion of {name}", before, whole, bare, "read and decode in colour")
    for backbone, before in (("mobilenetv1", "30,000 to 36,000"), ("resnet18", "37,500 to 43,700")):
        seconds = bench_training.compare(bench_training.make_steps(backbone, BATCH, CROP), ROUNDS)
        ours, bare = (1e6 * seconds[kind][1] / BATCH for kind in ("ours", "bare"))
        yield Row(f"training step, {backbone}", before, ours, bare, "the same backbone with linear heads")


def page(rows: list[Row], costs: list[bench_scale.Cost], of: str) -> str:
    """In Markdown. of: what was measured on."""
    lines = [
        "# Speed",
        "",
        f"What `make bench` measured on {date.today()}: one process, one thread, processor time, medians of turns with the "
        f"floor; {platform.processor() or platform.machine()}, {usable_cores()} cores, Python {platform.python_version()}, "
        f"torch {torch.__version__}, OpenCV {cv2.__version__}, NumPy {np.__version__}; {of}; start-up is left out. Moments "
        "differ by a quarter, ratios of one run by a tenth. Before: the published code, once, on the same kind of machine. "
        "It took boxes from the BFM; here, those of AFLW2000-3D come from the embedded head. "
        "Conversions also look for damage in each image, which takes half as long as decoding it.",
        "",
        "| µs per sample | before | now | floor | floor / now | the floor is |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        floor, share = ("", "") if row.floor is None else (f"{row.floor:,.0f}", f"{row.floor / row.now:.0%}")
        lines.append(f"| {row.work} | {row.before} | {row.now:,.0f} | {floor} | {share} | {row.floor_is} |")
    lines += [
        "",
        "What the size of a data set costs, with labels as they are and tiny images; an epoch is 10,240 samples in batches "
        "of 64, memory is what a process doesn't share:",
        "",
        "| rows | opening, s | plan of an epoch, ms | an epoch, s | memory, MB |",
        "|---|---|---|---|---|",
        *(f"| {c.rows:,} | {c.opening:.3f} | {c.plan:.1f} | {c.epoch:.2f} | {c.memory:.0f} |" for c in costs),
        "",
        "Each of `benchmarks/bench_*.py` measures one thing more closely; [Results](results.md) has what they found.",
        ON_A_GPU,
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--aflw2k", type=Path, help="AFLW2000-3D.zip")
    parser.add_argument("--output", type=Path, default=Path("docs/speed.md"))
    options = parser.parse_args()
    use_one_thread()
    with tempfile.TemporaryDirectory() as folder:
        rows = []
        for row in measured(options, Path(folder)):
            print(row, flush=True)
            rows.append(row)
        costs = list(bench_scale.costs(ROWS, Path(folder)))
    synthetic = f"synthetic faces of {EDGE} pixels"
    of = synthetic if options.aflw2k is None else f"{options.aflw2k.name}, also in the layout of 300W-LP"
    with whole_file(options.output) as temporary:
        temporary.write_text(page(rows, costs, of), encoding="utf-8")
    print(f"{options.output}: written")
    return 0


if __name__ == "__main__":
    run_main(main)
