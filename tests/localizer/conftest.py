"""Sample files for the localizer."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from trackertraincode.datasets.dshdf5pose import PoseWriter
from trackertraincode.sample.images import encode_png
from trackertraincode.sample.sample import Sample


@pytest.fixture
def write() -> Callable[..., Path]:
    return write_images


def write_images(path: Path, flags: list[bool], **changes: object) -> Path:
    """A file of dark images, each with a white box where its face is said to be."""
    with PoseWriter(path, source={"converter": "test"}) as writer:
        for flag in flags:
            image = np.full((120, 160), 40, np.uint8)
            image[30:70, 60:90] = 250 if flag else 40
            box = np.array([60, 30, 90, 70], np.float32)
            writer.write(Sample(**({"image": encode_png(image), "face_box": box, "has_face": flag} | changes)))  # type: ignore[arg-type]
    return path
