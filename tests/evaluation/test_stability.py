"""Stability measures on predictors whose jitter is known."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from constant_onnx import build_model
from torch import Tensor

from conftest import run_command, without_images, write_samples
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.errors import EvaluationError
from trackertraincode.evaluation.html_report import write_report
from trackertraincode.evaluation.report import write_json
from trackertraincode.evaluation.stability import (
    RenderedScenes,
    ScoreCard,
    StabilityOptions,
    _Probe,
    blink_leakage,
    measure_stability,
    pitch_slopes,
    region_shares,
    rms_spread,
)
from trackertraincode.evaluation.stability_faces import YAWS, Faces, blink_pairs, faces_of_file, rendered_faces
from trackertraincode.evaluation.stability_report import score_sections, score_table
from trackertraincode.geometry.euler import aflw_to_matrix
from trackertraincode.geometry.rotation import matrix_to_quat, quat_multiply, random_quats, rotvec_to_quat
from trackertraincode.models.onnx_model import latencies
from trackertraincode.sample.images import encode_png
from trackertraincode.sample.sample import Prediction, Sample

SIZE = 16
QUIET: dict[str, Any] = {"progress": False}
FACING: dict[str, Any] = {"rotation": np.array([0, 0, 0, 1], np.float32), "stored_angles": None}  # the camera


@dataclass
class Pixel:
    """Turns the head about x by `gain` radians per unit of grey value of one pixel in the middle of the crop."""

    gain: float
    certain: bool = True
    name: str = "pixel"
    path: Path = Path("pixel.ckpt")
    input_size: int = SIZE
    channels: int = 1
    about: dict[str, Any] = field(default_factory=dict)

    def predict(self, images: Tensor) -> Prediction:
        values = images[:, 0, SIZE // 2, SIZE // 2] * self.gain
        quats = rotvec_to_quat(torch.stack([values, torch.zeros_like(values), torch.zeros_like(values)], dim=-1))
        tril = None if self.certain else 0.1 * torch.eye(3).expand(len(images), 3, 3)
        return Prediction(rotation=quats, head=torch.zeros(len(images), 3), rotation_tril=tril)


def ramps(count: int) -> Faces:
    """Images whose grey level is twice their x, and boxes of the crop's size in their middle."""
    image = np.broadcast_to(2 * np.arange(128, dtype=np.uint8), (128, 128))
    box = torch.tensor([[56.0, 56.0, 72.0, 72.0]]).expand(count, 4)
    return Faces("ramps", (encode_png(image),) * count, box, torch.tensor([[0.0, 0, 0, 1]]).expand(count, 4))


@pytest.mark.parametrize("sigma", [4.0, 16.0])
def test_noise_jitter_is_that_of_the_pixel(sigma: float) -> None:
    probe = _Probe(Pixel(1.0), StabilityOptions(noise=(sigma,), draws=12, factor=1.0, **QUIET))
    expected = math.degrees(sigma / 256) * math.sqrt(11 / 12)  # of 12 draws about their own mean
    assert probe.noise_jitter(ramps(100))[sigma] == pytest.approx(expected, rel=0.1)


def test_shift_jitter_is_that_of_the_ramp() -> None:
    probe = _Probe(Pixel(1.0), StabilityOptions(shifts=(4.0,), draws=12, factor=1.0, **QUIET))
    expected = math.degrees(2 * math.sqrt(4**2 / 3) / 256) * math.sqrt(11 / 12)  # two grey levels per pixel
    assert probe.shift_jitter(ramps(100))[4.0] == pytest.approx(expected, rel=0.1)


def test_noise_is_the_same_for_every_model() -> None:
    settings = StabilityOptions(noise=(8.0,), **QUIET)
    assert _Probe(Pixel(1.0), settings).noise_jitter(ramps(3)) == _Probe(Pixel(1.0), settings).noise_jitter(ramps(3))


def test_a_model_that_sees_nothing_never_trembles() -> None:
    probe = _Probe(Pixel(0.0), StabilityOptions(noise=(64.0,), shifts=(4.0,), draws=3, **QUIET))
    assert probe.noise_jitter(ramps(2))[64.0] == 0.0
    assert probe.shift_jitter(ramps(2))[4.0] == 0.0


def test_moved_boxes_change_the_ramp_by_the_same_amount_both_ways() -> None:
    probe = _Probe(Pixel(1.0), StabilityOptions(factor=1.0, **QUIET))
    faces = ramps(1)
    truth = probe.predict_all(faces).rotation
    faces = Faces(faces.source, faces.images, faces.boxes, truth)
    # A quarter of 16 px are 8 grey levels, left and right; up and down nothing.
    assert probe.moved_errors(faces, 0.25)["geodesic"] == pytest.approx(math.degrees(8 / 256) / 2, rel=1e-3)
    assert probe.moved_errors(faces, 0.0)["geodesic"] == pytest.approx(0.0, abs=1e-4)


def test_spread_of_two_rotations_is_half_their_distance() -> None:
    quats = rotvec_to_quat(torch.tensor([[0.0, 0.2, 0.0], [0.0, -0.2, 0.0]]))
    turned = quat_multiply(random_quats(1, torch.Generator().manual_seed(0)), quats)
    assert rms_spread(turned).item() == pytest.approx(math.degrees(0.2), rel=1e-5)


def poses(pitch_deg: list[float]) -> Prediction:
    angles = torch.tensor([[math.radians(p), 0.3, -0.2] for p in pitch_deg], dtype=torch.float64)
    return Prediction(rotation=matrix_to_quat(aflw_to_matrix(angles)).float(), head=torch.zeros(len(pitch_deg), 3))


def test_blink_leakage_is_the_change_of_pitch() -> None:
    found = blink_leakage(poses([0.0, 10.0]), poses([3.0, 11.0]))
    assert found["pitch"] == pytest.approx(2.0, abs=1e-3)
    assert found["angle"] >= 1.9


def test_slopes_of_lines_over_yaw_and_its_absolute_value() -> None:
    yaw = torch.tensor(YAWS, dtype=torch.float64)
    found = pitch_slopes(torch.stack([0.1 * yaw + 0.02 * yaw.abs() + 3, 0.3 * yaw - 1]), yaw)
    assert found == pytest.approx({"yaw": 0.2, "abs_yaw": 0.01})


def test_honest_uncertainty_covers_what_it_says() -> None:
    generator = torch.Generator().manual_seed(0)
    tril = torch.tensor([[0.1, 0, 0], [0.02, 0.05, 0], [-0.01, 0.03, 0.08]])
    truth = random_quats(4000, generator)
    errors = torch.randn(4000, 3, generator=generator) @ tril.T
    prediction = Prediction(
        rotation=quat_multiply(rotvec_to_quat(-errors), truth),
        head=torch.zeros(4000, 3),
        rotation_tril=tril.expand(4000, 3, 3),
    )
    assert region_shares(prediction, truth, radii=(0.0, 1e9, 1e9)) == {0.5: 0.0, 0.9: 1.0, 0.95: 1.0}
    found = region_shares(prediction, truth)
    assert list(found.values()) == pytest.approx([0.5, 0.9, 0.95], abs=0.03)


def test_blink_pairs_differ_only_around_the_eyes() -> None:
    opened, closed = blink_pairs(1)
    a, b = opened.decoded(1)[0].astype(int), closed.decoded(1)[0].astype(int)
    changed = np.argwhere(np.abs(a - b) > 30)
    x0, y0, x1, y1 = opened.boxes[0].tolist()
    assert len(changed) > 10
    assert ((changed >= [y0, x0]) & (changed <= [y1, x1])).all()
    assert torch.equal(opened.boxes, closed.boxes)
    assert torch.equal(opened.rotations, closed.rotations)


def test_rendered_faces_have_upright_boxes_and_unit_rotations() -> None:
    faces = rendered_faces(2)
    assert (faces.boxes[:, 2:] > faces.boxes[:, :2]).all()
    assert torch.allclose(faces.rotations.norm(dim=-1), torch.ones(2), atol=1e-5)


@pytest.fixture(scope="module")
def cards() -> list[ScoreCard]:
    faces = ramps(3)
    scenes = RenderedScenes(faces, faces, ramps(len(YAWS)))
    settings = StabilityOptions(draws=3, latency_runs=2, **QUIET)
    return [
        measure_stability(Pixel(1.0), faces, scenes, settings),
        measure_stability(Pixel(0.5, certain=False), faces, scenes, settings),
    ]


def test_a_score_card_leaves_out_what_the_model_lacks(cards: list[ScoreCard]) -> None:
    assert cards[0].latency is None
    assert cards[0].coverage is None
    assert cards[1].coverage is not None
    assert cards[0].blink == {"angle": 0.0, "pitch": 0.0}
    assert cards[0].crosstalk["yaw"] == pytest.approx(0.0, abs=1e-9)


def test_half_the_gain_is_half_the_jitter(cards: list[ScoreCard]) -> None:
    for sigma, jitter in cards[0].noise.items():
        assert cards[1].noise[sigma] == pytest.approx(jitter / 2, rel=1e-3)


def test_table_json_and_report_hold_the_same_models(cards: list[ScoreCard], tmp_path: Path) -> None:
    text = score_table(cards)
    assert "jitter, noise σ = 16/255" in text
    assert "ms per crop" not in text
    write_json([card.to_dict() for card in cards], tmp_path / "cards.json")
    read = json.loads((tmp_path / "cards.json").read_text(encoding="utf-8"))
    assert read[0]["noise"]["16"] == pytest.approx(cards[0].noise[16])
    write_report(tmp_path / "felt.html", "Felt", score_sections(cards))
    page = (tmp_path / "felt.html").read_text(encoding="utf-8")
    assert page.count("<img") == 4
    assert "http" not in without_images(page)


def test_the_command_measures_models_on_a_users_faces(tmp_path: Path, make_sample: Callable[..., Sample]) -> None:
    model, faces = tmp_path / "constant.onnx", tmp_path / "faces.h5"
    onnx.save(build_model(), model)
    write_samples(faces, (make_sample(seed, **FACING) for seed in range(2)))
    outputs = ["--json", tmp_path / "cards.json", "--report", tmp_path / "felt.html"]
    told = run_command("stability", model, "--data", faces, "--count", 2, *outputs)
    assert "jitter, noise σ = 16/255" in told
    (card,) = json.loads((tmp_path / "cards.json").read_text(encoding="utf-8"))
    assert set(card["noise"].values()) == {0.0}
    assert "constant.onnx" in (tmp_path / "felt.html").read_text(encoding="utf-8")


def test_colour_models_refuse_the_plugins_preprocessing() -> None:
    faces = ramps(1)
    with pytest.raises(EvaluationError, match="colour"):
        measure_stability(
            Pixel(1.0, channels=3), faces, RenderedScenes(faces, faces, faces), StabilityOptions(preprocess="opentrack")
        )


def test_latency_of_the_released_model_is_a_time(shared_data: Path) -> None:
    (found,) = latencies([shared_data / "opentrack" / "head-pose-0.4-small-int8.onnx"], threads=1, runs=2)
    assert found > 0


def test_rows_are_spread_over_a_file(tmp_path: Path, make_sample: Any) -> None:
    path = write_samples(tmp_path / "some.h5", (make_sample(seed, **FACING) for seed in range(9)))
    images = Hdf5PoseDataset(path).images(range(9))
    assert list(faces_of_file(path, 5).images) == images[::2]
    assert list(faces_of_file(path, 100).images) == images


def test_faces_need_no_heads(tmp_path: Path, make_sample: Callable[..., Sample]) -> None:
    path = write_samples(tmp_path / "a.h5", (make_sample(seed, **FACING, head=None) for seed in range(3)))
    assert len(faces_of_file(path, 3)) == 3


def test_faces_are_spread_over_the_rows_that_can_be_used(tmp_path: Path, make_sample: Callable[..., Sample]) -> None:
    """Rows 0 to 3 of 9 have a pose beyond ±99 degrees."""
    angles = torch.zeros(9, 3)
    angles[:4, 1] = np.radians(120.0)
    quats = matrix_to_quat(aflw_to_matrix(angles)).numpy()
    path = write_samples(
        tmp_path / "a.h5", (make_sample(i, rotation=quat, stored_angles=None) for i, quat in enumerate(quats))
    )
    images = Hdf5PoseDataset(path).images(range(9))
    assert list(faces_of_file(path, 3).images) == [images[i] for i in (4, 6, 8)]
