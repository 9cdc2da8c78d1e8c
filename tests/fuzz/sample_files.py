"""What the library does with a sample file, or with several that a pattern names: each way in, whatever the others say."""

from pathlib import Path

import numpy as np

from trackertraincode.datasets.checks import check_file
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.datasets.statistics import describe, summarize
from trackertraincode.errors import SampleFormatError


def read_every_way(path: Path) -> None:
    """Raises the last refusal."""
    refusal = None
    for way in (_stream, _summarise, _check):
        try:
            way(path)
        except SampleFormatError as error:
            refusal = error
    if refusal is not None:
        raise refusal


def _stream(path: Path) -> None:
    with Hdf5PoseDataset(path, labels=()) as dataset:
        for _ in dataset.stream():
            pass
        dataset.images(np.random.default_rng(0).permutation(len(dataset)))


def _summarise(path: Path) -> None:
    describe(summarize(path))


def _check(path: Path) -> None:
    for fault in check_file(path):
        str(fault)
