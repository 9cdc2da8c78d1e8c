"""Rendered faces, and a hundred rows of which many are odd or damaged."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from odd_faces import ODD
from torch import Tensor

from conftest import write_samples
from trackertraincode.geometry import affine2d
from trackertraincode.geometry.boxes import square_crop_box
from trackertraincode.geometry.rotation import quat_multiply, rotvec_to_quat
from trackertraincode.labelling import pseudo
from trackertraincode.labelling.pseudo import GIVEN
from trackertraincode.rendering.scene import FaceScene, render_scene
from trackertraincode.sample.moving import move
from trackertraincode.sample.sample import Prediction, Sample


@pytest.fixture(scope="session")
def rendered() -> list[Sample]:
    """16 faces of 96 × 96 pixels with all labels, in four sequences; yaw is at most 54 degrees."""
    scenes = [FaceScene.draw(np.random.default_rng([7, i]), spread=0.6) for i in range(16)]
    samples = (render_scene(scene, 96, segmentation=True) for scene in scenes)
    return [replace(s, name=f"face {i}", sequence=str(i // 4), individual=i // 4) for i, s in enumerate(samples)]


@dataclass
class Expert:
    """Says of rendered faces, in the order of their rows, the truth with errors of its own."""

    samples: list[Sample]
    seed: int
    error: float = 0.08  # radians, and shares of a head radius per coordinate
    name: str = "expert"
    input_size: int = 21
    channels: int = 1
    about: dict[str, Any] = field(default_factory=lambda: {"face_model": "embedded-v1"})
    said: int = 0

    def predict(self, images: Tensor) -> Prediction:
        count = len(images)
        part = [self.samples[(self.said + i) % len(self.samples)] for i in range(count)]
        self.said += count
        labels = {n: torch.from_numpy(np.stack([getattr(s, n) for s in part])).float() for n in (*GIVEN, "face_box")}
        shown = affine2d.square_to_box(square_crop_box(labels["face_box"], 1.1))
        labels = move(labels, affine2d.invert(shown))
        random = torch.Generator().manual_seed(1000 * self.seed + self.said)
        turn = rotvec_to_quat(self.error / 3**0.5 * torch.randn(count, 3, generator=random))
        labels["rotation"] = quat_multiply(turn, labels["rotation"])
        size = labels["head"][:, 2].clone()
        for name in ("head", "landmarks", "face_box"):
            noise = torch.randn(labels[name].shape, generator=random)
            labels[name] = labels[name] + self.error * size.reshape(-1, *[1] * (noise.ndim - 1)) * noise
        return Prediction(**labels, rotation_tril=self.error / 3**0.5 * torch.eye(3).expand(count, 3, 3))


@pytest.fixture
def experts(rendered: list[Sample], monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Expert]]:
    """experts(seed, ...): one of each seed, which commands get instead of the models that are named."""

    def make(*seeds: int, **changes: Any) -> list[Expert]:
        found = [Expert(rendered, seed, **changes) for seed in seeds]
        monkeypatch.setattr(pseudo, "models_of", lambda *_: found)
        monkeypatch.setattr(pseudo, "load_predictor", lambda *_: Expert(rendered, 0, **changes))
        return found

    return make


@pytest.fixture(scope="session")
def odd_faces(rendered: list[Sample], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A file of 100 rows, five of each kind, and the kinds."""
    kinds = [kind for kind in ODD for _ in range(5)]
    path = tmp_path_factory.mktemp("odd") / "odd.h5"
    samples = [ODD[kind][0](rendered[i % len(rendered)]) for i, kind in enumerate(kinds)]
    return write_samples(path, samples, optional=("landmarks_2d", "face_box")), kinds
