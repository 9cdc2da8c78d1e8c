"""What a dask scheduler costs and bears, and from that how long large data sets take on many machines.

python benchmarks/bench_cluster.py --faces 256
python benchmarks/bench_cluster.py --open 100000       also: open a data set of so many rows, in one file and in 16
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product
from operator import neg
from pathlib import Path
from typing import Any

import numpy as np
from distributed import Client, LocalCluster
from tabulate import tabulate

from trackertraincode.cluster.client import Cluster
from trackertraincode.conversion.run import MOST_TASKS
from trackertraincode.conversion.synthetic import write_faces
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset, PoseWriter
from trackertraincode.files import shard_path
from trackertraincode.rendering.generate import FACES_PER_TASK, Request, make_face
from trackertraincode.workers import map_in_order

CORES = 16  # per node of the table
EMPTY = 1000  # tasks
HEADINGS = ("", "faces/s", "their processor time, ms per face", "scheduler and client, % of a core",
            "empty tasks/s, in order", "scheduler's limit, tasks/s")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=int, default=256, help="to render, 128 pixels")
    parser.add_argument("--workers", type=int, nargs="+", default=(1, 2, 4))
    parser.add_argument("--open", type=int, default=0, metavar="ROWS", help="measure opening a data set")
    options = parser.parse_args()
    request = Request(options.faces, 128, 0, "hdf5")
    with tempfile.TemporaryDirectory() as folder:
        faces = Path(folder) / "faces.h5"
        alone = seconds(partial(render, faces, request, 0), time.process_time)
        size = faces.stat().st_size / options.faces
        own = 1e3 * alone / options.faces
        rows: list[list[Any]] = [["this process alone", options.faces / alone, own, "", "", ""]]
        for workers in options.workers:
            with LocalCluster(
                n_workers=workers, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
            ) as local:
                address = local.scheduler_address
                warm(address, workers)
                before, start = processor_times(address), time.perf_counter()
                render(faces, request, None, address)
                wall = time.perf_counter() - start
                there, here = processor_times(address) - before
                times = 1e3 * there / options.faces, 100 * here / wall
                rows.append([f"{workers} workers", options.faces / wall, *times, *empty_tasks(address)])
        print(tabulate(rows, HEADINGS, floatfmt=(".0f", ".0f", ".1f", ".0f", ".0f", ".0f")), "\n")
        print_forecast(alone / options.faces, size, max(row[-1] for row in rows[1:]))
        if options.open:
            print_opening(Path(folder), options.open)


def processor_times(address: str) -> np.ndarray:
    """(2,) seconds: of all workers, and of this process, where scheduler and client are."""
    with Client(address) as client:
        return np.array([sum(client.run(time.process_time).values()), time.process_time()])


def empty_tasks(address: str) -> tuple[float, float]:
    """Per second: a few ahead as commands do, and all at once per second of this process, where the scheduler is, too."""
    in_order = EMPTY / seconds(lambda: list(map_in_order(neg, range(EMPTY), Cluster(address))))
    with Client(address) as client:
        some = seconds(lambda: client.gather(client.map(neg, range(EMPTY), pure=False)), time.process_time)
    return in_order, EMPTY / some


def seconds(function: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    start = clock()
    function()
    return clock() - start


def render(path: Path, request: Request, workers: int | None, scheduler: str | None = None) -> None:
    write_faces(request, path, workers, scheduler=scheduler)


def warm(address: str, workers: int) -> None:
    """Workers import and build what they need once."""
    request = Request(1, 32, 0, "hdf5")
    list(map_in_order(partial(make_face, request), [0] * (8 * workers), Cluster(address)))


def print_forecast(face: float, size: float, limit: float) -> None:
    """face: seconds on one core. size: bytes. limit: tasks per second of the scheduler."""
    rows = []
    for millions, nodes in product((1, 10, 100), (1, 16, 128)):
        faces = millions * 1e6
        work, tasks = faces * face / (nodes * CORES), min(MOST_TASKS, faces / FACES_PER_TASK) / limit
        share = tasks / max(work, tasks)
        disk = 2 * faces * size / 1e9
        rows.append([f"{millions} M", nodes, duration(max(work, tasks)), f"{share:.0%}", f"{disk:,.0f} GB"])
    print(f"rendering at {face * 1e3:.0f} ms per face and core, {CORES} cores per node, {size / 1e3:.0f} KB per face:")
    print(tabulate(rows, ("faces", "nodes", "time", "of the scheduler's limit", "disk with the journal")))


def duration(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"


def print_opening(folder: Path, rows: int) -> None:
    """Write rows of small images and all labels, and open them."""
    sample = make_face(Request(1, 32, 0, "hdf5"), 0).sample
    for count, path in ((1, folder / "joined.h5"), (16, folder / "part.h5")):
        for number in range(count):
            name = path if count == 1 else shard_path(path, number, count)
            with PoseWriter(name, source={}, face_model="embedded-v1") as writer:
                for row in np.array_split(np.arange(rows), count)[number].tolist():
                    writer.write(replace(sample, individual=row, sequence=None))
    for path in (folder / "joined.h5", folder / "part-*.h5"):
        best = min(seconds(lambda path=path: Hdf5PoseDataset(path)) for _ in range(3))  # type: ignore[misc]
        print(f"opening {rows:,} rows, {path.name}: {best:.2f} s")


if __name__ == "__main__":
    main()
