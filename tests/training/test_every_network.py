"""Every backbone trains, is saved, and computes the same in ONNX, with each head and loss on and off."""

from itertools import combinations, product
from pathlib import Path

import pytest
import torch

from trackertraincode.augmentation.loader import TrainBatches, checked
from trackertraincode.augmentation.presets import AugmentationOptions
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.datasets.mixing import Member
from trackertraincode.evaluation.predictor import load_predictor
from trackertraincode.export.onnx import export_full, export_opentrack
from trackertraincode.facemodel.embedded import embedded_head
from trackertraincode.models.about import About
from trackertraincode.models.backbones import BACKBONES
from trackertraincode.models.checkpoint import save_network
from trackertraincode.models.pose_network import NetworkConfig, PoseNetwork, build_network
from trackertraincode.sample.sample import LABELS, Batch
from trackertraincode.training.device_augmentation import DeviceAugmentation
from trackertraincode.training.objective import LossOptions, make_objective
from trackertraincode.training.optimisation import OptimisationOptions, parameter_groups

SIZE, STEPS = 65, 3
ONE_WIDTH = "timm:lcnet_050"
NAMES = (*BACKBONES, ONE_WIDTH)
EXPORTED = ("mobilenetv1", "resnet18", "repvgg_az")  # the whole plan takes minutes to export


def plan() -> list[tuple[str, str, bool, bool]]:
    """Backbone, rotation, NLL, landmarks: two opposite choices per backbone, so that each pair of values meets."""
    rows = []
    for index, name in enumerate(NAMES):
        for flip in (False, True):
            sixd, nll, landmarks = ((bool(index >> bit & 1) != flip) for bit in range(3))
            rows.append((name, "sixd" if sixd else "quaternion", nll, landmarks))
    return rows


def test_the_plan_covers_all_pairs() -> None:
    values = (NAMES, ("quaternion", "sixd"), (False, True), (False, True))
    for a, b in combinations(range(4), 2):
        assert {(row[a], row[b]) for row in plan()} == set(product(values[a], values[b]))


@pytest.fixture(scope="session")
def batches(faces: Path) -> list[Batch]:
    return make_batches(faces / "300wlp.h5")


def make_batches(path: Path, size: int = SIZE) -> list[Batch]:
    """Grey training crops, as network input."""
    dataset = Hdf5PoseDataset(path)
    member = Member("faces", dataset, torch.arange(len(dataset)).numpy(), 1.0, tuple(LABELS))
    preset = AugmentationOptions().training_preset(size=size)
    source = TrainBatches(
        [member], preset, batchsize=8, samples_per_epoch=8 * STEPS, seed=0, face_model=dataset.face_model
    )
    augment = DeviceAugmentation(kornia=False, plugin=False)
    return [augment(checked(source[0, step]).unpack(), True) for step in range(STEPS)]


def trained(row: tuple[str, str, bool, bool], batches: list[Batch], width: float = 0.25) -> PoseNetwork:
    """A network after a few steps; every parameter took part in them."""
    name, rotation, nll, landmarks = row
    torch.manual_seed(0)
    network = build_network(
        NetworkConfig(
            backbone=name, rotation=rotation, uncertainty=nll, landmarks=landmarks,
            width=1.0 if name.startswith("timm:") else width, input_size=batches[0].image.shape[-1],
        ),
        embedded_head(),
    )  # fmt: skip
    objective = make_objective(LossOptions(), network.config)
    optimizer = torch.optim.Adam(parameter_groups(network, OptimisationOptions()))
    for batch in batches:
        loss, parts = objective(network(batch.image), batch)
        assert torch.isfinite(loss), parts
        optimizer.zero_grad()
        loss.backward()
        for key, parameter in network.named_parameters():
            assert parameter.grad is not None, key
            assert torch.isfinite(parameter.grad).all(), key
        optimizer.step()
    return network.eval()


@pytest.mark.slow
@pytest.mark.parametrize("row", plan(), ids=lambda row: "-".join(map(str, row)))
def test_trains_and_exports(row: tuple[str, str, bool, bool], batches: list[Batch], tmp_path: Path) -> None:
    network = trained(row, batches)
    if row[0] in EXPORTED:
        assert difference_of_files(network, batches[0].image, tmp_path) <= 1e-4


def difference_of_files(network: PoseNetwork, image: torch.Tensor, folder: Path) -> float:
    """The largest difference of any output between network, checkpoint and ONNX file.

    Networks with landmarks are exported in full, others for OpenTrack, since each export takes seconds.
    """
    full = network.config.landmarks
    with torch.no_grad():
        expected = network(image)
    save_network(folder / "a.ckpt", network, About())
    (export_full if full else export_opentrack)(network, folder / "a.onnx", About())
    worst = 0.0
    for name in ("a.ckpt", "a.onnx"):
        found = load_predictor(folder / name).predict(image)
        for key, value in vars(expected).items():
            answer = getattr(found, key)
            if value is None or key == "rotation_raw" or (answer is None and not full):
                continue
            worst = max(worst, float((answer - value).abs().max()))
    return worst
