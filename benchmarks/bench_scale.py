"""What the number of rows costs: processor time of opening a data set, of an epoch's plan and of an epoch, and memory.

    python benchmarks/bench_scale.py [--rows 1000,100000,10000000] [--folder DIR]

Files are made of a few faces over and over: labels are written, references to the same images repeated, landmarks are holes
of a sparse file, so that 10 million rows need 0.7 GB of disk. Each number of rows is measured in a process of its own: memory
is what it doesn't share with others (RssAnon, on Linux).
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from trackertraincode.augmentation.loader import TrainBatches, checked
from trackertraincode.augmentation.presets import AugmentationOptions
from trackertraincode.cli import run_main
from trackertraincode.datasets.catalog import DatasetSpec, choose
from trackertraincode.datasets.dshdf5pose import PoseWriter
from trackertraincode.datasets.mixing import epoch_plan, open_mixture
from trackertraincode.sample.images import encode_jpeg
from trackertraincode.sample.sample import Sample

FACES, SAMPLES = 100, 10_240
BLOCK = 1 << 20  # rows that are written at once


def write_few(path: Path) -> None:
    """Plain grey with labels."""
    rng = np.random.default_rng(0)
    with PoseWriter(path, source={}, face_model="none") as writer:
        for _ in range(FACES):
            quat = rng.normal(size=4)
            image = encode_jpeg(np.full((129, 129), rng.integers(256), np.uint8))
            head, box = np.array([64.0, 64.0, 30.0]), np.array([30.0, 25.0, 95.0, 100.0])
            landmarks = rng.normal(64, 20, (68, 3))
            writer.write(
                Sample(image=image, rotation=quat / np.linalg.norm(quat), head=head, face_box=box, landmarks=landmarks)
            )


def repeat_rows(source: Path, path: Path, count: int) -> None:
    """A file of `count` rows with labels and images of the first one's."""
    with h5py.File(source) as file, h5py.File(path, "w", libver="latest") as output:
        images = output.create_dataset("few", data=file["images"][:], dtype=h5py.vlen_dtype(np.uint8), chunks=None)
        first = images.id.get_offset()
        starts = {}
        for name, dataset in file.items():
            if name not in ("images", "quats", "coords", "rois", "pt3d_68"):
                continue
            plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            plan.set_layout(h5py.h5d.CONTIGUOUS)
            plan.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
            if name != "images":
                plan.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
            space = h5py.h5s.create_simple((count, *dataset.shape[1:]))
            made = h5py.h5d.create(output.id, name.encode(), dataset.id.get_type(), space, plan)
            starts[name] = made.get_offset()
            if name != "images":
                values = dataset[:]
            if name in ("quats", "coords", "rois"):
                for start in range(0, count, BLOCK):
                    stop = min(start + BLOCK, count)
                    h5py.Dataset(made)[start:stop] = values[np.arange(start, stop) % len(values)]
        rows = len(images)
    with path.open("r+b") as raw:
        raw.seek(first)
        references = np.frombuffer(raw.read(16 * rows), "V16")
        raw.seek(starts["images"])
        for start in range(0, count, BLOCK):
            raw.write(references[np.arange(start, min(start + BLOCK, count)) % rows].tobytes())


class Cost(NamedTuple):
    """Of a number of rows."""

    rows: int
    opening: float  # seconds of processor time
    plan: float  # milliseconds, of an epoch of SAMPLES
    epoch: float  # seconds, of one process that makes all its batches of 64
    memory: float  # MB


def measure(path: Path) -> Cost:
    """In this process."""
    before = _memory()
    start = time.process_time()
    spec = DatasetSpec(file=str(path), weight=1.0, labels=("pose", "box"), made_by="bench")
    (member,), _ = open_mixture([choose("x", {"x": spec})], 0.02)
    opened = time.process_time() - start
    epoch_plan([member], SAMPLES, 0, 0)
    start = time.process_time()
    epoch_plan([member], SAMPLES, 0, 1)
    planned = time.process_time() - start
    batches = TrainBatches(
        [member],
        AugmentationOptions().training_preset(),
        batchsize=64,
        samples_per_epoch=SAMPLES,
        seed=0,
        face_model=None,
    )
    checked(batches[1, 0])
    start = time.process_time()
    for step in range(len(batches)):
        checked(batches[2, step])
    made = time.process_time() - start
    return Cost(len(member.dataset), opened, 1e3 * planned, made, _memory() - before)


def costs(counts: Iterable[int], folder: Path | None) -> Iterator[Cost]:
    """Of each number of rows, measured in a process of its own."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        source = Path(name) / "few.h5"
        write_few(source)
        for count in counts:
            path = Path(name) / f"{count}.h5"
            repeat_rows(source, path, count)
            command = [sys.executable, __file__, "--measure", str(path)]
            answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            path.unlink()
            yield Cost(*json.loads(answer))


def _memory() -> float:
    """MB that this process has for itself; 0 where the system doesn't tell."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    return sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="1000,100000,10000000")
    parser.add_argument("--folder", type=Path, help="for the files (default: one for temporary files)")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure is not None:
        print(json.dumps(measure(options.measure)), flush=True)
        return 0
    print(f"{'rows':>12} {'opening, s':>10} {'plan, ms':>10} {'epoch, s':>10} {'memory, MB':>10}", flush=True)
    for cost in costs(map(int, options.rows.split(",")), options.folder):
        print(
            f"{cost.rows:>12,} {cost.opening:>10.3f} {cost.plan:>10.1f} {cost.epoch:>10.2f} {cost.memory:>10.0f}",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    run_main(main)
