"""What tests of crops share."""

from collections.abc import Callable
from pathlib import Path

import pytest
from kept_crops import make_member

from trackertraincode.datasets.mixing import Member
from trackertraincode.sample.sample import Sample


@pytest.fixture
def member(tmp_path: Path, make_sample: Callable[..., Sample]) -> Member:
    return make_member(tmp_path / "faces.h5", make_sample)
