"""Openness of eyes and mouth: the formulas, on faces that the renderer labels."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from trackertraincode.rendering.scene import FaceScene, render_scene
from trackertraincode.tracking.openness import openness

IDENTITY = np.array([0.0, 0.0, 0.0, 1.0])


@pytest.fixture
def scene() -> FaceScene:
    """Somebody with open eyes and a closed mouth, half turned."""
    scene = FaceScene.draw(np.random.default_rng(1))
    return replace(scene, expression=np.zeros(10), pitch_yaw_roll=(0.2, 0.5, -0.3))


def of(scene: FaceScene) -> dict[str, float]:
    sample = render_scene(scene, 96)
    assert sample.landmarks is not None
    assert sample.rotation is not None
    return dict(zip(("right", "left", "mouth"), openness(sample.landmarks, sample.rotation)))


def test_closed_eyes_are_closed(scene: FaceScene) -> None:
    opened, shut = of(scene), of(scene.with_closed_eyes())
    for eye in ("right", "left"):
        assert opened[eye] > 0.2
        assert shut[eye] < 0.05
    assert opened["mouth"] == pytest.approx(shut["mouth"], abs=1e-3)


@pytest.mark.parametrize(("mode", "eye", "other"), [(0, "left", "right"), (1, "right", "left")])
def test_a_wink_closes_the_eye_of_that_side(scene: FaceScene, mode: int, eye: str, other: str) -> None:
    expression = np.zeros(10)
    expression[mode] = 1.0
    winking = of(replace(scene, expression=expression))
    assert winking[eye] < 0.05
    assert winking[other] > 0.2


def test_an_open_mouth_is_open(scene: FaceScene) -> None:
    expression = np.zeros(10)
    expression[2] = 1.0
    assert of(replace(scene, expression=expression))["mouth"] > of(scene)["mouth"] + 0.2


def test_size_place_and_pose_do_not_matter() -> None:
    points = np.random.default_rng(0).normal(size=(68, 3))
    turn = Rotation.random(rng=1)
    moved = turn.apply(points) * 7.0 + [3.0, 4.0, 5.0]
    assert openness(moved, turn.as_quat()) == pytest.approx(openness(points, IDENTITY))


def test_the_formula_on_numbers() -> None:
    points = np.zeros((68, 3))
    points[39, 0] = 2.0  # the right eye is 2 wide and 0.5 and 0.7 high
    points[[37, 38], 1], points[[41, 40], 1] = [0.0, 0.0], [0.5, 0.7]
    points[[37, 38], 2] = 9.0  # depth doesn't count
    assert openness(points, IDENTITY)[0] == pytest.approx((0.5 + 0.7) / (2 * 2.0))
    assert np.isfinite(openness(np.zeros((68, 3)), IDENTITY)).all()


def test_openness_is_the_documented_formula() -> None:
    points = np.random.default_rng(0).normal(size=(68, 3))

    def length(a: int, b: int) -> float:
        return float(np.hypot(*(points[a] - points[b])[:2]))

    right = (length(37, 41) + length(38, 40)) / (2 * length(36, 39))
    left = (length(43, 47) + length(44, 46)) / (2 * length(42, 45))
    mouth = (length(61, 67) + length(62, 66) + length(63, 65)) / (3 * length(60, 64))
    assert openness(points, IDENTITY) == pytest.approx((right, left, mouth))
