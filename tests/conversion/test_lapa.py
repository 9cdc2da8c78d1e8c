"""LaPa: labels equal an independent computation, boxes are refined, damage is named."""

from pathlib import Path

import numpy as np
import pytest
from archive_damage import Members, check_damage, convert, write_folder, write_zip
from slow_landmarks import annotations, slow_lapa

from close import as_archives_count, known
from trackertraincode.conversion.lapa import make_source
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.detection import mtcnn
from trackertraincode.detection.mtcnn import Detections, refine_box
from trackertraincode.errors import ArchiveError, UserError
from trackertraincode.sample.images import decode, decode_labels, encode_jpeg, encode_png

DOOR = "dsprocess_lapa.py"
PLAIN = ("--no-mtcnn",)


def add_face(members: Members, split: str, name: str, image: bytes, points: np.ndarray) -> None:
    lines = ["106", *(f"{x:.2f} {y:.2f}" for x, y in points)]
    height, width = decode(image).shape
    classes = np.zeros((height, width), np.uint8)
    (x0, y0), (x1, y1) = points.min(0).astype(int), points.max(0).astype(int)
    classes[y0 : y1 + 1, x0 : x1 + 1] = 1
    classes[(y0 + y1) // 2 : y1, (x0 + x1) // 2 : x1] = 6
    members[f"LaPa/{split}/images/{name}.jpg"] = image
    members[f"LaPa/{split}/landmarks/{name}.txt"] = "\n".join(lines).encode()
    members[f"LaPa/{split}/labels/{name}.png"] = encode_png(classes)


@pytest.fixture(scope="module")
def small() -> Members:
    members: Members = {}
    for number, (split, name) in enumerate(
        [("train", "11_0"), ("train", "afw_3_0"), ("val", "22_0"), ("test", "1_0"), ("train", "2_1")]
    ):
        rng = np.random.default_rng(number)
        image = encode_jpeg(rng.integers(0, 255, (150, 180, 3), dtype=np.uint8))
        add_face(members, split, name, image, rng.uniform([40, 30], [140, 120], (106, 2)))
    return members


@pytest.fixture(scope="module")
def real(shared_data: Path) -> Members:
    members: Members = {}
    for path, points in annotations(shared_data, "lapa"):
        add_face(members, "train", path.stem, path.read_bytes(), points)
    return members


def box_of(points: np.ndarray) -> np.ndarray:
    return np.array([*points.min(0), *points.max(0)])


def test_real_faces_and_their_landmarks_stay_together(real: Members, shared_data: Path, tmp_path: Path) -> None:
    convert(DOOR, write_zip(tmp_path / "LaPa.zip", real), tmp_path / "a.h5", *PLAIN)
    data = Hdf5PoseDataset(tmp_path / "a.h5")
    assert set(data.fields) == {"image", "face_box", "landmarks_2d", "segmentation"}
    for sample, (path, points) in zip(map(as_archives_count, data), annotations(shared_data, "lapa"), strict=True):
        assert sample.face_box is not None
        assert sample.landmarks_2d is not None
        assert isinstance(sample.segmentation, bytes)
        box = box_of(points)
        factor = 224 / min(box[2:] - box[:2]) if min(box[2:] - box[:2]) > 336 else 1.0
        corner = np.floor(np.maximum(0, box[:2] * factor - max(box[2:] - box[:2]) * factor / 2 - 10))
        expected = (slow_lapa(points) + 0.5) * factor - 0.5 - corner
        assert np.abs(sample.landmarks_2d - expected).max() < 0.25
        assert np.allclose(sample.face_box, box * factor - [*corner, *corner], atol=0.25)
        classes = decode_labels(sample.segmentation)
        assert classes.shape == decode(sample.image).shape
        rows, cols = np.nonzero(classes)
        assert np.allclose([cols.min(), rows.min(), cols.max(), rows.max()], sample.face_box, atol=1.5)
        assert path.exists()


def test_mtcnn_moves_the_box_of_a_real_face_up_to_the_forehead(real: Members, tmp_path: Path) -> None:
    pytest.importorskip("facenet_pytorch")
    name = "13609937564_5"
    members = {k: v for k, v in real.items() if name in k}
    source = write_zip(tmp_path / "a.zip", members)
    convert(DOOR, source, tmp_path / "plain.h5", *PLAIN)
    convert(DOOR, source, tmp_path / "refined.h5", "--no-segmentation")
    plain, refined = (Hdf5PoseDataset(tmp_path / f"{kind}.h5")[0] for kind in ("plain", "refined"))
    assert plain.face_box is not None and refined.face_box is not None  # noqa: PT018
    assert plain.landmarks_2d is not None and refined.landmarks_2d is not None  # noqa: PT018
    above = [known(s.landmarks_2d)[19, 1] - known(s.face_box)[1] for s in (plain, refined)]  # of the right brow
    assert above[1] > above[0] + 10
    assert refined.segmentation is None
    size = refined.face_box[3] - refined.face_box[1]
    assert 1.0 < size / (plain.face_box[3] - plain.face_box[1]) < 1.6


def test_detections_elsewhere_leave_the_box(monkeypatch: pytest.MonkeyPatch) -> None:
    box = np.array([100.0, 100.0, 200.0, 200.0])
    near, far = np.array([110.0, 90.0, 210.0, 190.0]), np.array([180.0, 180.0, 280.0, 280.0])
    for found, expected in (([near, far], near), ([far], box), ([], box)):
        detections = Detections(np.array(found).reshape(-1, 4), np.ones(len(found)))
        monkeypatch.setattr(mtcnn, "MtcnnDetector", lambda min_face, result=detections: lambda image: result)
        assert refine_box(np.zeros((300, 300, 3), np.uint8), box).tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ((), ["11_0", "2_1", "afw_3_0", "22_0", "1_0"]),
        (("--only-megaface",), ["11_0", "2_1", "22_0", "1_0"]),
        (("--split", "val"), ["22_0"]),
        (("--split", "train", "--only-megaface", "-n", 1), ["11_0"]),
    ],
)
def test_order_and_choice_of_samples(small: Members, tmp_path: Path, options: tuple, names: list[str]) -> None:
    convert(DOOR, write_zip(tmp_path / "a.zip", small), tmp_path / "a.h5", *PLAIN, *options)
    images = Hdf5PoseDataset(tmp_path / "a.h5").images(range(len(names)))
    stored = {data: name.split("/")[-1][:-4] for name, data in small.items() if name.endswith(".jpg")}
    assert [stored[image] for image in images] == names  # copied, since nothing had to be cut off


def test_folders_without_the_top_one_convert_alike(small: Members, tmp_path: Path) -> None:
    convert(DOOR, write_zip(tmp_path / "a.zip", small), tmp_path / "a.h5", *PLAIN)
    inner = {name.removeprefix("LaPa/"): data for name, data in small.items()}
    convert(DOOR, write_folder(tmp_path / "b", inner), tmp_path / "b.h5", *PLAIN)
    a, b = (Hdf5PoseDataset(tmp_path / f"{name}.h5").labels for name in "ab")
    assert all(np.array_equal(a[k], b[k]) for k in a)


def test_without_label_images_there_is_a_note(small: Members, tmp_path: Path, capsys) -> None:
    rest = {name: data for name, data in small.items() if not name.endswith(".png")}
    convert(DOOR, write_zip(tmp_path / "a.zip", rest), tmp_path / "a.h5", *PLAIN)
    assert "no label images" in capsys.readouterr().out
    assert "segmentation" not in Hdf5PoseDataset(tmp_path / "a.h5").fields


def test_landmarks_are_compared_with_label_images_that_are_not_stored(small: Members, tmp_path: Path) -> None:
    changed = small | {VICTIM.format("landmarks", "txt"): b"106\n" + b"1 2\n3 4\n" * 53}
    del changed["LaPa/val/labels/22_0.png"]
    convert(DOOR, write_zip(tmp_path / "a.zip", changed), tmp_path / "a.h5", "--no-segmentation", "--no-mtcnn")
    assert len(Hdf5PoseDataset(tmp_path / "a.h5")) == 4


VICTIM = "LaPa/train/{}/2_1.{}"


@pytest.mark.parametrize(
    ("folder", "extension", "data", "message"),
    [
        ("landmarks", "txt", None, r"member 'LaPa/train/landmarks/2_1\.txt' is missing"),
        ("labels", "png", None, r"member 'LaPa/train/labels/2_1\.png' is missing"),
        ("landmarks", "txt", b"98\n1 2\n", r"2_1\.txt: '98' in the first of 2 lines, expected 106"),
        ("landmarks", "txt", b"", r"2_1\.txt: nothing in the first of 0 lines"),
        ("landmarks", "txt", b"106\n" + b"1 2\n" * 105, r"2_1\.txt: '106' in the first of 106 lines"),
        ("landmarks", "txt", b"106\n" + b"1 2\n" * 105 + b"1\n", r"2_1\.txt: line 107 has 1 numbers, expected 2"),
        ("landmarks", "txt", b"106\n1 e\n" + b"1 2\n" * 105, r"2_1\.txt: line 2 has 'e'"),
        ("landmarks", "txt", b"\xff\xfe\x00", r"2_1\.txt: not a text file"),
        ("images", "jpg", b"\xff\xd8\xff", r"2_1\.jpg: 3 bytes of JPEG without a frame header"),
        ("labels", "png", b"junk", r"2_1\.png: 4 bytes, not a readable"),
        ("labels", "png", encode_png(np.full((150, 180), 11, np.uint8)), r"2_1\.png: class 11, expected 0 to 10"),
        (
            "labels",
            "png",
            encode_png(np.ones((155, 180), np.uint8)),
            r"label image has 180 × 155 pixels, the image 180",
        ),
        ("labels", "png", encode_png(np.full((150, 180), 10, np.uint8)), r"2_1\.png: no face in it"),
        ("landmarks", "txt", b"106\n" + b"1 2\n" * 106, r"2_1\.txt: landmarks in .*, but the face box is"),
    ],
)
def test_a_damaged_member_is_named(
    small: Members, tmp_path: Path, folder: str, extension: str, data: bytes | None, message: str
) -> None:
    changed = {k: v for k, v in (small | {VICTIM.format(folder, extension): data}).items() if v is not None}
    source = write_zip(tmp_path / "a.zip", changed)
    with pytest.raises(UserError, match=message):
        convert(DOOR, source, tmp_path / "a.h5", "--strict", *PLAIN)
    convert(DOOR, source, tmp_path / "a.h5", *PLAIN)
    assert len(Hdf5PoseDataset(tmp_path / "a.h5")) == 4


@pytest.mark.parametrize(
    ("keep", "arguments", "message"),
    [
        (lambda name: "landmarks" not in name, ("all", False), r"5 images but no landmarks/NAME\.txt"),
        (lambda name: "images" not in name, ("all", False), r"no {train,val,test}/images/NAME\.jpg"),
        (lambda name: "/val/" not in name, ("val", False), r"no val/images/NAME\.jpg"),
        (lambda name: "afw" in name, ("all", True), "none of its images has a name of MegaFace"),
    ],
)
def test_archives_without_a_part_say_which(small: Members, tmp_path: Path, keep, arguments, message: str) -> None:
    source = write_zip(tmp_path / "a.zip", {name: data for name, data in small.items() if keep(name)})
    with pytest.raises(ArchiveError, match=message):
        make_source(source, arguments[0], arguments[1], mtcnn=False, segmentation=True)


def test_damaged_archives(small: Members, tmp_path: Path) -> None:
    check_damage(DOOR, small, lambda p, m: write_zip(p.with_suffix(".zip"), m), tmp_path, options=PLAIN)
