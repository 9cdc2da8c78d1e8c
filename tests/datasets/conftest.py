"""Sample files to test with: written by the library, and made by hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from conftest import write_samples
from trackertraincode.sample.images import encode_png
from trackertraincode.sample.sample import Sample


@pytest.fixture
def full_sample(make_sample: Callable[..., Sample]) -> Callable[[int], Sample]:
    """full_sample(seed): with a label image and a sequence of three; every second image is a PNG."""

    def make(seed: int) -> Sample:
        rng = np.random.default_rng(seed)
        changes: dict[str, Any] = {"segmentation": encode_png(rng.integers(0, 19, (80, 96), dtype=np.uint8))}
        if seed % 2:
            changes["image"] = encode_png(rng.integers(0, 255, (20, 30 + seed), dtype=np.uint8))
        return make_sample(seed, sequence=str(seed // 3), **changes)

    return make


@pytest.fixture
def write_file(tmp_path: Path) -> Callable[..., Path]:
    """write_file(samples, name="a.h5", **options of PoseWriter): the path of the file."""

    def write(samples: list[Sample], name: str = "a.h5", **options: Any) -> Path:
        return write_samples(tmp_path / name, samples, **options)

    return write


@pytest.fixture
def plain_file(tmp_path: Path) -> Callable[..., Path]:
    """plain_file(**data sets): a hand-made tiny.h5 with 4 images and poses; None leaves a data set out."""

    def make(**changes: Any) -> Path:
        rng = np.random.default_rng(0)
        quats = rng.normal(size=(4, 4))
        images = np.empty(4, object)
        images[:] = [np.frombuffer(encode_png(np.full((6, 6), i, np.uint8)), np.uint8) for i in range(4)]
        content = {
            "images": images,
            "quats": (quats / np.linalg.norm(quats, axis=1, keepdims=True)).astype("f4"),
            "coords": rng.uniform(10, 20, (4, 3)).astype("f4"),
        } | changes
        path = tmp_path / "tiny.h5"
        with h5py.File(path, "w") as file:
            for name, values in content.items():
                if values is not None:
                    is_image = getattr(values, "dtype", None) == np.dtype(object)
                    file.create_dataset(name, data=values, dtype=h5py.vlen_dtype(np.uint8) if is_image else None)
        return path

    return make
