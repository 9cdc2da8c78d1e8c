"""Calibrated regions hold their share of errors that nobody calibrated on, in checkpoint and ONNX file."""

from pathlib import Path

import pytest
import torch
from torch import nn

from close import known
from trackertraincode.evaluation.predictor import load_predictor
from trackertraincode.export.onnx import export_full
from trackertraincode.facemodel.embedded import embedded_head
from trackertraincode.geometry.rotation import quat_multiply, quat_normalize, random_quats, rotvec_to_quat
from trackertraincode.models.about import About
from trackertraincode.models.checkpoint import load_network, save_network
from trackertraincode.models.pose_network import NetworkConfig, build_network
from trackertraincode.models.uncertainty import ConstantScale
from trackertraincode.sample.sample import Batch, Prediction, make_batch
from trackertraincode.training.calibration import LEVELS, calibrate, scaled_errors

WRONG = {"rotation_tril": 0.4, "head_tril": 2.5}  # predicted / true widths
TOLERANCE = (0.05, 0.04, 0.03)  # of the share of errors in the regions of LEVELS


class KnownErrors(nn.Module):
    """Predicts what the images tell it, with factors that are wrong by WRONG."""

    def __init__(self, factor: torch.Tensor) -> None:
        super().__init__()
        self.factor = factor
        self.rotation_tril, self.head_tril = ConstantScale(3), ConstantScale(3)

    def forward(self, image: torch.Tensor, dataset: torch.Tensor | None = None) -> Prediction:
        values = image.flatten(1)
        factors = {
            name: self.factor.expand(len(image), 3, 3) * WRONG[name] * getattr(self, name).calibration for name in WRONG
        }
        return Prediction(rotation=quat_normalize(values[:, :4]), head=values[:, 4:7], **factors)


def make_rows(count: int, factor: torch.Tensor, seed: int, heavy: bool) -> Batch:
    """Labels that differ from the predictions by errors of covariance L Lᵀ; heavy: Student's t with 3 degrees."""
    generator = torch.Generator().manual_seed(seed)
    rotation, head = random_quats(count, generator), torch.randn(count, 3, generator=generator)
    errors = (torch.randn(2, count, 3, generator=generator) @ factor.T).unbind(0)
    if heavy:
        squares = torch.randn(2, count, 3, generator=generator).square().mean(-1)
        errors = tuple(error / square.sqrt()[:, None] for error, square in zip(errors, squares))
    zeros = torch.zeros(count, dtype=torch.long)
    image = torch.cat([rotation, head, torch.zeros(count, 2)], dim=-1).reshape(count, 1, 3, 3)
    return make_batch(
        image, zeros, zeros, rotation=quat_multiply(rotvec_to_quat(errors[0]), rotation), head=head + errors[1]
    )


FACTOR = torch.tensor([[0.1, 0.0, 0.0], [0.03, 0.2, 0.0], [-0.04, 0.02, 0.05]])


def test_a_wrong_width_is_recovered() -> None:
    network = KnownErrors(FACTOR)
    calibration = calibrate(network, [make_rows(1000, FACTOR, seed, heavy=False) for seed in range(4)])
    for name, wrong in WRONG.items():
        assert calibration.factors[name] == pytest.approx(1 / wrong, rel=0.04)
        assert getattr(network, name).calibration.item() == pytest.approx(calibration.factors[name], rel=1e-5)


@pytest.mark.parametrize("heavy", [False, True])
def test_regions_hold_their_share_of_new_errors(heavy: bool) -> None:
    network = KnownErrors(FACTOR)
    calibration = calibrate(network, [make_rows(500, FACTOR, 0, heavy)])
    fresh = make_rows(4000, FACTOR, 1, heavy)
    for name, errors in scaled_errors(network(fresh.image), fresh).items():
        for radius, level, tolerance in zip(calibration.regions[name], LEVELS, TOLERANCE):
            assert float((errors.norm(dim=-1) <= radius).float().mean()) == pytest.approx(level, abs=tolerance), name


def test_rows_are_counted_and_not_the_numbers_of_their_labels() -> None:
    """Two faces have 408 numbers of landmarks, which say nothing of other faces."""
    torch.manual_seed(0)
    network = build_network(NetworkConfig(width=0.25, input_size=33, uncertainty=True), embedded_head()).eval()
    image = torch.rand(60, 1, 33, 33) - 0.5
    with torch.no_grad():
        found = network(image).landmarks
    labels, zeros = found + 0.05 * torch.randn_like(found), torch.zeros(60, dtype=torch.long)
    for count, names in ((2, []), (60, ["landmarks_scale"])):
        batch = make_batch(image[:count], zeros[:count], zeros[:count], landmarks=labels[:count])
        assert list(calibrate(network, [batch]).factors) == names


def test_offsets_of_data_sets_are_no_errors() -> None:
    torch.manual_seed(0)
    config = NetworkConfig(width=0.25, input_size=33, uncertainty=True, offsets_of=("a", "b"))
    network = build_network(config, embedded_head()).eval()
    image, dataset = torch.rand(400, 1, 33, 33) - 0.5, torch.arange(400) % 2
    with torch.no_grad():
        network.offsets.offsets[:] = torch.tensor([[0.2, 0.3, 0.0, 0.1]])
        answer = network(image, dataset=dataset)
    errors = [0.2 * (factor @ torch.randn(400, 3, 1))[..., 0] for factor in (answer.rotation_tril, answer.head_tril)]
    rotation = quat_multiply(rotvec_to_quat(errors[0]), answer.rotation)
    batch = make_batch(image, dataset, torch.arange(400), rotation=rotation, head=answer.head + errors[1])
    factors = calibrate(network, [batch]).factors
    assert (factors["rotation_tril"], factors["head_tril"]) == pytest.approx((0.2, 0.2), rel=0.1)


def test_too_few_rows_change_nothing() -> None:
    network = KnownErrors(FACTOR)
    assert calibrate(network, [make_rows(20, FACTOR, 0, heavy=False)]).factors == {}
    assert network.head_tril.calibration == 1.0


@pytest.mark.slow
def test_factors_and_regions_are_in_checkpoint_and_onnx(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = build_network(
        NetworkConfig(backbone="repvgg_az", width=0.5, input_size=33, uncertainty=True), embedded_head()
    ).eval()
    image, zeros = torch.randn(80, 1, 33, 33), torch.zeros(80, dtype=torch.long)
    before = network(image)
    labels = {"rotation": random_quats(80), "head": torch.randn(80, 3), "face_box": torch.randn(80, 4)}
    calibration = calibrate(network, [make_batch(image, zeros, zeros, **labels)])
    assert set(calibration.factors) == {"rotation_tril", "head_tril", "face_box_scale"}
    about = About(regions=calibration.regions)
    save_network(tmp_path / "a.ckpt", network, about)
    export_full(load_network(tmp_path / "a.ckpt")[0], tmp_path / "a.onnx", about)
    for path in (tmp_path / "a.ckpt", tmp_path / "a.onnx"):
        predictor = load_predictor(path)
        after = predictor.predict(image)
        assert predictor.about["regions"] == calibration.regions
        for name, factor in calibration.factors.items():
            assert torch.allclose(getattr(after, name), getattr(before, name) * factor, rtol=1e-4, atol=1e-6), name
        assert torch.allclose(known(after.landmarks_scale), before.landmarks_scale)
