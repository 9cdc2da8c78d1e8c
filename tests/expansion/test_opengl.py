"""The second renderer draws what the first one draws, and meshes go to files."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from conftest import run_script
from trackertraincode.errors import UserError
from trackertraincode.expansion.draw import draw
from trackertraincode.expansion.expand import load_face
from trackertraincode.expansion.light import Spotlight, shade
from trackertraincode.expansion.opengl import draw_opengl
from trackertraincode.facemodel.embedded import embedded_head
from trackertraincode.sample.sample import Sample

MODEL = embedded_head()


@pytest.mark.parametrize("yaw", [20.0, 65.0])
def test_both_renderers_draw_the_same(rendered: Callable[..., Sample], yaw: float) -> None:
    pytest.importorskip("pyrender")
    face = load_face(rendered(), MODEL, MODEL.name)
    turned = face.sheet.turned(face.turn_to(np.radians([3.0, yaw, 2.0])))
    light = shade(turned, Spotlight.draw(np.random.default_rng(1)), 30.0) if yaw > 50 else None
    try:
        other = draw_opengl(face.image, turned, light)
    except UserError as error:
        pytest.skip(str(error))
    apart = np.abs(draw(face.image, turned, light).astype(int) - other).max(-1)
    assert apart.mean() < 3.0
    assert (apart > 32).mean() < 0.02
    assert np.abs(other.astype(int) - face.image).mean() > 5.0


def test_meshes_are_written_with_their_texture(
    rendered: Callable[..., Sample], file_of: Callable[..., Path], tmp_path: Path
) -> None:
    trimesh = pytest.importorskip("trimesh")
    source = file_of(rendered(0, 70.0))
    run_script(
        "expand_dataset.py", source, tmp_path / "dst.h5", "--workers=0", "--yaw-step=30", "--write-mesh", tmp_path
    )
    (mesh,) = trimesh.load(tmp_path / "000000.glb").geometry.values()
    face = load_face(rendered(0, 70.0), MODEL, MODEL.name)
    np.testing.assert_allclose(mesh.vertices, face.sheet.points * [1, -1, -1], atol=0.01)
    assert mesh.visual.material.baseColorTexture.size == face.image.shape[1::-1]
