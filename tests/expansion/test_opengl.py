"""The second renderer draws what the first one draws, and meshes go to files."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from conftest import run_script, start_script
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.expansion.expand import load_face
from trackertraincode.facemodel.embedded import embedded_head
from trackertraincode.sample.images import decode
from trackertraincode.sample.sample import Sample

MODEL = embedded_head()


def test_both_renderers_draw_the_same(rendered: Callable[..., Sample], file_of: Callable[..., Path]) -> None:
    """OpenGL draws in a process of its own: Mesa and Triton each bring an LLVM, and crash where both are loaded."""
    if find_spec("pyrender") is None:
        pytest.skip("pyrender isn't installed")
    source = file_of(rendered(0, 20.0))
    words = [source, "--workers=0", "--yaw-step=35", "--prob-spotlight=0.5", "--seed=1"]
    done = start_script("expand_dataset.py", words[0], source.with_name("gl.h5"), *words[1:], "--renderer=pyrender")
    if "OpenGL doesn't start" in done.stderr or "pyrender can't be loaded" in done.stderr:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert done.returncode == 0, done.stderr
    run_script("expand_dataset.py", words[0], source.with_name("software.h5"), *words[1:])
    images = []
    for name in ("software.h5", "gl.h5"):
        with Hdf5PoseDataset(source.with_name(name)) as dataset:
            images.append([decode(sample.image, color=True).astype(int) for sample in dataset])
    assert len(images[0]) == len(images[1]) == 3
    for one, other in zip(images[0][1:], images[1][1:]):
        apart = np.abs(one - other).max(-1)
        assert apart.mean() < 4.0
        assert (apart > 40).mean() < 0.02
        assert np.abs(other - images[1][0]).mean() > 5.0


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
