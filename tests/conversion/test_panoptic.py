"""CMU Panoptic: labels equal OpenCV's projection and SciPy's rotations, damage is named."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from archive_damage import Members, check_damage, convert, write_folder, write_zip
from scipy.spatial.transform import Rotation

from close import as_archives_count, known
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.errors import ArchiveError, UserError
from trackertraincode.sample.images import decode

DOOR = "dsprocess_panoptic.py"
SIZE = (640, 480)
K = np.array([[800.0, 0, 320.5], [0, 802.0, 240.2], [0, 0, 1]])
BENT = np.array([-0.2, 0.05, 1e-3, -2e-3, 0.01])
EARS = 14.0  # cm between them
CAMERAS = {  # number -> world to camera
    0: (Rotation.from_euler("xyz", [175, 8, -3], degrees=True), np.array([3.0, 90.0, 120.0])),
    7: (Rotation.from_euler("xyz", [170, -20, 4], degrees=True), np.array([-8.0, 85.0, 130.0])),
}
HEADS = {  # number -> head, y up and z out of the face, to world; place
    1: (Rotation.from_euler("yx", [5, -10], degrees=True), np.array([0.0, 95.0, 0.0])),
    4: (Rotation.from_euler("yx", [-25, 5], degrees=True), np.array([18.0, 88.0, 8.0])),
}


def joints(number: int) -> np.ndarray:
    rotation, place = HEADS[number]
    local = np.zeros((19, 3))
    local[[15, 17]] = [[3, 0, 0], [-3, 0, 0]]
    local[[16, 18]] = [[EARS / 2, -1, -8], [-EARS / 2, -1, -8]]
    local[1] = [0, -4, 3]
    return np.column_stack([rotation.apply(local) + place, np.full(19, 0.8)])


def labels(numbers: list[int]) -> dict[str, bytes]:
    """One frame's files, by the beginnings of their names."""
    rng = np.random.default_rng(0)
    people = [{"id": -1, "face70": {}}]
    lines = ["mesh tracker", "2"]
    for number in numbers:
        rotation, place = HEADS[number]
        points = rotation.apply(rng.uniform([-4, -6, -2], [4, 3, 1], (70, 3))) + place
        people.append({"id": number, "face70": {"landmarks": points.ravel().tolist(), "visibility": [[*CAMERAS]] * 70}})
        vector = " ".join(map(str, rotation.as_rotvec()))
        lines += ["Person", str(number), "a", "b", "c", "d", "Face 0", "0 0 0", vector, "rest"]
    bodies = [{"id": number, "joints19": joints(number).ravel().tolist()} for number in numbers]
    return {
        "hdPose3d_stage1_coco19/body3DScene_{:08d}.json": json.dumps({"bodies": bodies}).encode(),
        "hdFace3d/faceRecon3D_hd{:08d}.json": json.dumps({"people": people}).encode(),
        "meshTrack_face/meshTrack_{:08d}.txt": "\n".join(lines).encode(),
    }


def calibration() -> dict:
    cameras = [{"name": "vga", "panel": 3, "node": 1}]
    for number, (rotation, shift) in CAMERAS.items():
        cameras.append({
            "name": f"00_{number:02d}", "panel": 0, "node": number, "resolution": SIZE, "K": K.tolist(),
            "distCoef": BENT.tolist(), "R": rotation.as_matrix().tolist(), "t": shift[:, None].tolist(),
        })  # fmt: skip
    return {"cameras": cameras}


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> Members:
    path = tmp_path_factory.mktemp("video") / "a.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 30.0, SIZE)
    rng = np.random.default_rng(0)
    for _ in range(6):
        writer.write(cv2.resize(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8), SIZE))
    writer.release()
    found = {"s1/calibration_s1.json": json.dumps(calibration()).encode()}
    for number in CAMERAS:
        found[f"s1/hdVideos/hd_00_{number:02d}.mp4"] = path.read_bytes()
    for frame in (1, 2, 4):
        found |= {f"s1/{name.format(frame)}": data for name, data in labels([1, 4] if frame < 4 else [4]).items()}
    return found


def test_labels_equal_an_independent_projection(members: Members, tmp_path: Path) -> None:
    convert(DOOR, write_folder(tmp_path / "a", members), tmp_path / "a.h5", "--every", 2, "--strict")
    data = Hdf5PoseDataset(tmp_path / "a.h5")
    expected = [(0, 1), (0, 4), (0, 4), (7, 1), (7, 4), (7, 4)]
    assert data.labels["individual"].tolist() == [person for _, person in expected]
    assert data.sequence_starts is not None
    assert data.sequence_starts.tolist() == [0, 6]
    flip = Rotation.from_euler("x", 180, degrees=True)
    for sample, (number, person) in zip(map(as_archives_count, data), expected):
        turn, shift = CAMERAS[number]
        rotation, place = HEADS[person]
        eyes = turn.apply(place) + shift
        z = eyes / np.linalg.norm(eyes)
        pan, tilt = np.arctan2(z[0], z[2]), -np.arcsin(z[1])
        ray = Rotation.from_euler("YX", [pan, tilt])
        assert ((ray.inv() * turn * rotation * flip).inv() * Rotation.from_quat(sample.rotation)).magnitude() < 1e-5
        center, _ = cv2.projectPoints(place[None], turn.as_rotvec(), shift, K, BENT)
        side, _ = cv2.projectPoints(
            (turn.inv().apply(eyes + [0.7 * EARS, 0, 0] - shift))[None], turn.as_rotvec(), shift, K, BENT
        )
        height, width = decode(sample.image).shape
        box = known(sample.face_box)
        assert known(sample.head)[2] == pytest.approx(np.linalg.norm(side - center), rel=0.1)
        assert (box[:2] < known(sample.head)[:2]).all()
        assert (known(sample.head)[:2] < box[2:]).all()
        assert 1.3 * known(sample.head)[2] < (box[2:] - box[:2]).min() < 3.5 * known(sample.head)[2]
        assert -1 < box[0] < box[2] < width + 1
        assert height <= SIZE[1]


def test_a_sequence_itself_and_a_zip_file_are_read(members: Members, tmp_path: Path) -> None:
    convert(DOOR, write_zip(tmp_path / "a.zip", members), tmp_path / "a.h5", "--every", 1, "--strict")
    inner = {name.removeprefix("s1/"): data for name, data in members.items()}
    convert(DOOR, write_folder(tmp_path / "s1", inner), tmp_path / "b.h5", "--every", 1, "--strict")
    a, b = (Hdf5PoseDataset(tmp_path / f"{name}.h5").labels for name in "ab")
    assert len(a["rotation"]) == 10
    assert all(np.array_equal(a[k], b[k]) for k in a)


def edited(data: bytes, change: Callable[[dict], object]) -> bytes:
    content = json.loads(data)
    change(content)
    return json.dumps(content).encode()


BODY, FACE, MESH = (f"s1/{name.format(2)}" for name in labels([]))


@pytest.mark.parametrize(
    ("member", "change"),
    [
        (
            BODY,
            lambda d: edited(d, lambda c: c["bodies"][0]["joints19"].__setitem__(15 * 4 + 3, 0.05)),
        ),  # an unsure eye
        (FACE, lambda d: edited(d, lambda c: c["people"][1]["face70"]["visibility"].__setitem__(30, []))),
        (FACE, lambda d: edited(d, lambda c: c["people"][1]["face70"]["landmarks"].__setitem__(90, 80.0))),
        (FACE, lambda d: edited(d, lambda c: c["people"][1]["face70"].update(visibility=[[7]] * 20 + [[0, 7]] * 50))),
        (MESH, lambda d: d.replace(d.splitlines()[10], b"0 2 0")),  # another direction than the ears'
    ],
    ids=["joint", "landmark unseen", "landmark far", "enough seen", "mesh"],
)
def test_unsure_heads_are_left_out(members: Members, tmp_path: Path, member: str, change, request) -> None:
    source = write_folder(tmp_path / "a", members | {member: change(members[member])})
    convert(DOOR, source, tmp_path / "a.h5", "--every", 2, "--strict")
    persons = Hdf5PoseDataset(tmp_path / "a.h5").labels["individual"].tolist()
    assert persons == ([1, 4, 4, 1, 4, 4] if "enough" in request.node.name else [4, 4, 4, 4])


@pytest.mark.parametrize(
    ("member", "data", "message"),
    [
        (BODY, b"{", r"body3DScene_00000002\.json: not a JSON file"),
        (BODY, b"[1]", r"body3DScene_00000002\.json: no list 'bodies'"),
        (BODY, b'{"bodies": [{"id": 4, "joints19": [1]}]}', r"'joints19' of 4 isn't 19 × 4 finite numbers"),
        (FACE, b'{"people": [{"id": 1, "face70": 3}]}', None),
        (FACE, b'{"people": [{"id": 4, "face70": {"landmarks": [null]}}]}', r"landmarks of 4 isn't 70 × 3 finite"),
        (MESH, b"a\nb\nFace", r"meshTrack_00000002\.txt: line 3: no person and rotation"),
        (MESH, "a\nb\n\u00b2\n.\n.\n.\n.\nFace\n.\n1 2 3".encode(), r"line 8: no person and rotation"),
        (MESH, b"a\nb\n1000\n.\n.\n.\n.\nFace\n.\n1 2 3", r"line 8: no person and .* persons are 0 to 999"),
        (MESH, b"a\nb\n1\n.\n.\n.\n.\n1\n.\n.\n.\n.\nFace\n.\n1 2", r"meshTrack_00000002\.txt: line 15 has 2 numbers"),
    ],
)
def test_damaged_labels_are_named(
    members: Members, tmp_path: Path, member: str, data: bytes, message: str | None
) -> None:
    source = write_folder(tmp_path / "a", members | {member: data})
    if message is not None:
        with pytest.raises(UserError, match=message):
            convert(DOOR, source, tmp_path / "a.h5", "--every", 2, "--strict")
    convert(DOOR, source, tmp_path / "a.h5", "--every", 2)
    assert len(Hdf5PoseDataset(tmp_path / "a.h5")) == 2


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        (lambda name: "calibration" not in name, r"no SEQUENCE/calibration_SEQUENCE\.json"),
        (lambda name: "hdVideos" not in name, r"s1: no hdVideos/hd_00_NN\.mp4"),
        (lambda name: "hdFace3d" not in name, r"s1: no frames with hdPose3d_stage1_coco19, hdFace3d"),
    ],
)
def test_archives_without_a_part_say_which(members: Members, tmp_path: Path, keep, message: str) -> None:
    source = write_folder(tmp_path / "a", {name: data for name, data in members.items() if keep(name)})
    with pytest.raises(ArchiveError, match=message):
        convert(DOOR, source, tmp_path / "a.h5")


def test_damaged_archives(members: Members, tmp_path: Path) -> None:
    build = lambda path, members: write_zip(path.with_suffix(".zip"), members)  # noqa: E731
    check_damage(DOOR, members, build, tmp_path, count=10, options=("--every", 2))
