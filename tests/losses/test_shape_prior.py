"""Priors that users fit to their own faces."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from conftest import run_command, write_samples
from trackertraincode.errors import ModelFileError
from trackertraincode.losses.shape_prior import PACKAGED, ShapePrior, prior_path
from trackertraincode.sample.sample import Sample

COUNT = 24


@pytest.fixture
def faces(tmp_path: Path, make_sample: Callable[..., Sample]) -> Path:
    """Half of the faces have coefficients around -1, half around 1; one more has none."""
    rng = np.random.default_rng(0)
    shapes = [*(rng.normal((-1.0) ** row, 0.1, 50).astype(np.float32) for row in range(COUNT)), None]
    samples = (make_sample(row, shape=shape, stored_angles=None) for row, shape in enumerate(shapes))
    return write_samples(tmp_path / "faces.h5", samples, optional=("shape",))


def test_a_fitted_prior_knows_both_kinds_of_faces(faces: Path) -> None:
    words = ["fit-shape-prior", faces, "--components", 2]
    assert f"on {COUNT} rows" in run_command(*words, DATADIR=str(faces.parent))
    prior = ShapePrior.load(faces.with_name("shape_prior_embedded-v1.npz"))
    likely, unlikely = torch.ones(2, 50) * torch.tensor([[1.0], [-1.0]]), torch.zeros(1, 50)
    assert prior(likely).max() < prior(unlikely)


def test_damaged_priors_are_named(faces: Path) -> None:
    path = faces.with_name("shape_prior_embedded-v1.npz")
    good: dict[str, Any] = {"weights": np.ones(2) / 2, "means": np.zeros((2, 50)), "stds": np.ones((2, 50))}
    np.savez(path, **good)
    ShapePrior.load(path)
    whole = path.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"text"):
        path.write_bytes(damaged)
        with pytest.raises(ModelFileError, match=r"npz: no shape prior \(.*make it with `ttc fit-shape-prior`"):
            ShapePrior.load(path)
    np.save(path.open("wb"), np.zeros(3))
    with pytest.raises(ModelFileError, match="no shape prior"):
        ShapePrior.load(path)
    for name, value in (("stds", np.full((2, 50), np.nan)), ("weights", np.zeros(2)), ("means", np.zeros(2))):
        np.savez(path, **good | {name: value})
        with pytest.raises(ModelFileError, match="of finite numbers, weights and deviations above 0"):
            ShapePrior.load(path)


def test_the_prior_of_a_user_goes_before_the_packaged_one(faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATADIR", str(faces.parent))
    assert prior_path("embedded-v1") == PACKAGED / "shape_prior_embedded-v1.npz"
    run_command("fit-shape-prior", faces, "--components", 2, DATADIR=str(faces.parent))
    assert prior_path("embedded-v1") == faces.with_name("shape_prior_embedded-v1.npz")
    assert prior_path("somebodys-v1") is None


def test_too_few_faces_and_no_place_to_write_are_named(faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATADIR", raising=False)
    assert "set DATADIR, or name the file to write with --output." in run_command("fit-shape-prior", faces, expect=1)
    text = run_command("fit-shape-prior", faces, "--output", faces.with_name("x.npz"), expect=1)
    assert f"faces.h5: {COUNT} rows have shape coefficients, 100 are needed to fit 10 components" in text


@pytest.mark.parametrize("name", ["x/../../other", "a:b", "C:\\x"])
def test_a_files_own_words_lead_nowhere(name: str, faces: Path, tmp_path: Path) -> None:
    with h5py.File(faces, "a") as file:
        file["shapeparams"].attrs["face_model"] = name
    (tmp_path / "data").mkdir()
    text = run_command("fit-shape-prior", faces, "--components", 2, DATADIR=str(tmp_path / "data"), expect=1)
    assert "which can't be part of a file's name; name the file to write with --output" in text
    assert list((tmp_path / "data").iterdir()) == []
