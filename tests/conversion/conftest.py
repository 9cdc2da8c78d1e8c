"""What tests of converters share."""

from pathlib import Path

import pytest
from biwi_frames import Frames

from trackertraincode.conversion.synthetic import write_faces
from trackertraincode.rendering.generate import Request


@pytest.fixture(scope="session")
def frames(shared_data: Path) -> Frames:
    return Frames(shared_data / "biwi")


@pytest.fixture(scope="session")
def annotation(shared_data: Path) -> Path:
    return shared_data / "biwi" / "biwi_ann.txt"


@pytest.fixture(scope="session")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with small synthetic archives in both layouts."""
    folder = tmp_path_factory.mktemp("archives")
    write_faces(Request(9, 96, 1, "300wlp"), folder / "300W-LP.zip", 0)
    write_faces(Request(6, 96, 2, "aflw2k"), folder / "AFLW2000-3D.zip", 0)
    return folder
