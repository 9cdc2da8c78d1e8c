"""300W-LP and AFLW2000-3D: what is damaged or wrong is skipped, counted and named."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from archive_damage import check_damage, write_folder, write_zip
from pose_para import VICTIM, broken_mat, convert, rewrite
from scipy.io import savemat

from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset


@pytest.mark.parametrize(
    ("member", "damage", "message"),
    [
        ("mat", lambda d: broken_mat(d, Pose_Para=None), "image00002.mat: no variable 'Pose_Para'"),
        ("mat", lambda d: broken_mat(d, Pose_Para=np.full((1, 7), np.nan)), "'Pose_Para' holds NaN"),
        ("mat", lambda d: broken_mat(d, pt3d_68=np.zeros((3, 67))), r"'pt3d_68' has shape (3, 67), expected (3, 68)"),
        ("mat", lambda d: b"MATLAB 5.0 junk" * 9, "image00002.mat: not a readable .mat file"),
        ("mat", lambda d: d[: len(d) // 2], "image00002.mat: not a readable .mat file"),
        ("jpg", lambda d: b"no picture", "image00002.jpg: 10 bytes, not a JPEG"),
        ("jpg", lambda d: d[:1500], "image00002.jpg: 1500 bytes of JPEG, cut off before the end"),
        ("jpg", lambda d: None, "member 'AFLW2000/image00002.jpg' is missing"),
    ],
)
def test_a_damaged_sample_is_skipped_counted_and_named(
    archives: Path, tmp_path: Path, member: str, damage, message: str
) -> None:
    def change(name: str, data: bytes):
        if name != f"{VICTIM}.{member}":
            return name, data
        damaged = damage(data)
        return None if damaged is None else (name, damaged)

    source = rewrite(archives / "AFLW2000-3D.zip", tmp_path / "a.zip", change)
    if message.endswith("missing"):  # without its image a .mat isn't a sample at all
        convert("aflw2k", source, tmp_path / "a.h5")
        assert len(Hdf5PoseDataset(tmp_path / "a.h5")) == 5
        return
    output = convert("aflw2k", source, tmp_path / "a.h5")
    assert "5 samples written, 1 skipped" in output
    assert message in output
    strict = convert("aflw2k", source, tmp_path / "b.h5", "--strict", expect=1)
    assert message in strict
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.h5", "a.zip"]


def test_a_truncated_zip_a_wrong_path_and_a_wrong_archive_are_named(archives: Path, tmp_path: Path) -> None:
    whole = (archives / "AFLW2000-3D.zip").read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[: len(whole) // 2])
    assert "cut.zip: not a complete zip file" in convert("aflw2k", tmp_path / "cut.zip", tmp_path / "a.h5", expect=1)
    assert "no such archive" in convert("aflw2k", tmp_path / "nowhere.zip", tmp_path / "a.h5", expect=1)
    output = convert("300wlp", archives / "AFLW2000-3D.zip", tmp_path / "a.h5", expect=1)
    assert "give 300W-LP.zip" in output
    assert not (tmp_path / "a.h5").exists()


def test_mistyped_options_are_answered_with_usage(archives: Path, tmp_path: Path) -> None:
    output = convert("300wlp", archives / "300W-LP.zip", tmp_path / "a.h5", "--subset", "larg", expect=2)
    assert "invalid choice: 'larg'" in output


@pytest.mark.parametrize(("script", "archive"), [("300wlp", "300W-LP.zip"), ("aflw2k", "AFLW2000-3D.zip")])
@pytest.mark.parametrize("build", [lambda p, m: write_zip(p.with_suffix(".zip"), m), write_folder])
def test_damaged_archives_are_named_and_leave_nothing(
    script: str, archive: str, build, archives: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(archives / archive) as whole:
        members = {info.filename: whole.read(info) for info in whole.infolist() if not info.is_dir()}
    check_damage(f"dsprocess_{script}.py", members, build, tmp_path, count=10)


def test_landmarks_of_another_image_are_noticed(archives: Path, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    savemat(buffer, {"pts_2d": np.full((68, 2), 900.0) + np.arange(2)})

    def change(name: str, data: bytes) -> tuple[str, bytes]:
        return name, buffer.getvalue() if name.endswith("_1_pts.mat") else data

    source = rewrite(archives / "300W-LP.zip", tmp_path / "a.zip", change)
    assert "_1_pts.mat: landmarks in [900.0, " in convert("300wlp", source, tmp_path / "a.h5")
