"""BFM: only arrays leave the pickle, and real labels are what it predicts."""

import io
import os
import pickle
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from scipy.io import loadmat

from trackertraincode.errors import ModelFileError
from trackertraincode.facemodel.bfm import VERTEX_COUNT, load_bfm
from trackertraincode.facemodel.load import load_head_model
from trackertraincode.geometry.camera import project_weak_perspective
from trackertraincode.geometry.euler import aflw_to_matrix
from trackertraincode.geometry.rotation import matrix_to_quat
from trackertraincode.sample.images import image_size


class Malicious:
    def __reduce__(self):
        return os.system, ("echo harm",)


@pytest.mark.parametrize("content", [{"u": Malicious()}, [Malicious()]])
def test_a_pickle_that_wants_to_run_code_is_refused(tmp_path: Path, content: object) -> None:
    path = tmp_path / "bfm_noneck_v3.pkl"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(ModelFileError, match=r"bfm_noneck_v3\.pkl: refused or damaged.*system"):
        load_bfm(path)


def test_line_breaks_in_a_file_make_no_lines_of_messages(tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(b"\x80\x04\x8c\x05posix\x8c\x05s\ny\rs\x93.")
    with pytest.raises(ModelFileError) as refused:
        load_bfm(tmp_path / "x.pkl")
    assert "asks for posix.s\\ny\\rs," in str(refused.value)


@pytest.mark.parametrize("module", ["numpy.core.multiarray", "numpy._core.multiarray"])
def test_arrays_pickled_by_old_and_new_numpy_are_read(tmp_path: Path, module: str) -> None:
    path = tmp_path / "bfm.pkl"
    data = pickle.dumps({"u": np.zeros(3)}, protocol=3).replace(b"numpy._core.multiarray", module.encode())
    path.write_bytes(data)
    with pytest.raises(ModelFileError, match="no array 'w_shp'"):  # 'u' was read
        load_bfm(path)


def test_missing_damaged_and_foreign_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"nowhere\.pkl: no such file"):
        load_bfm(tmp_path / "nowhere.pkl")
    (tmp_path / "cut.pkl").write_bytes(pickle.dumps({"u": np.zeros(10)})[:40])
    with pytest.raises(ModelFileError, match=r"cut\.pkl: refused or damaged"):
        load_bfm(tmp_path / "cut.pkl")
    arrays = {"u": np.zeros((9, 1)), "w_shp": np.zeros((9, 40)), "w_exp": np.zeros((9, 10)), "keypoints": np.zeros(204)}
    (tmp_path / "other.pkl").write_bytes(pickle.dumps(arrays))
    with pytest.raises(ModelFileError, match=r"'u' has shape \(9, 1\), expected \(115095, 1\)"):
        load_bfm(tmp_path / "other.pkl")


def valid_arrays() -> dict[str, np.ndarray]:
    rows = 3 * VERTEX_COUNT
    shapes = {"u": (rows, 1), "w_shp": (rows, 40), "w_exp": (rows, 10), "keypoints": (204,)}
    return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("keypoints", -5.0, "'keypoints' has values outside of 0 … 115094"),
        ("keypoints", 1e9, "'keypoints' has values outside of 0 … 115094"),
        ("w_exp", np.nan, "'w_exp' has values that are not finite"),
    ],
)
def test_impossible_values_are_named(tmp_path: Path, name: str, value: float, message: str) -> None:
    arrays = valid_arrays()
    arrays[name][3] = value
    (tmp_path / "b.pkl").write_bytes(pickle.dumps(arrays))
    with pytest.raises(ModelFileError, match=rf"b\.pkl: {message}"):
        load_bfm(tmp_path / "b.pkl")


@pytest.mark.parametrize(
    ("triangles", "message"),
    [([1, 2], "no \\(3, N\\) whole numbers"), (np.full((3, 2), 7) * [1, 99999], "vertices that")],
)
def test_unsuited_triangles_are_named(tmp_path: Path, triangles: object, message: str) -> None:
    (tmp_path / "b.pkl").write_bytes(pickle.dumps(valid_arrays()))
    (tmp_path / "tri.pkl").write_bytes(pickle.dumps(triangles))
    with pytest.raises(ModelFileError, match=rf"tri\.pkl: .*{message}"):
        load_bfm(tmp_path / "b.pkl")


def test_without_bfm_the_embedded_head_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATADIR", str(tmp_path))
    assert load_head_model().name == "embedded-v1"


def test_bfm_is_found_in_the_data_folder(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATADIR", str(shared_data / "facemodel"))
    model = load_head_model()
    assert model.name == "bfm_noneck_v3"
    assert len(model.triangles) == 76073


def test_real_coefficients_and_poses_predict_real_landmarks(shared_data: Path) -> None:
    """Mean distance 1.9 px, largest sample mean below 5 px: what inheriting the published conversion gives."""
    model = load_bfm(shared_data / "facemodel" / "bfm_noneck_v3.pkl")
    distances = []
    with ZipFile(shared_data / "aflw2000" / "AFLW2000-3D.zip") as archive:
        for name in sorted(n for n in archive.namelist() if n.endswith(".mat"))[::20]:
            mat = loadmat(io.BytesIO(archive.read(name)))
            width, height = image_size(archive.read(name[:-3] + "jpg"))
            pitch, yaw, roll, tx, ty, _, scale = (float(v) for v in mat["Pose_Para"][0])
            R = aflw_to_matrix(torch.tensor([pitch, yaw, roll], dtype=torch.float64))
            size = 0.5 * scale / 224 * width * 100e3
            x, y, _ = (R @ torch.tensor([0, -0.26, -0.9], dtype=torch.float64) * size).tolist()
            head = torch.tensor([tx + x, height - ty + y, size], dtype=torch.float64)
            coefficients = np.concatenate([mat["Shape_Para"][:40, 0] / 20 / 1e5, mat["Exp_Para"][:10, 0] / 5])
            points = project_weak_perspective(
                torch.from_numpy(model.keypoints68(coefficients)).double(), matrix_to_quat(R), head
            )
            distances.append(np.linalg.norm(points.numpy()[:, :2] - mat["pt3d_68"][:2].T, axis=1).mean())
    assert np.mean(distances) == pytest.approx(1.9, abs=0.2)
    assert np.max(distances) < 5.0
