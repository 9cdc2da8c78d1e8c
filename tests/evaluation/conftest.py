"""Rendered faces as AFLW2000-3D, and a tiny network, for tests of evaluation."""

from pathlib import Path

import numpy as np
import pytest
import torch
from relabelled import lean

from trackertraincode.conversion.synthetic import write_faces
from trackertraincode.facemodel.embedded import embedded_head
from trackertraincode.models.about import About
from trackertraincode.models.checkpoint import save_network
from trackertraincode.models.pose_network import NetworkConfig, build_network
from trackertraincode.rendering.generate import Request


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_faces(Request(70, 96, 5, "hdf5"), folder / "rendered.h5", 0)
    return lean(folder / "rendered.h5", folder / "aflw2k.h5", stored_angles=np.zeros(3, np.float32))


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "tiny.ckpt"
    config = NetworkConfig(backbone="repvgg_az", width=0.5, input_size=33, uncertainty=True)
    save_network(path, build_network(config, embedded_head()), About(training_files=["other.h5"]))
    return path
