"""300W-LP and AFLW2000-3D: labels equal their definitions, archives of all kinds convert, damage is named."""

import io
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from archive_damage import write_zip
from pose_para import VICTIM, broken_mat, convert, rewrite
from scipy.io import loadmat, savemat
from scipy.spatial.transform import Rotation

from close import as_archives_count, known
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.evaluation.protocols import aflw_rows
from trackertraincode.facemodel.bfm import EYE_VERTICES, load_array_pickle
from trackertraincode.rendering.generate import Request, make_face
from trackertraincode.sample.images import decode


def slow_labels(mat: dict, width: int, height: int, bfm: dict | None) -> dict[str, np.ndarray]:
    """The definitions, one sample at a time, in float64, with scipy's rotations."""
    pitch, yaw, roll, tx, ty, _, scale = (float(v) for v in mat["Pose_Para"][0])
    mirror = np.diag([1.0, 1.0, -1.0])
    R = mirror @ Rotation.from_euler("XYZ", [pitch, -yaw, roll]).as_matrix() @ mirror
    size = 0.5 * scale / 224 * width * 100e3
    xy = np.array([tx, height - ty]) + (R @ [0, -0.26, -0.9] * size)[:2]
    labels = {"matrix": R, "head": np.array([*xy, size])}
    if bfm is not None:
        alpha = mat["Shape_Para"][:40, 0].astype(float) / 20 / 1e5
        beta = mat["Exp_Para"][:10, 0].astype(float) / 5
        offsets = (bfm["w_shp"].astype(float) * 20) @ alpha + (bfm["w_exp"].astype(float) * 5e-5) @ beta
        local = (bfm["u"][:, 0].astype(float) * 1e-5 + offsets).reshape(-1, 3) * [1, -1, -1] - [0, -0.26, -0.9]
        posed = local @ R.T * size + [*xy, 0]
        labels["box"] = np.concatenate([posed.min(0)[:2], posed.max(0)[:2]])
        labels["shape"] = np.concatenate([alpha, beta])
        ids = bfm["keypoints"].reshape(-1, 3)[:, 0] // 3
        ids[list(EYE_VERTICES)] = list(EYE_VERTICES.values())
        labels["landmarks"] = posed[ids]
    return labels


def centered(points: np.ndarray) -> np.ndarray:
    return points - [0, 0, points[[36, 39, 42, 45], 2].mean()]


def test_real_aflw2000_labels_equal_their_definitions(shared_data: Path, tmp_path: Path) -> None:
    archive = shared_data / "aflw2000" / "AFLW2000-3D.zip"
    model = shared_data / "facemodel" / "bfm_noneck_v3.pkl"
    convert("aflw2k", archive, tmp_path / "a.h5", "--face-model", model, "-n", 25)
    bfm = load_array_pickle(model)
    with Hdf5PoseDataset(tmp_path / "a.h5") as data, zipfile.ZipFile(archive) as source:
        stems = sorted(n[:-4] for n in source.namelist() if n.endswith(".mat"))
        for sample, stem in zip(map(as_archives_count, data), stems):
            assert sample.image == source.read(f"{stem}.jpg")
            mat = loadmat(io.BytesIO(source.read(f"{stem}.mat")))
            height, width = decode(source.read(f"{stem}.jpg")).shape
            expected = slow_labels(mat, width, height, bfm)
            turn = Rotation.from_quat(sample.rotation) * Rotation.from_matrix(expected["matrix"]).inv()
            assert turn.magnitude() < 1e-5
            assert np.allclose(known(sample.head), expected["head"], atol=1e-3)
            assert np.allclose(known(sample.shape), expected["shape"], atol=1e-5)
            assert np.allclose(known(sample.landmarks), centered(mat["pt3d_68"].T * [1, 1, -1]), atol=1e-3)
            assert np.allclose(
                known(sample.face_box), expected["box"], atol=0.2
            )  # hull of the vertices that can bound it
    assert data.face_model == "bfm_noneck_v3"


def test_real_300wlp_labels_equal_their_definitions(shared_data: Path, tmp_path: Path) -> None:
    archive = shared_data / "300wlp" / "300wlp_miniset.zip"
    model = shared_data / "facemodel" / "bfm_noneck_v3.pkl"
    convert("300wlp", archive, tmp_path / "a.h5", "--face-model", model)
    with Hdf5PoseDataset(tmp_path / "a.h5") as data, zipfile.ZipFile(archive) as source:
        stems = sorted(n[:-4] for n in source.namelist() if n.endswith(".mat"))
        assert len(data) == 2
        for sample, stem in zip(map(as_archives_count, data), stems):
            mat = loadmat(io.BytesIO(source.read(f"{stem}.mat")))
            height, width = decode(source.read(f"{stem}.jpg")).shape
            expected = slow_labels(mat, width, height, load_array_pickle(model))
            points = centered(expected["landmarks"])
            assert np.allclose(known(sample.landmarks), points, atol=1e-3)
            assert np.allclose(known(sample.face_box), [*points.min(0)[:2], *points.max(0)[:2]], atol=1e-3)
            assert np.allclose(known(sample.landmarks_2d), mat["pt2d"].T, atol=1e-4)


def test_without_a_face_model_300wlp_has_pose_box_and_2d_landmarks(shared_data: Path, tmp_path: Path) -> None:
    output = convert("300wlp", shared_data / "300wlp" / "300wlp_miniset.zip", tmp_path / "a.h5")
    assert "bfm_noneck_v3.pkl" in output
    with Hdf5PoseDataset(tmp_path / "a.h5") as data:
        assert set(data.fields) == {"image", "rotation", "head", "face_box", "landmarks_2d"}
        for box, points in zip(data.labels["face_box"], data.labels["landmarks_2d"]):
            around = np.concatenate([points.min(0), points.max(0)])
            assert np.abs(box - around).max() < 0.25 * (around[2] - around[0])  # the stand-in keeps its mouth shut


@pytest.mark.parametrize(
    ("script", "layout", "seed", "count"), [("300wlp", "300wlp", 1, 9), ("aflw2k", "aflw2k", 2, 6)]
)
def test_synthetic_archives_give_back_their_exact_labels(
    archives: Path, tmp_path: Path, script: str, layout: str, seed: int, count: int
) -> None:
    source = archives / ("300W-LP.zip" if layout == "300wlp" else "AFLW2000-3D.zip")
    convert(script, source, tmp_path / "a.h5")
    with Hdf5PoseDataset(tmp_path / "a.h5") as data:
        assert len(data) == count
        assert data.face_model == "embedded-v1"
        for number, sample in enumerate(data):
            truth = make_face(Request(count, 96, seed, layout), number).sample
            assert abs((known(truth.rotation) * sample.rotation).sum()) > 1 - 1e-6
            for label, tolerance in (("head", 2e-3), ("landmarks", 5e-3), ("shape", 1e-5)):
                assert np.allclose(getattr(truth, label), getattr(sample, label), atol=tolerance), label


def test_sequences_subsets_and_boxes_of_300wlp(archives: Path, tmp_path: Path) -> None:
    source = archives / "300W-LP.zip"
    for subset, count in (("original", 3), ("large", 6), ("both", 9)):
        convert("300wlp", source, tmp_path / f"{subset}.h5", "--subset", subset)
        assert len(Hdf5PoseDataset(tmp_path / f"{subset}.h5")) == count
    both = Hdf5PoseDataset(tmp_path / "both.h5")
    assert both.sequence_starts is not None
    assert both.sequence_starts.tolist() == [0, 4, 8, 9]
    convert("300wlp", source, tmp_path / "mesh.h5", "--reconstruct-head-bbox")
    mesh = Hdf5PoseDataset(tmp_path / "mesh.h5").labels["face_box"]
    assert (mesh[:, 1] < both.labels["face_box"][:, 1]).all()  # reaches up to the forehead


def test_large_poses_take_landmarks_that_follow_the_rotation(archives: Path, tmp_path: Path) -> None:
    convert("300wlp", archives / "300W-LP.zip", tmp_path / "a.h5")
    labels = Hdf5PoseDataset(tmp_path / "a.h5").labels
    assert np.allclose(labels["landmarks_2d"], labels["landmarks"][..., :2], atol=0.01)
    no_folder = rewrite(archives / "300W-LP.zip", tmp_path / "b.zip", lambda n, d: None if "landmarks" in n else (n, d))
    convert("300wlp", no_folder, tmp_path / "b.h5")
    points = Hdf5PoseDataset(tmp_path / "b.h5").labels["landmarks_2d"]
    assert np.isfinite(points[[0, 4, 8]]).all()
    assert np.isnan(points[[1, 2, 3, 5, 6, 7]]).all()


def test_images_whose_landmarks_are_missing_are_counted_and_named(archives: Path, tmp_path: Path) -> None:
    gone = "300W_LP/landmarks/AFW/SYNTH_000000_1_pts.mat"
    source = rewrite(archives / "300W-LP.zip", tmp_path / "some.zip", lambda n, d: None if n == gone else (n, d))
    said = convert("300wlp", source, tmp_path / "out.h5")
    assert "1 of 9 images have no landmarks/SUBSET/NAME_pts.mat, such as 300W_LP/AFW/SYNTH_000000_1;" in said
    with Hdf5PoseDataset(tmp_path / "out.h5") as data:
        lacking = np.isnan(data.labels["landmarks_2d"]).all((1, 2))
    assert lacking.sum() == 1


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
def test_arrays_of_any_type_convert(archives: Path, tmp_path: Path, dtype: str) -> None:
    def cast(name: str, data: bytes) -> tuple[str, bytes]:
        if not name.endswith(".mat") or "_pts" in name:
            return name, data
        mat = {k: v for k, v in loadmat(io.BytesIO(data)).items() if not k.startswith("__")}
        mat["Exp_Para"] = np.zeros((29, 1), dtype)
        mat["pt2d"] = np.abs(mat["pt2d"]).astype(dtype)
        buffer = io.BytesIO()
        savemat(buffer, mat)
        return name, buffer.getvalue()

    convert("300wlp", rewrite(archives / "300W-LP.zip", tmp_path / "a.zip", cast), tmp_path / "a.h5", "--strict")
    assert len(Hdf5PoseDataset(tmp_path / "a.h5")) == 9


def test_unpacked_backslashed_and_mac_archives_convert_alike(archives: Path, tmp_path: Path) -> None:
    source = archives / "300W-LP.zip"
    shutil.unpack_archive(source, tmp_path / "folder")
    backslashes = rewrite(source, tmp_path / "b.zip", lambda n, d: (n.replace("/", "\\"), d))
    with zipfile.ZipFile(backslashes, "a") as archive:
        archive.writestr("__MACOSX/300W_LP/AFW/._SYNTH_000000_0.jpg", b"junk")
        archive.writestr("300W_LP/AFW_Flip/SYNTH_000000_0.jpg", b"junk")
    expected = Hdf5PoseDataset(_converted(source, tmp_path / "1.h5")).labels
    for place in (tmp_path / "folder", backslashes):
        labels = Hdf5PoseDataset(_converted(place, tmp_path / "2.h5")).labels
        assert all(np.array_equal(labels[k], expected[k], equal_nan=True) for k in expected)


def _converted(source: Path, destination: Path) -> Path:
    convert("300wlp", source, destination)
    return destination


def test_angles_are_kept_as_the_archive_states_them(archives: Path, tmp_path: Path) -> None:
    """Turned by a quaternion and back, these would be other angles below 99 degrees."""
    stated = [195.9, -95.5, -200.8]

    def change(name: str, data: bytes) -> tuple[str, bytes]:
        if name != f"{VICTIM}.mat":
            return name, data
        pose = loadmat(io.BytesIO(data))["Pose_Para"].copy()
        pose[0, :3] = np.deg2rad(stated)
        return name, broken_mat(data, Pose_Para=pose)

    convert("aflw2k", rewrite(archives / "AFLW2000-3D.zip", tmp_path / "a.zip", change), tmp_path / "a.h5")
    dataset = Hdf5PoseDataset(tmp_path / "a.h5")
    angles = dataset.labels["stored_angles"]
    assert np.allclose(angles[1], stated, atol=1e-4)
    assert np.isfinite(angles).all()
    assert aflw_rows(dataset).tolist() == [0, 2, 3, 4, 5]


TURNED = (  # images of the real archive with an angle beyond 99 degrees; those of the last are (-6, -8, -51), too
    734, 983, 1486, 1530, 1547, 1845, 1916, 2000, 2958, 3123, 3162, 3173, 3174, 3273, 3286, 4157,
)  # fmt: skip


def test_images_of_the_real_archive_turned_several_times_are_kept_and_not_evaluated(
    shared_data: Path, tmp_path: Path
) -> None:
    """All rows have to be there, since protocols number them."""

    with zipfile.ZipFile(shared_data / "aflw2000" / "AFLW2000-3D.zip") as real:
        names = [f"AFLW2000/image{n:05d}.{end}" for n in (*TURNED, 665, 667, 670) for end in ("jpg", "mat")]
        source = write_zip(tmp_path / "a.zip", {name: real.read(name) for name in names})
    convert("aflw2k", source, tmp_path / "a.h5", "--strict")
    with Hdf5PoseDataset(tmp_path / "a.h5") as dataset:
        assert len(dataset) == len(TURNED) + 3
        assert aflw_rows(dataset).tolist() == [0, 1, 2]
        assert np.abs(dataset.labels["stored_angles"]).max() > 900
    with Hdf5PoseDataset(tmp_path / "a.h5", labels=("rotation",)) as dataset:  # the last has a negative head size
        assert aflw_rows(dataset).tolist() == [0, 1, 2, len(TURNED) + 2]
