"""Bodies of rendered people: seen from outside, in all patterns, and no neck cuts through them."""

import numpy as np
import pytest

from trackertraincode.facemodel.embedded import embedded_head
from trackertraincode.rendering.clothes import NECKLINES, PATTERNS, dressed, tucked
from trackertraincode.rendering.rasterizer import front_faces

BLACK, WHITE, SKIN = np.zeros(3), np.ones(3), np.array([0.8, 0.6, 0.5])


@pytest.mark.parametrize("neckline", NECKLINES)
def test_a_body_shows_its_front(neckline: str) -> None:
    body = dressed(neckline, "plain", 1, BLACK, WHITE, SKIN)
    seen = front_faces(body.vertices, body.triangles)
    chest = body.vertices[seen].mean(1)[:, 1] > 0.5
    assert (body.vertices[seen[chest]].mean(1)[:, 2] < 0.05).all()
    assert np.isfinite(body.normals).all()


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_have_both_colours(pattern: str) -> None:
    body = dressed("round", pattern, 2, BLACK, WHITE, SKIN)
    cloth = body.vertices[:, 1] > 0.3
    assert (body.colors[cloth].max() > 0.25) == (pattern != "plain")
    assert body.colors[cloth].min() == 0.0


def test_a_neck_is_narrower_below_and_the_face_stays_as_it_is() -> None:
    model = embedded_head()
    wide = model.vertices * np.array([1.6, 1.0, 1.0])
    moved = tucked(model, wide)
    face = model.face_mask & (wide[:, 1] < 1.1)
    assert np.array_equal(moved[face], wide[face])
    low = (wide[:, 1] > 1.35) & model.regions["neck"]
    assert np.abs(wide[low, 0]).max() > 0.7
    assert np.abs(moved[low, 0]).max() < 0.49
