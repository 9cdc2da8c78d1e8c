"""Rendered faces to expand."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from conftest import write_samples
from trackertraincode.rendering.camera_effects import CameraEffects
from trackertraincode.rendering.scene import FaceScene, render_scene
from trackertraincode.sample.sample import Sample

SIZE = 160


@pytest.fixture(scope="session")
def rendered() -> Callable[..., Sample]:
    """rendered(seed, yaw): a face with all labels, of the embedded head; eyes open, yaw in degrees."""
    cache: dict[tuple[int, float], Sample] = {}

    def make(seed: int = 0, yaw: float = 8.0) -> Sample:
        if (seed, yaw) not in cache:
            scene = FaceScene.draw(np.random.default_rng(seed))
            scene = replace(
                scene,
                expression=np.concatenate([[0.0, 0.0], scene.expression[2:]]),
                pitch_yaw_roll=(0.1, np.radians(yaw), -0.05),
                occluders=0,
                camera=CameraEffects(),
            )
            cache[seed, yaw] = render_scene(scene, SIZE, segmentation=True)
        return replace(cache[seed, yaw], name=f"face {seed}")

    return make


@pytest.fixture
def file_of(tmp_path: Path) -> Callable[..., Path]:
    """file_of(samples): a sample file."""

    def write(*samples: Sample, name: str = "src.h5", face_model: str = "embedded-v1") -> Path:
        return write_samples(tmp_path / name, samples, face_model=face_model)

    return write
