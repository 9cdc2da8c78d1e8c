"""What tests share: where real samples lie, and small samples to play with."""

import contextlib
import functools
import io
import os
import random
import re
import runpy
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from trackertraincode.commands import main
from trackertraincode.datasets.dshdf5pose import PoseWriter
from trackertraincode.geometry.rotation import quat_normalize, random_quats
from trackertraincode.sample.images import encode_jpeg
from trackertraincode.sample.sample import BATCH_LABELS, LABELS, MEASURES, Sample

OF_USERS = ("DATADIR", "NUM_WORKERS", "TQDM_", "SLURM_", "TORCHELASTIC_", "NODE_RANK", "LOCAL_RANK", "MASTER_PORT",
            "FORCE_COLOR", "LINES", "PYTHONWARNINGS")  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    """The same environment everywhere, also as wide a terminal. Models that take a while to make are kept beside pytest's
    own cache, not in the user's."""
    for name in [name for name in os.environ if name.startswith(OF_USERS)]:
        del os.environ[name]
    os.environ["COLUMNS"] = "80"
    cache = getattr(config, "cache", None)  # not with -p no:cacheprovider
    if cache is not None:
        os.environ.setdefault("TRACKERTRAINCODE_CACHE", str(cache.mkdir("trackertraincode")))


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup() -> None:
    seed_everything()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call() -> None:
    seed_everything()
    list_operators_once()


def seed_everything() -> None:
    """What a test or a fixture draws without a seed doesn't depend on those that ran before it in this process."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - that of libraries
    torch.default_generator.manual_seed(0)  # a hundred times as fast as that of all devices


def list_operators_once() -> None:
    """torch.onnx lists all operators that it knows for each file that it makes, which takes a second."""
    registry: Any = getattr(sys.modules.get("torch.onnx._internal.exporter._registration"), "ONNXRegistry", None)
    if hasattr(registry, "from_torchlib") and not hasattr(registry.from_torchlib, "cache_info"):
        registry.from_torchlib = staticmethod(functools.cache(registry.from_torchlib))


PROJECT = Path(__file__).resolve().parent.parent

torch.set_num_threads(1)
cv2.setNumThreads(0)  # as all programs do; its threads wouldn't be there in processes that tests fork


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real samples (never part of the repository); the test skips where it is missing."""
    folder = Path(os.environ.get("TRACKERTRAINCODE_SHARED_DATA", PROJECT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real samples are not here ({folder}); set TRACKERTRAINCODE_SHARED_DATA to test with them")
    return folder


@pytest.fixture
def make_sample() -> Callable[..., Sample]:
    """make_sample(seed, **changes): a Sample with every label, on a noise image of 96 × 80 pixels."""

    def make(seed: int = 0, **changes: object) -> Sample:
        rng = np.random.default_rng(seed)
        quat = rng.normal(size=4)
        center = rng.uniform([30, 30], [60, 50])
        grid = 64  # parts of a pixel: exact in float32, from the corner as well as from the first pixel's centre
        values: dict[str, object] = {
            "image": encode_jpeg(rng.integers(0, 255, (80, 96, 3), dtype=np.uint8)),
            "name": f"face_{seed}",
            "rotation": (quat / np.linalg.norm(quat)).astype(np.float32),
            "head": (np.array([*center, 20.0]) * grid).round().astype(np.float32) / grid,
            "face_box": np.array([*(center - 15), *(center + 18)], np.float32),
            "points_box": np.array([*(center - 12), *(center + 16)], np.float32),
            "landmarks": (rng.normal([*center, 0.0], 8.0, (68, 3)) * grid).round().astype(np.float32) / grid,
            "landmarks_2d": ((center + rng.normal(0, 8, (68, 2))) * grid).round().astype(np.float32) / grid,
            "shape": rng.normal(0, 0.1, 50).astype(np.float32),
            "has_face": True,
            "individual": seed,
            "stored_angles": rng.uniform(-90, 90, 3).astype(np.float32),
            **{name: float(rng.uniform(0, 9, 1).astype(np.float32)[0]) for name in MEASURES},
        }
        for name in LABELS.keys() - values.keys():  # that a student added
            values[name] = rng.uniform(-9, 9, LABELS[name].shape).astype(np.float32)
        return Sample(**(values | changes))  # type: ignore[arg-type]

    return make


def random_rotations(count: int, seed: int = 0) -> Tensor:
    """(count, 4) float64 unit quaternions."""
    return quat_normalize(random_quats(count, torch.Generator().manual_seed(seed)).double())


def random_labels(count: int) -> dict[str, Tensor]:
    """Of a batch, in [0, 1] and boxes up to 3."""
    generator = torch.Generator().manual_seed(0)
    labels = {name: torch.rand(count, *shape, generator=generator) for name, shape in BATCH_LABELS.items()}
    labels["face_box"][:, 2:] += 2.0
    return labels


def write_samples(path: Path, samples: Iterable[Sample], **options: Any) -> Path:
    """A sample file, which is `path`. options: of PoseWriter."""
    with PoseWriter(path, **({"source": {}, "face_model": "embedded-v1"} | options)) as writer:
        for sample in samples:
            writer.write(sample)
    return path


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a wheel of this package puts into site-packages.

    Made from a copy, since it is built among its sources, where another process may be building it, too.
    """
    folder = tmp_path_factory.mktemp("wheel")
    sources = folder / "sources"
    ignored = shutil.ignore_patterns("__pycache__")  # which other processes fill
    shutil.copytree(PROJECT / "trackertraincode", sources / "trackertraincode", ignore=ignored)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, sources)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder)]
    subprocess.run([*build, str(sources)], check=True, capture_output=True, cwd=folder)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def run_script(script: str, *arguments: object, expect: int = 0, **environment: str) -> str:
    """Run a script of the project as a user would; returns stdout and stderr. Fails on another exit code.

    Runs in this process, since importing torch anew costs seconds; `start_script` makes a real one.
    """
    path = str(PROJECT / "scripts" / script)
    return _run(lambda: runpy.run_path(path, run_name="__main__"), [script, *arguments], expect, environment)


def run_command(*words: object, expect: int = 0, **environment: str) -> str:
    """As `run_script`: `ttc WORDS`."""
    return _run(main, ["ttc", *words], expect, environment)


def _run(start: Callable[[], object], words: list[object], expect: int, environment: dict[str, str]) -> str:
    output = io.StringIO()
    with (
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(output),
        patch.object(sys, "argv", list(map(str, words))),
        patch.dict(os.environ, environment),
        contextlib.chdir(PROJECT),
    ):
        try:
            start()
            code = 0
        except SystemExit as stopped:
            code = stopped.code if isinstance(stopped.code, int) else int(stopped.code is not None)
    text = output.getvalue()
    assert code == expect, f"exit code {code}, expected {expect}:\n{text}"
    return text


def without_images(page: str) -> str:
    """A page without the images in it, whose bytes may spell any word."""
    return re.sub(r"data:image/[^\"']*", "", page)


def start_script(script: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess:
    """Run a script in a process of its own."""
    command = [sys.executable, str(PROJECT / "scripts" / script), *map(str, arguments)]
    variables = {**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, env=variables, check=False)
