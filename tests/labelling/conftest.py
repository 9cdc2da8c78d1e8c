"""Rendered faces, and a hundred rows of which many are odd or damaged."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from odd_faces import ODD, write

from trackertraincode.rendering.scene import FaceScene, render_scene
from trackertraincode.sample.sample import Sample


@pytest.fixture(scope="session")
def rendered() -> list[Sample]:
    """16 faces of 96 × 96 pixels with all labels, in four sequences; yaw is at most 54 degrees."""
    scenes = [FaceScene.draw(np.random.default_rng([7, i]), spread=0.6) for i in range(16)]
    samples = (render_scene(scene, 96, segmentation=True) for scene in scenes)
    return [replace(s, name=f"face {i}", sequence=str(i // 4), individual=i // 4) for i, s in enumerate(samples)]


@pytest.fixture(scope="session")
def odd_faces(rendered: list[Sample], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A file of 102 rows, six of each kind, and the kinds."""
    kinds = [kind for kind in ODD for _ in range(6)]
    path = tmp_path_factory.mktemp("odd") / "odd.h5"
    samples = [ODD[kind][0](rendered[i % len(rendered)]) for i, kind in enumerate(kinds)]
    return write(path, samples, optional=("landmarks_2d", "face_box")), kinds
