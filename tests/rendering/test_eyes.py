"""Eyes of rendered faces, and how light becomes brightness."""

import numpy as np
import pytest

from trackertraincode.facemodel.embedded import embedded_head
from trackertraincode.rendering.eyes import IRIS_RADIUS, lashes, paint_ball
from trackertraincode.rendering.lighting import MOST, develop, exposure

OPEN, SHUT = np.zeros(2), np.ones(2)


def test_lashes_grow_forward_from_the_upper_lids_and_hang_down_from_shut_ones() -> None:
    model = embedded_head()
    drawn = lashes(model, model.vertices, OPEN, 0.08, 0.02)
    for side, points in zip(np.split(drawn.vertices, 2), ((42, 43, 44, 45), (36, 37, 38, 39))):
        edge, _, tips = np.split(side, 3)
        lid = model.keypoint_mean[list(points)]
        assert np.linalg.norm(edge[:, None] - lid, axis=-1).min(0).max() < 0.015
        assert (tips[:, 2] < edge[:, 2]).all()
        assert np.linalg.norm(tips - edge, axis=1).max() <= 0.08 + 1e-6
    hanging = lashes(model, model.vertices, SHUT, 0.08, 0.02)
    assert (hanging.vertices[:, 1] >= drawn.vertices[:, 1]).all()
    assert (hanging.vertices[:, 1] > drawn.vertices[:, 1]).mean() > 0.6


def test_lids_darken_the_ball_and_the_iris_follows_the_gaze() -> None:
    model = embedded_head()
    x = model.vertices[model.regions["eye_left"], 0]
    white = np.ones(3)
    bright, dim = (paint_ball(model, "left", white, (0.0, 0.0), shadow).mean() for shadow in (0.0, 0.8))
    assert dim < bright
    red = np.array([1.0, 0.0, 0.0])
    centers = []
    for gaze in (-0.04, 0.04):
        color = paint_ball(model, "left", red, (gaze, 0.0), 0.0)
        colorful = np.clip(color[:, 0] - color[:, 1] - 0.1, 0.0, None)
        centers.append((x * colorful).sum() / colorful.sum())
    assert 0.5 * IRIS_RADIUS < centers[1] - centers[0] < 0.08 + IRIS_RADIUS


def test_more_light_is_brighter_and_never_quite_white() -> None:
    brightness = develop(np.linspace(0.0, 6.0, 200))
    assert brightness[0] == 0.0
    assert (np.diff(brightness) > 0).all()
    assert brightness[-1] < 1.0


@pytest.mark.parametrize("wanted", [0.1, 0.5, MOST])
def test_exposure_gives_the_wanted_mean(wanted: float) -> None:
    light = np.random.default_rng(0).uniform(0.0, 30.0, 400)
    assert develop(exposure(light, wanted) * light).mean() == pytest.approx(wanted, abs=0.005)
