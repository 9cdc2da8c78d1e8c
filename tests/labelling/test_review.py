"""`ttc review`: rows whose labels are wrong come first."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from odd_faces import ODD, rows_of
from scipy.spatial.transform import Rotation

from close import known
from conftest import run_script, without_images, write_samples
from trackertraincode.commands import parse
from trackertraincode.labelling import review
from trackertraincode.sample.sample import Sample

WRONG = {3: "rotation", 7: "landmarks", 12: "head"}  # row -> the label that is wrong


@pytest.fixture
def labelled(rendered: list[Sample], tmp_path: Path) -> Path:
    """The rendered faces with three wrong labels."""
    samples = [replace(s, segmentation=None) for s in rendered]
    turned = (Rotation.from_rotvec([0, 0.9, 0]) * Rotation.from_quat(samples[3].rotation)).as_quat()
    samples[3] = replace(samples[3], rotation=turned.astype(np.float32))
    samples[7] = replace(samples[7], landmarks=known(samples[7].landmarks) + 15.0)
    samples[12] = replace(samples[12], head=known(samples[12].head) * np.array([1.0, 1.0, 2.0]))
    return write_samples(tmp_path / "a.h5", samples)


@pytest.fixture
def own_models(experts: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two experts, whatever models are named."""
    found = experts(0, 1, error=0.03)
    monkeypatch.setattr(review, "models_of", lambda *_: found)
    monkeypatch.setattr(review, "load_predictor", lambda *_: found[0])


def options(**changes: Any) -> review.ReviewOptions:
    return review.ReviewOptions(**{"models": (Path("a.ckpt"), Path("b.ckpt")), **changes})


@pytest.mark.parametrize("order", review.ORDERS)
def test_wrong_labels_come_first(order: str, labelled: Path, own_models: None) -> None:
    found = review.review(labelled, options(order=order, count=3), 0)
    expected = {"worst": {3, 7, 12}, "surprise": {3}}.get(
        order, {row for row, label in WRONG.items() if label == order}
    )
    assert {c.row for c in found.ranked[: len(expected)]} == expected
    assert len(found.compared) == 16
    assert found.skipped == []


def test_wrong_labels_come_first_also_among_those_that_the_model_made() -> None:
    """With which it agrees to the digit, so that the median is 0."""
    angles = [0.0, 0.0, 60.0, 0.0, 2.0, np.nan]
    unknown = dict.fromkeys(review.DISAGREEMENTS, np.nan)
    rows = [review.Compared(i, unknown | {"rotation": angle}, {}) for i, angle in enumerate(angles)]
    assert review.rank(rows, "worst") == [2, 4, 0, 1, 3]
    assert review.rank([rows[0], rows[1]], "worst") == [0, 1]


def test_disagreement_is_measured_in_degrees_and_millimetres(labelled: Path, own_models: None) -> None:
    rows = {c.row: c.values for c in review.review(labelled, options(), 0).compared}
    assert rows[3]["rotation"] == pytest.approx(np.degrees(0.9), abs=4)
    radius = [known(s.head)[2] for s in rows_of(labelled)]
    assert rows[7]["landmarks"] == pytest.approx(100 * 15 * np.sqrt(2) / radius[7], rel=0.1)
    assert rows[12]["head"] == pytest.approx(100, rel=0.15)  # twice as large, in true head radii
    usual = [rows[i]["rotation"] for i in rows if i != 3]
    assert np.median(usual) < 3.0


def test_the_page_shows_pairs_and_the_list_is_one_for_filters(labelled: Path, own_models: None, tmp_path: Path) -> None:
    words = ("--model", "a.ckpt", "b.ckpt", "--report", tmp_path / "x.html", "--list", tmp_path / "bad.txt")
    text = run_script("review_labels.py", labelled, *words, "--count", 3, "--workers", 0)
    assert "3 of 16 rows, ranked by worst" in text
    page = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert page.count('src="data:image/jpeg') == 1
    assert "http" not in without_images(page.split("</style>")[1])  # self-contained
    assert "--rows " in page
    run_script("dsfilter.py", labelled, tmp_path / "b.h5", "--rows", tmp_path / "bad.txt", "--exclude")
    before = [s for i, s in enumerate(rows_of(labelled)) if i not in WRONG]
    for a, b in zip(rows_of(tmp_path / "b.h5"), before, strict=True):
        assert np.array_equal(known(a.rotation), known(b.rotation))
        assert np.array_equal(known(a.landmarks), known(b.landmarks))


def test_odd_rows_are_counted(odd_faces: tuple[Path, list[str]], own_models: None, tmp_path: Path) -> None:
    path, kinds = odd_faces
    words = ("--model", "a.ckpt", "--report", tmp_path / "x.html", "--workers", 0)
    text = run_script("review_labels.py", path, *words)
    readable = [kind for kind in kinds if ODD[kind][2] or kind == "with a gap"]
    comparable = [kind for kind in readable if kind not in ("with a gap", "no landmarks")]
    assert f"{min(50, len(comparable))} of {len(readable)} rows" in text
    assert f"{len(kinds) - len(readable)} can't be compared" in text


def test_a_file_without_labels_is_told(rendered: list[Sample], own_models: None, tmp_path: Path) -> None:
    path = write_samples(tmp_path / "a.h5", [Sample(image=rendered[0].image, face_box=rendered[0].face_box)])
    text = run_script("review_labels.py", path, "--report", tmp_path / "x.html", "--workers", 0, expect=1)
    assert "a.h5: has no labels to compare" in text
    assert not (tmp_path / "x.html").exists()


def test_models_add_up_however_they_are_given() -> None:
    """Of an option that was given twice, the first was lost without a word."""
    for words in (
        ["pseudolabels", "a.h5", "-c", "a.ckpt", "-c", "b.ckpt"],
        ["pseudolabels", "a.h5", "--model", "a.ckpt", "b.ckpt"],
        ["review", "a.h5", "--report", "r.html", "--model", "a.ckpt", "--model", "b.ckpt"],
    ):
        assert [path.name for path in parse(words)[1].model] == ["a.ckpt", "b.ckpt"]
    words = ["train-localizer", "--compare", "a.ckpt", "--compare", "b.onnx"]
    assert [path.name for path in parse(words)[1].compare] == ["a.ckpt", "b.onnx"]
