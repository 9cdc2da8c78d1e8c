"""Training samples per second: crops with all labels and full augmentation, from a sample file.

    python benchmarks/bench_loader.py [FILE.h5] [--workers 2]

Without a file, synthetic faces are made. Beside it stands what decoding alone costs, with the same workers.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from torch.utils.data import DataLoader, Dataset

from trackertraincode.augmentation.loader import EpochSampler, TrainBatches, checked, make_loader
from trackertraincode.augmentation.presets import AugmentationOptions
from trackertraincode.cli import run_main
from trackertraincode.conversion.synthetic import write_faces
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.datasets.mixing import Member
from trackertraincode.rendering.generate import Request
from trackertraincode.sample.images import decode
from trackertraincode.sample.sample import LABELS


class DecodeOnly(Dataset):
    """The same images, decoded and thrown away."""

    def __init__(self, batches: TrainBatches) -> None:
        self._batches = batches
        self._dataset = batches.members[0].dataset

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, request: tuple[int, int]) -> int:
        epoch, step = request
        rows = np.random.default_rng([epoch, step]).integers(0, len(self._dataset), self._batches.batchsize)
        return sum(decode(data).shape[0] for data in self._dataset.images(rows))


def samples_per_second(loader: DataLoader, samples: int) -> float:
    for _ in loader:  # starts the workers
        break
    start = time.perf_counter()
    for item in loader:
        if not isinstance(item, int):
            checked(item)
    return samples / (time.perf_counter() - start)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, nargs="?")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--samples", type=int, default=6400)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = options.file or Path(folder) / "faces.h5"
        if options.file is None:
            write_faces(Request(400, 256, 0, "hdf5"), path, options.workers)
        dataset = Hdf5PoseDataset(path)
        member = Member("bench", dataset, np.arange(len(dataset)), 1.0, tuple(LABELS))
        batches = TrainBatches(
            [member],
            AugmentationOptions().training_preset(),
            batchsize=64,
            samples_per_epoch=options.samples,
            seed=0,
            face_model=dataset.face_model,
        )
        count = len(batches) * batches.batchsize
        loader = make_loader(batches, options.workers)
        decoding: DataLoader = DataLoader(
            DecodeOnly(batches),
            batch_size=None,
            sampler=EpochSampler(len(batches), lambda: 0),
            num_workers=options.workers,
        )
        rounds = [(samples_per_second(loader, count), samples_per_second(decoding, count)) for _ in range(3)]
    full, decoded = (float(np.median(column)) for column in zip(*rounds))
    print(f"{path.name}, {options.workers} workers: {full:.0f} samples/s with full augmentation")
    print(f"decoding alone: {decoded:.0f} samples/s; the loader reaches {full / decoded:.0%} of it")
    return 0


if __name__ == "__main__":
    run_main(main)
