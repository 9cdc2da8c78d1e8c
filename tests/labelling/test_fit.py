"""`ttc fit` from file to file."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from odd_faces import ODD, bare, rows_of

from close import angles_between, known
from conftest import run_script, write_samples
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.labelling import fit
from trackertraincode.sample.sample import MEASURES, Sample


def test_rendered_faces_get_their_labels_back(rendered: list[Sample], tmp_path: Path) -> None:
    source = write_samples(tmp_path / "a.h5", [bare(s) for s in rendered])
    run_script("fit_head_model.py", source, tmp_path / "b.h5", "--workers", 0)
    found = list(rows_of(tmp_path / "b.h5"))
    assert np.median(angles_between(found, rendered)) < 1.0
    for a, b in zip(found, rendered):
        assert a.image == b.image
        assert np.array_equal(known(a.face_box), known(b.face_box))
        assert np.abs(known(a.landmarks)[:, :2] - b.landmarks_2d).mean() < 0.3
        assert abs(known(a.landmarks)[36:48:3, 2].mean()) < 1e-3
        assert 0.0 < known(a.fit_residual) < 2.0
    with Hdf5PoseDataset(tmp_path / "b.h5") as dataset:
        assert dataset.face_model == "embedded-v1"


def test_landmarks_with_depth_stay_as_they_are(rendered: list[Sample], tmp_path: Path) -> None:
    kept = [replace(s, rotation=None, head=None, shape=None) for s in rendered]
    source = write_samples(tmp_path / "a.h5", kept)
    run_script("fit_head_model.py", source, tmp_path / "b.h5", "--workers", 0)
    found = list(rows_of(tmp_path / "b.h5"))
    assert np.median(angles_between(found, rendered)) < 0.5
    assert all(np.allclose(known(a.landmarks), known(b.landmarks), atol=1e-4) for a, b in zip(found, rendered))
    assert [s.sequence for s in found] == [s.sequence for s in rows_of(source)]
    assert [s.individual for s in found] == [s.individual for s in rendered]


def test_what_models_said_of_a_pose_goes_with_it(rendered: list[Sample], tmp_path: Path) -> None:
    said: dict[str, Any] = dict.fromkeys(MEASURES, 1.5)
    path = write_samples(tmp_path / "a.h5", [replace(s, **said) for s in rendered])
    run_script("fit_head_model.py", path, tmp_path / "b.h5", "--workers", 0)
    for sample in rows_of(tmp_path / "b.h5"):
        assert (sample.rotation_spread, sample.head_uncertainty) == (None, None)
        assert (sample.landmarks_spread, sample.landmarks_uncertainty) == (1.5, 1.5), "these landmarks stay"
        assert known(sample.fit_residual) < 1.0


def test_landmarks_without_depth_are_kept_where_the_heads_take_their_place(
    rendered: list[Sample], tmp_path: Path
) -> None:
    """Those of FaceSynthetics are exact, the head's are near them."""
    flat = [replace(s, landmarks=known(s.landmarks) * np.array([1, 1, 0], np.float32)) for s in rendered]
    source = write_samples(
        tmp_path / "a.h5", [replace(s, rotation=None, head=None, shape=None, landmarks_2d=None) for s in flat]
    )
    run_script("fit_head_model.py", source, tmp_path / "b.h5", "--workers", 0)
    for before, after in zip(flat, rows_of(tmp_path / "b.h5")):
        assert np.allclose(known(after.landmarks_2d), known(before.landmarks)[:, :2], atol=1e-4)
        assert known(after.landmarks)[:, 2].any()


def test_residuals_choose_rows(rendered: list[Sample], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noisy = [
        bare(s, landmarks_2d=known(s.landmarks_2d) + rng.normal(0, (i % 2) * 2.0, (68, 2)))
        for i, s in enumerate(rendered)
    ]
    source = write_samples(tmp_path / "a.h5", noisy)
    run_script("fit_head_model.py", source, tmp_path / "b.h5", "--workers", 0)
    run_script("dsfilter.py", tmp_path / "b.h5", tmp_path / "c.h5", "--where", "fit_residual < 3")
    assert [s.image for s in rows_of(tmp_path / "c.h5")] == [s.image for s in rendered[::2]]
    assert "fit_residual, mm" in run_script("dsinfo.py", tmp_path / "c.h5")
    message = run_script("dsfilter.py", source, tmp_path / "d.h5", "--where", "fit_residual < 3", expect=1)
    assert "no labels that tell fit_residual" in message


def test_a_network_sees_a_second_start(
    rendered: list[Sample], experts: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_samples(tmp_path / "a.h5", [bare(s) for s in rendered])
    (expert,) = experts(0)
    monkeypatch.setattr(fit, "models_of", lambda paths: [expert])
    run_script("fit_head_model.py", source, tmp_path / "b.h5", "--start", "a.ckpt", "--workers", 0)
    assert expert.said == len(rendered)
    run_script("fit_head_model.py", source, tmp_path / "c.h5", "--workers", 0)
    found, alone = (list(rows_of(tmp_path / name)) for name in ("b.h5", "c.h5"))
    assert np.median(angles_between(found, rendered)) < 1.0
    assert all(known(a.fit_residual) < known(b.fit_residual) + 0.05 for a, b in zip(found, alone))


@pytest.mark.parametrize("model", ["embedded", "bfm"])
def test_either_head_model_is_fitted(
    model: str, rendered: list[Sample], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    words: tuple[object, ...] = ()
    if model == "bfm":
        words = ("--face-model", request.getfixturevalue("shared_data") / "facemodel" / "bfm_noneck_v3.pkl")
    source = write_samples(tmp_path / "a.h5", [bare(s) for s in rendered])
    run_script("fit_head_model.py", source, tmp_path / "b.h5", "--workers", 0, *words)
    assert np.median(angles_between(list(rows_of(tmp_path / "b.h5")), rendered)) < {"embedded": 1.0, "bfm": 4.0}[model]
    run_script("dscheck.py", tmp_path / "b.h5", *words, "--workers", 0)  # landmarks are where pose and shape put them


def test_odd_rows_are_counted_and_harm_no_others(odd_faces: tuple[Path, list[str]], tmp_path: Path) -> None:
    path, kinds = odd_faces
    words = ("--workers", 0, "--skipped", tmp_path / "skipped.txt")
    text = run_script("fit_head_model.py", path, tmp_path / "b.h5", *words)
    usable = [i for i, kind in enumerate(kinds) if ODD[kind][1]]
    assert f"{len(usable)} samples written, {len(kinds) - len(usable)} skipped" in text
    listed = [int(line.split("\t")[0]) for line in (tmp_path / "skipped.txt").read_text().splitlines()]
    assert listed == [i for i in range(len(kinds)) if i not in usable]
    assert all(known(sample.fit_residual) < 2.0 for sample in rows_of(tmp_path / "b.h5"))


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("no landmarks", "row 0: no landmarks"),
        ("off the face", "row 0: landmarks in .* but the face box is"),
        ("landmarks without end", "row 0: the box around the landmarks (lies outside|is more than 4 times as large)"),
        ("with a gap", "row 0: landmarks hold NaN"),
        ("in one place", "row 0: landmarks all within 4 pixels"),
        ("left and right swapped", "row 0: landmarks (on average|fit a head seen from behind)"),
        ("in no order", "row 0: landmarks on average .* mm from the head that fits best"),
        ("cut off", "row 0: image of .* cut off before the end"),
    ],
)
def test_reasons_name_file_and_row(kind: str, reason: str, rendered: list[Sample], tmp_path: Path) -> None:
    path = write_samples(tmp_path / "a.h5", [ODD[kind][0](rendered[0])], optional=("landmarks_2d", "face_box"))
    (item,) = fit.fit_rows(path, fit.FitOptions(), [0])
    with pytest.raises(fit.ArchiveError, match=rf"a\.h5: {reason}"):
        fit.finish(path, item)


def test_a_file_without_landmarks_is_told(rendered: list[Sample], tmp_path: Path) -> None:
    path = write_samples(tmp_path / "a.h5", [bare(s, landmarks_2d=None) for s in rendered[:2]])
    text = run_script("fit_head_model.py", path, tmp_path / "b.h5", "--workers", 0, expect=1)
    assert "a.h5: no landmarks ('pt3d_68' or 'pt2d_68')" in text
    assert not (tmp_path / "b.h5").exists()


def test_an_interrupted_run_goes_on_where_it_stopped(
    rendered: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_samples(tmp_path / "a.h5", [bare(s) for s in rendered])
    monkeypatch.setattr(fit, "ITEMS_PER_TASK", 6)
    run_script("fit_head_model.py", source, tmp_path / "whole.h5", "--workers", 0)
    fitted: list[int] = []

    def interrupted(fitter: fit.LandmarkFitter, *arguments: Any, **options: Any) -> object:
        fitted.append(1)
        if len(fitted) == 5:  # both contours of the third task
            raise KeyboardInterrupt
        return real(fitter, *arguments, **options)

    real = fit.LandmarkFitter.fit
    monkeypatch.setattr(fit.LandmarkFitter, "fit", interrupted)
    run_script("fit_head_model.py", source, tmp_path / "b.h5", "--workers", 0, expect=130)
    assert not (tmp_path / "b.h5").exists()
    run_script("fit_head_model.py", source, tmp_path / "b.h5", "--workers", 0, "--resume")
    assert len(fitted) == 7
    for a, b in zip(rows_of(tmp_path / "b.h5"), rows_of(tmp_path / "whole.h5"), strict=True):
        assert np.array_equal(known(a.rotation), known(b.rotation))
        assert a.fit_residual == b.fit_residual
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.h5", "b.h5", "whole.h5"]
