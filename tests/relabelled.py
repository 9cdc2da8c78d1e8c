"""Sample files with other labels."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset, PoseWriter


def lean(samples: Path, path: Path, **changes: Any) -> Path:
    """A copy of a sample file with labels changed: name -> value for all rows, None, or a function of the row and value."""
    dataset = Hdf5PoseDataset(samples)
    with PoseWriter(path, source={}, face_model=dataset.face_model) as writer:
        for row, sample in enumerate(dataset):
            new = {n: v(row, getattr(sample, n)) if callable(v) else v for n, v in changes.items()}
            writer.write(replace(sample, **new))
    return path
