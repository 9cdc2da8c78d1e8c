"""Training batches with all labels and full augmentation beside a loop that only decodes and warps the same images.

    python benchmarks/bench_loader.py [FILE.h5] [--workers 2] [--cache none|disk|ram]

Without a file, synthetic faces are made. First in one process, whose processor time is compared; the two take turns, and
medians are printed. Then samples per second with worker processes, once of whole batches, once of decoding and warping.
With --cache, batches come from kept crops; the loop stays as it is.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from torch.utils.data import DataLoader, Dataset

from trackertraincode.augmentation.batches import read_images
from trackertraincode.augmentation.cache_files import open_caches
from trackertraincode.augmentation.crop_cache import SIDES, Kept
from trackertraincode.augmentation.loader import DRAWN_STEPS, EpochSampler, TrainBatches, checked, make_loader
from trackertraincode.augmentation.presets import AugmentationOptions
from trackertraincode.augmentation.warp import Warp, warp_planned
from trackertraincode.cli import run_main
from trackertraincode.conversion.synthetic import write_faces
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.datasets.mixing import Member
from trackertraincode.rendering.generate import Request
from trackertraincode.sample.sample import LABELS
from trackertraincode.workers import start_worker, use_one_thread

ROUNDS, STEPS, BATCH = 5, DRAWN_STEPS, 64  # steps: those whose labels and maps are made at once


def plan(batches: TrainBatches, epoch: int, step: int) -> list[tuple[bytes, Warp]]:
    """Images of one batch, and how they become crops."""
    prepared = batches.prepared(epoch, step)
    return list(zip(read_images(batches.members, prepared.entries), prepared.warps))


class DecodeAndWarp(Dataset):
    """The images of an epoch, in memory, with their maps: decoded, warped and thrown away."""

    def __init__(self, batches: TrainBatches) -> None:
        self._size = batches.preset.size
        self._planned = [plan(batches, 0, step) for step in range(len(batches))]

    def __len__(self) -> int:
        return len(self._planned)

    def __getitem__(self, place: tuple[int, int]) -> int:
        return warp_all(self._planned[place[1]], self._size)


def warp_all(planned: list[tuple[bytes, Warp]], size: int) -> int:
    return sum(warp_planned(data, warp, size).shape[0] for data, warp in planned)


def processor_time(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def compare(batches: TrainBatches, plain: TrainBatches) -> tuple[float, float]:
    """Microseconds of processor time per sample, of batches and of decoding and warping alone."""
    taken = []
    for epoch in range(ROUNDS + 1):  # the first one warms up
        planned = [plan(plain, epoch, step) for step in range(STEPS)]
        whole = processor_time(lambda e=epoch: [len(checked(batches[e, step])) for step in range(STEPS)])  # type: ignore[misc]
        bare = processor_time(lambda p=planned: [warp_all(one, batches.preset.size) for one in p])  # type: ignore[misc]
        taken.append((whole, bare))
    whole, bare = 1e6 * np.median(taken[1:], axis=0) / (STEPS * batches.batchsize)
    return float(whole), float(bare)


def samples_per_second(loader: DataLoader, samples: int) -> float:
    for _ in loader:  # starts the workers
        break
    start = time.perf_counter()
    for item in loader:
        if not isinstance(item, int):
            checked(item)
    return samples / (time.perf_counter() - start)


def open_batches(
    path: Path, folder: Path, cache: str = "none", quality: str = "full", *, deferred: bool = False, samples: int = 6400,
    workers: int = 0,
) -> tuple[TrainBatches, TrainBatches]:  # fmt: skip
    """Batches of a file, and those of the same without kept crops, which go to `folder`."""
    dataset = Hdf5PoseDataset(path)
    member = Member("bench", dataset, np.arange(len(dataset)), 1.0, tuple(LABELS))
    preset = AugmentationOptions().training_preset(deferred=deferred)
    caches = []
    if cache != "none":
        caches = open_caches([member], Kept.of(preset, quality), folder, workers, ram=cache == "ram")
    batches, plain = (
        TrainBatches(
            [member],
            preset,
            batchsize=BATCH,
            samples_per_epoch=samples,
            seed=0,
            face_model=dataset.face_model,
            caches=used,
        )
        for used in (caches, [])
    )
    return batches, plain


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, nargs="?")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--samples", type=int, default=6400)
    parser.add_argument("--cache", choices=("none", "disk", "ram"), default="none")
    parser.add_argument("--cache-quality", choices=tuple(SIDES), default="full")
    parser.add_argument("--deferred", action="store_true", help="uint8 crops, tables to be applied on the device")
    options = parser.parse_args()
    if options.samples < STEPS * BATCH:
        parser.error(f"--samples {options.samples}: at least {STEPS * BATCH}, the {STEPS} batches of a turn")
    use_one_thread()
    with tempfile.TemporaryDirectory() as folder:
        path = options.file or Path(folder) / "faces.h5"
        if options.file is None:
            write_faces(Request(400, 450, 0, "hdf5"), path, options.workers)
        batches, plain = open_batches(
            path, Path(folder), options.cache, options.cache_quality, deferred=options.deferred, samples=options.samples,
            workers=options.workers,
        )  # fmt: skip
        whole, bare = compare(batches, plain)
        print(f"{path.name}, --cache {options.cache}, one process, batches of {BATCH}, {batches.preset.size} pixels")
        print(f"  whole batches: {whole:.0f} µs of processor time per sample")
        print(f"  decoding and warping alone: {bare:.0f} µs; that is {bare / whole:.0%} of whole batches")
        if options.workers:
            count = len(batches) * batches.batchsize
            bare_loader: DataLoader = DataLoader(
                DecodeAndWarp(plain), batch_size=None, sampler=EpochSampler(len(plain), lambda: 0),
                num_workers=options.workers, worker_init_fn=start_worker, persistent_workers=True,
            )  # fmt: skip
            loader = make_loader(batches, options.workers)
            rates = [(samples_per_second(loader, count), samples_per_second(bare_loader, count)) for _ in range(3)]
            full, decoded = np.median(rates, axis=0)
            print(
                f"  {options.workers} workers: {full:.0f} samples/s of whole batches, {decoded:.0f} of decoding and warping"
            )
    return 0


if __name__ == "__main__":
    run_main(main)
