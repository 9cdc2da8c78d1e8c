"""ReplicantFace: labels equal an independent projection, damage is named."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from archive_damage import Members, check_damage, convert, write_folder, write_zip
from scipy.spatial.transform import Rotation

from close import known
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.errors import ArchiveError, UserError
from trackertraincode.sample.images import encode_jpeg, encode_png

DOOR = "dsprocess_replicantface.py"
EDGE = 240
HEAD = np.arange(0, 200, 2)  # vertices of the whole mesh that are in the files
LANDMARKS = HEAD[10:78]
PROJECTION = np.array([[2.0, 0, 0, 0], [0, 2.0, 0, 0], [0, 0, -1.02, -0.2], [0, 0, -1, 0]])
POINTS = np.random.default_rng(0).uniform([-0.06, -0.1, 0.02], [0.06, 0.08, 0.1], (100, 3))  # y up, z out of the face


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **{name: value for name, value in arrays.items() if value is not None})
    return buffer.getvalue()


def modelview(number: int) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("yxz", [20 * number - 30, 8 * number, -5 * number], degrees=True).as_matrix()
    matrix[:3, 3] = [0.02 * number, -0.01, -0.9]
    return matrix


def masked(x: int = 80, y: int = 70) -> np.ndarray:
    mask = np.zeros((EDGE, EDGE, 3), np.uint8)
    mask[200:] = (135, 198, 199)
    mask[y : y + 80, x : x + 70] = (220, 57, 33)
    return mask


def members_of(names: list[str]) -> Members:
    found = {"head_indices.npz": npz(indices=HEAD), "landmark_indices.npz": npz(indices=LANDMARKS)}
    for number, name in enumerate(names):
        arrays = {"modelview": modelview(number), "projection": PROJECTION, "vertices": POINTS, "resolution": EDGE}
        found[f"face_{name}.npz"] = npz(**arrays)
        found[f"face_{name}_img.jpg"] = encode_jpeg(np.full((EDGE, EDGE, 3), 60 + number, np.uint8))
        found[f"face_{name}_mask.png"] = encode_png(masked())
    return found


@pytest.fixture
def members() -> Members:
    return members_of(["00001", "00002", "00004"])


def test_labels_are_what_the_camera_sees(members: Members, tmp_path: Path) -> None:
    convert(DOOR, write_zip(tmp_path / "a.zip", members), tmp_path / "a.h5", "--strict")
    data = Hdf5PoseDataset(tmp_path / "a.h5")
    assert data.sequence_starts is None
    assert data.labels["individual"].tolist() == [1, 2, 4]
    flip = Rotation.from_euler("x", 180, degrees=True)
    for number, sample in enumerate(data):
        view = modelview(number)
        turned = flip * Rotation.from_matrix(view[:3, :3]) * flip
        assert (Rotation.from_quat(sample.rotation) * turned.inv()).magnitude() < 1e-6
        eyes = view @ [0.0, 0.064, 0.086, 1.0]  # up and out of the face
        x, y, _, w = PROJECTION @ eyes
        assert np.allclose(known(sample.head)[:2], [(1 + x / w) * EDGE / 2, (1 - y / w) * EDGE / 2], atol=1e-3)
        scale = EDGE / -eyes[2]  # the focal length is the edge
        assert known(sample.head)[2] == pytest.approx(0.1 * scale, rel=1e-5)
        seen = (view @ np.column_stack([POINTS[10:78], np.ones(68)]).T).T[:, :3] * scale
        assert np.allclose(known(sample.landmarks)[:, 0], EDGE / 2 + seen[:, 0], atol=1e-3)
        assert np.allclose(known(sample.landmarks)[:, 1], EDGE / 2 - seen[:, 1], atol=1e-3)
        assert np.allclose(known(sample.landmarks)[:, 2], -(seen[:, 2] - seen[[36, 39, 42, 45], 2].mean()), atol=1e-3)
        assert known(sample.face_box).tolist() == [80, 70, 150, 150]


def test_variations_of_a_head_form_a_sequence(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "a", members_of(["2_b", "1_a", "2_a", "1_c"]))
    convert(DOOR, source, tmp_path / "a.h5", "--strict")
    data = Hdf5PoseDataset(tmp_path / "a.h5")
    assert data.sequence_starts is not None
    assert data.sequence_starts.tolist() == [0, 2, 4]
    assert data.labels["individual"].tolist() == [1, 1, 2, 2]


def test_a_hidden_face_has_the_box_of_the_rest(members: Members, tmp_path: Path) -> None:
    mask = masked()
    mask[(mask == (220, 57, 33)).all(-1)] = (118, 190, 70)  # a beard
    convert(DOOR, write_zip(tmp_path / "a.zip", members | {"face_00002_mask.png": encode_png(mask)}), tmp_path / "a.h5")
    assert (Hdf5PoseDataset(tmp_path / "a.h5").labels["face_box"] == [80, 70, 150, 150]).all()


GOOD = {"modelview": modelview(1), "projection": PROJECTION, "vertices": POINTS, "resolution": EDGE}


@pytest.mark.parametrize(
    ("member", "data", "message"),
    [
        ("face_00002.npz", npz(**GOOD | {"vertices": None}), r"face_00002\.npz: no array 'vertices'"),
        (
            "face_00002.npz",
            npz(**GOOD | {"modelview": np.eye(3)}),
            r"'modelview' has float64 \(3, 3\), expected numbers",
        ),
        ("face_00002.npz", npz(**GOOD | {"modelview": 2 * np.eye(4)}), r"'modelview' .* isn't a rotation"),
        ("face_00002.npz", npz(**GOOD | {"modelview": np.eye(4)}), "a head .* can't be seen"),
        ("face_00002.npz", npz(**GOOD | {"vertices": POINTS[:40]}), "40 vertices, the landmarks need 78"),
        ("face_00002.npz", npz(**GOOD | {"vertices": POINTS + 1}), "landmarks in .*, but the face box is"),
        ("face_00002.npz", npz(**GOOD | {"resolution": 512}), r"240 × 240 pixels, face_00002\.npz is for 512 × 512"),
        ("face_00002.npz", npz(**GOOD | {"vertices": np.array([{}])}), r"face_00002\.npz: not a complete \.npz file"),
        ("face_00002.npz", b"junk", r"face_00002\.npz: not a complete \.npz file"),
        ("face_00002_img.jpg", encode_jpeg(np.zeros((EDGE, EDGE, 3), np.uint8)), "too dark to show a face"),
        (
            "face_00002_mask.png",
            encode_png(np.zeros((EDGE, EDGE, 3), np.uint8)),
            "the face is 0 × 0 pixels of 240 × 240",
        ),
        ("face_00002_mask.png", None, r"member 'face_00002_mask\.png' is missing"),
    ],
)
def test_a_wrong_member_is_named(
    members: Members, tmp_path: Path, member: str, data: bytes | None, message: str
) -> None:
    changed = {k: v for k, v in (members | {member: data}).items() if v is not None}
    source = write_zip(tmp_path / "a.zip", changed)
    with pytest.raises(UserError, match=message):
        convert(DOOR, source, tmp_path / "a.h5", "--strict")
    convert(DOOR, source, tmp_path / "a.h5")
    assert len(Hdf5PoseDataset(tmp_path / "a.h5")) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"landmark_indices.npz": npz(indices=np.arange(68))},
            r"landmark_indices\.npz: 68 vertices, expected 68 of those",
        ),
        ({"landmark_indices.npz": npz(indices=LANDMARKS[:9])}, r"landmark_indices\.npz: 9 vertices, expected 68"),
        ({"head_indices.npz": None}, r"member 'head_indices\.npz' is missing"),
        (dict.fromkeys([f"face_0000{i}.npz" for i in (1, 2, 4)]), r"no face_NUMBER\.npz in it"),
    ],
)
def test_archives_without_a_part_say_which(members: Members, tmp_path: Path, change: dict, message: str) -> None:
    changed = {k: v for k, v in (members | change).items() if v is not None}
    with pytest.raises(ArchiveError, match=message):
        convert(DOOR, write_zip(tmp_path / "a.zip", changed), tmp_path / "a.h5")


def test_damaged_archives(members: Members, tmp_path: Path) -> None:
    check_damage(DOOR, members, lambda p, m: write_zip(p.with_suffix(".zip"), m), tmp_path)
