"""A small synthetic data set, and runs on it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from trackertraincode.conversion.synthetic import write_faces
from trackertraincode.rendering.generate import Request
from trackertraincode.training.config import TrainConfig
from trackertraincode.training.options import TrainRequest
from trackertraincode.training.run import train


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with 300wlp.h5 and aflw2k.h5, 96 and 40 synthetic faces."""
    folder = tmp_path_factory.mktemp("faces")
    write_faces(Request(96, 96, 1, "hdf5"), folder / "300wlp.h5", 0)
    write_faces(Request(40, 96, 2, "hdf5"), folder / "aflw2k.h5", 0)
    return folder


@pytest.fixture
def run(faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """run(name, **options): trains a tiny network in this process, returns the folder."""
    monkeypatch.setenv("DATADIR", str(faces))

    def start(name: str = "run", *, resume: bool = False, **options: object) -> Path:
        values: dict = {
            "ds": "300wlp", "backbone": "repvgg_az", "width": 0.5, "input_size": 33, "epochs": 3, "samples_per_epoch": 32,
            "batchsize": 16, "workers": 0, "onnx": False, "save_plot": False, "tensorboard": False, "draw_every": 0,
            "device": "cpu", "val_fraction": 0.2, "outdir": tmp_path / name, "validate_every": "1", "save_every": "1",
        }  # fmt: skip
        return train(TrainRequest(TrainConfig.of(**(values | options)), resume))

    return start
