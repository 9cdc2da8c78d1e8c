"""Conversions of small images that tell their number, for tests of the engine."""

from pathlib import Path
from typing import Any

import numpy as np

from trackertraincode.conversion.run import ConvertOptions
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.errors import ArchiveError
from trackertraincode.sample.images import encode_png
from trackertraincode.sample.sample import Sample


def make(number: int, fail_at: int | None = None, error: type[BaseException] = ArchiveError) -> list[Sample]:
    if number == fail_at:
        raise error(f"item {number}: broken")
    image = encode_png(np.full((8, 300), number % 256, np.uint8))  # as wide as the boxes
    return [
        Sample(
            image=image, name=f"item {number}", face_box=np.array([0, 0, number + 1, 5.0]), sequence=str(number // 10)
        )
    ]


def options(tmp_path: Path, **changes: Any) -> ConvertOptions:
    defaults: dict[str, Any] = {"source": tmp_path / "x.zip", "destination": tmp_path / "out.h5", "workers": 0}
    return ConvertOptions(**(defaults | changes))


def widths(path: Path) -> list[int]:
    return (Hdf5PoseDataset(path).labels["face_box"][:, 2] - 1).astype(int).tolist()


def note(seen: list[int], n: int) -> list[Sample]:
    """As `make`, and remembers what was asked for."""
    seen.append(n)
    return make(n)
