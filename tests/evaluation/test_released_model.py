"""OpenTrack's released model has one error, whichever path its crops take; batches equal a loop over samples."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from conftest import run_script
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.evaluation import metrics
from trackertraincode.evaluation.evaluate import EvaluationOptions, Result, evaluate
from trackertraincode.evaluation.framing import SQUARE
from trackertraincode.evaluation.predictor import Ensemble, load_predictor
from trackertraincode.facemodel.embedded import embedded_head
from trackertraincode.models.about import About
from trackertraincode.models.checkpoint import save_network
from trackertraincode.models.onnx_model import OnnxPoseModel
from trackertraincode.models.pose_network import NetworkConfig, build_network
from trackertraincode.sample.images import decode
from trackertraincode.tracking import opentrack_client as client

PROTOCOL = "aflw2k3d-landmarks"
COUNT = 32


@pytest.fixture(scope="module")
def released(shared_data: Path) -> Path:
    return shared_data / "opentrack" / "head-pose-0.4-small-int8.onnx"


@pytest.fixture(scope="module")
def real(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("real") / "aflw2k.h5"
    archive = shared_data / "aflw2000" / "AFLW2000-3D.zip"
    run_script("dsprocess_aflw2k.py", archive, path, "-n", COUNT, "--workers", 0)
    return path


def rotations_of_the_client(model: Path, result: Result) -> torch.Tensor:
    """(n, 4): the plugin's patches around the protocol's squares, then grey levels as in training, one by one."""
    network = OnnxPoseModel(model, exact=True)
    answers = []
    for row, square in zip(result.rows, SQUARE.rectangles(result.boxes, result.factor).int().tolist(), strict=True):
        x0, y0, x1, y1 = square
        pyramid = client.build_pyramid(decode(result.dataset.images([row])[0]))
        patch = client.extract_patch(pyramid, client.PixelBox(x0, y0, x1 - x0, y1 - y0), network.input_size)
        crop = cv2.resize(patch.image, (network.input_size,) * 2, interpolation=cv2.INTER_AREA)
        answers.append(network.run((crop.astype(np.float32) / 256 - 0.5)[None, None])["rotation"][0])
    return torch.from_numpy(np.stack(answers))


def test_three_paths_agree(released: Path, real: Path) -> None:
    """On all 1,584 real images: script and ensemble 3.405 and 5.432 degrees (MAE, geodesic), client 3.393 and 5.409."""
    options = EvaluationOptions(file=real, progress=False)
    one = evaluate(load_predictor(released), PROTOCOL, options)
    ensemble = evaluate(Ensemble([load_predictor(released)]), PROTOCOL, options)
    assert torch.equal(one.prediction.rotation, ensemble.prediction.rotation)
    of_client = rotations_of_the_client(released, one)
    apart = metrics.geodesic_errors(of_client, one.prediction.rotation)
    assert apart.median() < 0.7  # its patch lies half a pixel aside
    errors = metrics.geodesic_errors(of_client, one.truth.rotation)
    assert (errors.mean() - one.geodesic.mean()).abs() < 0.15  # of few images
    assert one.geodesic.mean() < 8


def test_batches_equal_a_loop_over_samples(real: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = tmp_path / "model.ckpt"
    config = NetworkConfig(backbone="mobilenetv1", width=0.25, input_size=65)
    save_network(path, build_network(config, embedded_head()), About())
    model = load_predictor(path)
    result = evaluate(model, PROTOCOL, EvaluationOptions(file=real, progress=False))
    squares = SQUARE.rectangles(result.boxes, result.factor)
    with Hdf5PoseDataset(real) as dataset:
        for i, row in enumerate(result.rows):
            image = decode(dataset[int(row)].image)  # type: ignore[arg-type]
            crop = SQUARE.cut(image, squares[i].numpy(), model.input_size)
            alone = model.predict(torch.from_numpy(crop)[None, None].float() / 256 - 0.5)
            angle = metrics.geodesic_errors(alone.rotation, result.prediction.rotation[i : i + 1])
            assert angle.item() < 1e-3
