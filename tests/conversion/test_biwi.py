"""BIWI: poses and boxes of real frames in both layouts, FSA-Net's file, damage."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from archive_damage import Members, check_damage, convert, write_folder, write_zip
from biwi_frames import CENTER, FOCAL, TRANSLATION, Frames, pose_text
from scipy.spatial.transform import Rotation

from close import as_archives_count, known
from trackertraincode.conversion import biwi
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.detection.mtcnn import Detections, MtcnnDetector
from trackertraincode.errors import ArchiveError, UserError
from trackertraincode.sample.images import decode, encode_png

SCRIPT = "dsprocess_biwi.py"


@pytest.fixture
def tiny() -> Members:
    """Two sequences of three small frames without faces."""
    found = {}
    image = encode_png(np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8))
    calibration = b"60 0 32\n0 60 24\n0 0 1\n\n0 0 0 0\n\n1 0 0\n0 1 0\n0 0 1\n\n-20 5 -10\n\n64 48\n"
    for sequence in ("01", "22"):
        found[f"{sequence}/rgb.cal"] = calibration
        for number in range(3):
            stem = f"{sequence}/frame_{number:05d}"
            found[f"{stem}_rgb.png"] = image
            found[f"{stem}_pose.txt"] = pose_text(np.eye(3), np.array([10.0 * number, -20.0, 900.0]))
    return found


def boxes_text(members: Members, top: str = "kinect_head_pose_db/") -> str:
    lines = [f"{top}{name};20;10;45;40;0;0;0" for name in members if name.endswith("_rgb.png")]
    return "\n".join(["#;image;tl_x;tl_y;br_x;br_y;yaw;pitch;roll;", *lines, ""])


@pytest.mark.parametrize("top", ["faces_0/", "kinect_head_pose_db/", ""])
def test_real_labels_equal_their_definitions(
    frames: Frames, annotation: Path, tmp_path: Path, top: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_zip(tmp_path / "a.zip", frames.members(top))
    convert(SCRIPT, source, tmp_path / "a.h5", "--opal-annotation", annotation)
    assert "13209 frames of biwi_ann.txt aren't in" in capsys.readouterr().out
    boxes = {line.split(";")[0][-22:]: line.split(";")[1:5] for line in annotation.read_text().splitlines()}
    with Hdf5PoseDataset(tmp_path / "a.h5") as data:
        assert known(data.sequence_starts).tolist() == [0, 10]
        assert data.labels["individual"].tolist() == [0] * 10
        for sample, (name, image) in zip(map(as_archives_count, data), frames.images.items()):
            turn = Rotation.from_quat(sample.rotation)
            assert (turn * frames.color[name].inv()).magnitude() < np.radians(0.02)  # published colour camera poses
            x, y, z = frames.calibration.apply(frames.centers[name]) + TRANSLATION
            radius = FOCAL * 100 / z
            xy = np.array([x, y]) / z * FOCAL + CENTER + turn.apply([0.03, -0.35, -0.2])[:2] * radius
            assert np.allclose(known(sample.head), [*xy, radius], atol=1e-3)
            assert known(sample.face_box).tolist() == [float(v) for v in boxes[name]]
            difference = decode(sample.image, color=True).astype(float) - decode(image, color=True)
            assert np.abs(difference).mean() < 3


def test_published_projection_uses_65_degrees(frames: Frames, annotation: Path, tmp_path: Path) -> None:
    source = write_folder(tmp_path / "a", frames.members("faces_0/"))
    convert(SCRIPT, source, tmp_path / "a.h5", "--opal-annotation", annotation, "--published-projection", "-n", 1)
    name = next(iter(frames.images))
    x, y, z = frames.calibration.apply(frames.centers[name]) + TRANSLATION
    focal = 320 / np.tan(np.radians(65 / 2))
    radius = focal * 100 / z
    xy = np.array([x / z * focal + 320, y / z * focal + 240])
    xy = xy + frames.color[name].apply([0.03, -0.35, -0.2])[:2] * radius
    assert np.allclose(Hdf5PoseDataset(tmp_path / "a.h5").labels["head"], [[*(xy + 0.5), radius]], atol=1e-2)


@pytest.mark.slow
def test_detected_boxes_lie_on_real_faces(frames: Frames, annotation: Path, tmp_path: Path) -> None:
    pytest.importorskip("facenet_pytorch")
    source = write_zip(tmp_path / "a.zip", frames.members("faces_0/"))
    convert(SCRIPT, source, tmp_path / "a.h5", "-n", 2)
    convert(SCRIPT, source, tmp_path / "b.h5", "-n", 2, "--opal-annotation", annotation)
    detected, annotated = (Hdf5PoseDataset(tmp_path / f"{name}.h5").labels["face_box"] for name in "ab")
    low, high = np.maximum(detected, annotated), np.minimum(detected, annotated)
    shared = np.prod(high[:, 2:] - low[:, :2], axis=1)
    assert (shared > 0.9 * np.prod(detected[:, 2:] - detected[:, :2], axis=1)).all()


def test_a_detection_must_be_sure_and_overlap_the_projected_head(
    tiny: Members, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = iter([  # the head is projected to about 31, 23 with radius 6
        Detections(np.array([[26.0, 17, 36, 30]]), np.array([0.99])),
        Detections(np.array([[26.0, 17, 36, 30]]), np.array([0.9])),
        Detections(np.array([[50.0, 30, 60, 40]]), np.array([0.99])),
        Detections(np.zeros((0, 4)), np.zeros(0)),
        Detections(np.array([[0.0, 0, 64, 48], [26, 18, 38, 30]]), np.array([0.99, 0.95])),
        Detections(np.array([[26.0, 17, 36, 30]]), np.array([0.99])),
    ])  # fmt: skip
    monkeypatch.setattr(MtcnnDetector, "check", lambda self: None)
    monkeypatch.setattr(MtcnnDetector, "__call__", lambda self, image: next(found))
    convert(SCRIPT, write_zip(tmp_path / "a.zip", tiny), tmp_path / "a.h5")
    output = capsys.readouterr().out
    assert "3 samples written, 3 skipped" in output
    assert "no detected face overlaps the projected head" in output
    data = Hdf5PoseDataset(tmp_path / "a.h5")
    assert data.labels["face_box"].tolist() == [[26, 17, 36, 30], [26, 18, 38, 30], [26, 17, 36, 30]]
    assert known(data.sequence_starts).tolist() == [0, 1, 3]
    assert data.labels["individual"].tolist() == [0, 6, 6]  # sequence 22 is the man of sequence 7


def test_24_sequences_are_of_20_people() -> None:
    people = [biwi.person_of(sequence) for sequence in range(1, 25)]
    assert sorted(set(people)) == list(range(20))
    assert [people[a] == people[b] for a, b in ((2, 14), (4, 17), (1, 20), (6, 21), (0, 1))] == [True] * 4 + [False]


@pytest.mark.parametrize(
    ("member", "data", "message"),
    [
        ("01/frame_00001_pose.txt", None, r"member '01/frame_00001_pose\.txt' is missing"),
        ("01/frame_00001_pose.txt", b"1 0 0\n0 1 0\n0 0 1\n", r"_pose\.txt: 1 blocks between blank lines, expected 2"),
        ("01/frame_00001_pose.txt", b"1 0 0\n0 1 0\n0 1 1\n\n0 0 900\n", r"_pose\.txt: .* isn't a rotation"),
        ("01/frame_00001_pose.txt", b"1 0 0\n0 1 0\n0 0 1\n\n0 0 nan\n", r"_pose\.txt: line 5 has 'nan'"),
        ("01/frame_00001_pose.txt", b"1 0 0\n0 1 0\n0 0 1\n\n0 0 -9\n", r"_pose\.txt: .* in front of the camera"),
        ("01/frame_00001_pose.txt", b"1 0 0\n0 1 0\n0 0 1\n\n5e3 0 900\n", r"_pose\.txt: .* outside the image"),
        ("01/frame_00001_rgb.png", b"no picture", r"frame_00001_rgb\.png: 10 bytes, not a readable"),
        ("01/rgb.cal", None, r"01/rgb\.cal"),
        ("01/rgb.cal", b"1 2 3\n", r"01/rgb\.cal: 1 blocks"),
    ],
)
def test_a_wrong_member_is_named(tiny: Members, tmp_path: Path, member: str, data: bytes | None, message: str) -> None:
    tiny = {name: old for name, old in tiny.items() if name != member} | ({} if data is None else {member: data})
    (tmp_path / "ann.txt").write_text(boxes_text(tiny))
    source = write_zip(tmp_path / "a.zip", tiny)
    with pytest.raises(UserError, match=message):
        convert(SCRIPT, source, tmp_path / "a.h5", "--opal-annotation", tmp_path / "ann.txt", "--strict")
    assert not (tmp_path / "a.h5").exists()
    convert(SCRIPT, source, tmp_path / "a.h5", "--opal-annotation", tmp_path / "ann.txt")
    assert len(Hdf5PoseDataset(tmp_path / "a.h5")) == (3 if "cal" in member else 5)


def test_wrong_annotations_and_archives_are_named(tiny: Members, tmp_path: Path) -> None:
    source = write_zip(tmp_path / "a.zip", tiny)
    wrong = tmp_path / "ann.txt"
    for text, message in (
        ("", r"ann\.txt: no frames in it"),
        ("x/01/frame_00001_rgb.png;1;2;3", r"ann\.txt: line 1 isn't"),
        ("x/01/frame_00001_rgb.png;1;2;3;q;0", r"ann\.txt: line 1 has 'q' where a number should be"),
        ("x/05/frame_00001_rgb.png;1;2;3;4;0", r"ann\.txt: not one of its frames is in"),
    ):
        wrong.write_text(text)
        with pytest.raises(ArchiveError, match=message):
            convert(SCRIPT, source, tmp_path / "a.h5", "--opal-annotation", wrong)
    with pytest.raises(ArchiveError, match=r"nothing\.txt: no such file; get"):
        convert(SCRIPT, source, tmp_path / "a.h5", "--opal-annotation", tmp_path / "nothing.txt")
    with pytest.raises(ArchiveError, match=r"b\.zip: no PP/frame_FFFFF_rgb\.png"):
        convert(SCRIPT, write_zip(tmp_path / "b.zip", {"x": b""}), tmp_path / "a.h5")
    without = {name: data for name, data in tiny.items() if not name.endswith(".cal")}
    wrong.write_text(boxes_text(tiny))
    with pytest.raises(ArchiveError, match=r"c\.zip: '01/rgb\.cal' and all other rgb\.cal are missing"):
        convert(SCRIPT, write_zip(tmp_path / "c.zip", without), tmp_path / "a.h5", "--opal-annotation", wrong)


def test_damaged_archives(tiny: Members, tmp_path: Path) -> None:
    (tmp_path / "ann.txt").write_text(boxes_text(tiny))
    options = ("--opal-annotation", tmp_path / "ann.txt")
    check_damage(SCRIPT, tiny, lambda p, m: write_zip(p.with_suffix(".zip"), m), tmp_path, options=options)


def test_a_box_that_is_not_where_the_pose_puts_the_head_is_skipped(
    tiny: Members, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = boxes_text(tiny).replace("01/frame_00001_rgb.png;20;10;45;40", "01/frame_00001_rgb.png;0;40;5;47")
    (tmp_path / "boxes.txt").write_text(lines)
    convert(
        "dsprocess_biwi.py",
        write_zip(tmp_path / "a.zip", tiny),
        tmp_path / "a.h5",
        "--opal-annotation",
        tmp_path / "boxes.txt",
    )
    output = capsys.readouterr().out
    assert "5 samples written, 1 skipped" in output
    assert (
        "01/frame_00001_rgb.png: the annotated box (0.0, 40.0, 5.0, 47.0) isn't where the pose puts the head" in output
    )


def test_the_published_kind_of_archive_is_read_and_copies_count_once(
    tiny: Members, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "boxes.txt").write_text(boxes_text(tiny))
    double = {f"hpdb/{name}": data for name, data in tiny.items()} | {
        f"hpdb/copy/{name}": data for name, data in tiny.items()
    }
    with tarfile.open(tmp_path / "kinect_head_pose_db.tgz", "w:gz") as file:
        for name, data in double.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    options = ("--opal-annotation", tmp_path / "boxes.txt")
    convert("dsprocess_biwi.py", tmp_path / "kinect_head_pose_db.tgz", tmp_path / "a.h5", *options)
    assert "6 images are there again in other folders, such as hpdb/copy/01/" in capsys.readouterr().out
    convert("dsprocess_biwi.py", write_folder(tmp_path / "b", tiny), tmp_path / "b.h5", *options)
    a, b = (Hdf5PoseDataset(tmp_path / f"{name}.h5").labels for name in "ab")
    assert all(np.array_equal(a[k], b[k]) for k in a)
    assert Hdf5PoseDataset(tmp_path / "a.h5").source["archive"] == "kinect_head_pose_db.tgz"
    assert not list(tmp_path.glob("*.tar*"))


def test_of_copies_the_one_with_a_pose_is_taken(tiny: Members, tmp_path: Path) -> None:
    (tmp_path / "boxes.txt").write_text(boxes_text(tiny))
    deep = {f"hpdb/faces_0/{name}": data for name, data in tiny.items()}
    alone = {f"rgb/{name}": data for name, data in tiny.items() if name.endswith("_rgb.png")}
    options = ("--opal-annotation", tmp_path / "boxes.txt")
    convert("dsprocess_biwi.py", write_folder(tmp_path / "a", deep | alone), tmp_path / "a.h5", *options)
    convert("dsprocess_biwi.py", write_folder(tmp_path / "b", tiny), tmp_path / "b.h5", *options)
    a, b = (Hdf5PoseDataset(tmp_path / f"{name}.h5").labels for name in "ab")
    assert all(np.array_equal(a[k], b[k]) for k in b)
