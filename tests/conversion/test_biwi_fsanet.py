"""FSA-Net's file of BIWI."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from archive_damage import convert, damage_count
from biwi_frames import Frames
from scipy.spatial.transform import Rotation

from close import known
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.errors import ArchiveError, ConfigError, UserError
from trackertraincode.sample.images import decode

SCRIPT = "dsprocess_biwi.py"


def write_fsanet(path: Path, **arrays: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    plain: dict[str, Any] = {
        "image": rng.integers(0, 255, (300, 64, 64, 3), np.uint8),
        "pose": rng.uniform(-75, 75, (300, 3)),
    }
    np.savez(path, **{key: value for key, value in (plain | arrays).items() if value is not None})
    return path


def test_fsanet_file_of_real_labels(frames: Frames, tmp_path: Path) -> None:
    crops = np.stack([decode(p, color=True)[200:264, 300:364, ::-1] for p in frames.images.values()])  # BGR
    source = write_fsanet(tmp_path / "BIWI_done.npz", image=crops, pose=np.stack(list(frames.ypr.values())))
    convert(SCRIPT, source, tmp_path / "a.h5", "--strict")
    with Hdf5PoseDataset(tmp_path / "a.h5") as data:
        assert set(data.fields) == {"image", "rotation", "face_box"}
        for sample, crop, name in zip(data, crops, frames.images):
            assert np.array_equal(decode(sample.image, color=True), crop[..., ::-1])
            assert (Rotation.from_quat(sample.rotation) * frames.color[name].inv()).magnitude() < 1e-5
            assert known(sample.face_box).tolist() == [0, 0, 64, 64]


def test_a_bad_row_of_fsanets_file_is_skipped_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    poses = np.zeros((300, 3))
    poses[7, 1] = np.nan
    poses[260, 0] = 400
    source = write_fsanet(tmp_path / "a.npz", pose=poses)
    convert(SCRIPT, source, tmp_path / "a.h5")
    assert "298 samples written, 2 skipped" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"a\.npz: 'pose', row 7 is \[0\.0, nan, 0\.0\]"):
        convert(SCRIPT, source, tmp_path / "b.h5", "--strict")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pose": None}, "array 'pose' is missing"),
        ({"pose": np.zeros((9, 3))}, "300 images, but 9 poses"),
        ({"pose": np.zeros((300, 4))}, r"'pose' has float64 \(300, 4\)"),
        ({"pose": np.array([{}] * 300)}, "not a complete .npz file of plain arrays"),
        ({"image": np.zeros((300, 64, 64))}, r"'image' has float64 \(300, 64, 64\)"),
        ({"image": np.zeros((300, 64, 64, 3), np.uint8, "F")}, "array 'image' isn't a plain array in C order"),
    ],
)
def test_wrong_fsanet_files_are_named(tmp_path: Path, arrays: dict, message: str) -> None:
    source = write_fsanet(tmp_path / "wrong.npz", **arrays)
    with pytest.raises(ArchiveError, match=rf"wrong\.npz: .*{message}"):
        convert(SCRIPT, source, tmp_path / "a.h5")


def test_options_that_do_not_fit_fsanets_file(tmp_path: Path) -> None:
    source = write_fsanet(tmp_path / "a.npz")
    with pytest.raises(ConfigError, match="don't fit"):
        convert(SCRIPT, source, tmp_path / "a.h5", "--published-projection")
    with pytest.raises(ArchiveError, match=r"b\.npz: no such file"):
        convert(SCRIPT, tmp_path / "b.npz", tmp_path / "a.h5")


def test_damaged_fsanet_files(tmp_path: Path) -> None:
    data = write_fsanet(tmp_path / "a.npz").read_bytes()
    for seed in range(damage_count(20)):
        rng = np.random.default_rng(seed)
        damaged = bytearray(data[: rng.integers(len(data))] if seed % 2 else data)
        for place in rng.integers(len(damaged), size=3):
            damaged[place] ^= int(rng.integers(1, 256))
        (tmp_path / f"{seed}.npz").write_bytes(damaged)
        with pytest.raises(ArchiveError, match=rf"/{seed}\.npz: "):
            convert(SCRIPT, tmp_path / f"{seed}.npz", tmp_path / "a.h5")
        assert not (tmp_path / "a.h5").exists()


def test_an_fsanet_file_whose_header_claims_more_rows_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        for name, shape, values in (
            ("image", (10**6, 64, 64, 3), np.zeros((9, 64, 64, 3), np.uint8)),
            ("pose", (9, 3), np.zeros((9, 3))),
        ):
            buffer = io.BytesIO()
            header = {"descr": values.dtype.str, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(buffer, header)
            file.writestr(f"{name}.npy", buffer.getvalue() + values.tobytes())
    with pytest.raises(
        ArchiveError, match=r"a\.npz: 'image' has 110592 bytes, which don't make \(1000000, 64, 64, 3\)"
    ):
        convert(SCRIPT, tmp_path / "a.npz", tmp_path / "a.h5")
