"""300W: landmarks stay on the pixels they were put on; copies, lonely files and damage are named."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from archive_damage import Members, check_damage, convert, write_folder, write_zip

from close import as_archives_count
from trackertraincode.conversion.w300 import make_source
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.errors import UserError
from trackertraincode.sample.images import decode, encode_jpeg, encode_png

DOOR = "dsprocess_300w.py"
PLAIN = ("--no-mtcnn",)


def pts(points: np.ndarray) -> bytes:
    """(68, 2) as the file of an annotation."""
    return "\n".join(["version: 1", "n_points:  68", "{", *(f"{x:.3f} {y:.3f}" for x, y in points), "}"]).encode()


def face(seed: int, name: str, extension: str = "png") -> Members:
    """A face of 90 pixels in an image of 180 × 150."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 255, (150, 180, 3), dtype=np.uint8)
    image = encode_png(pixels) if extension == "png" else encode_jpeg(pixels)
    return {f"{name}.{extension}": image, f"{name}.pts": pts(rng.uniform([40, 30], [140, 120], (68, 2)))}


def test_landmarks_count_from_one(tmp_path: Path) -> None:
    pixels = np.zeros((150, 180, 3), np.uint8)
    corners = np.array([[20, 30], [129, 30], [20, 129], [129, 129]])  # of a bright square, as MATLAB counts its pixels
    pixels[29:129, 19:129] = 200
    points = corners[np.arange(68) % 4].astype(float)
    members = {"a/x.png": encode_png(pixels), "a/x.pts": pts(points)}
    convert(DOOR, write_zip(tmp_path / "300w.zip", members), tmp_path / "a.h5", *PLAIN)
    sample = Hdf5PoseDataset(tmp_path / "a.h5")[0]
    assert sample.landmarks_2d is not None
    found = decode(sample.image) > 100
    rows, columns = np.nonzero(found)
    low, high = sample.landmarks_2d.min(0), sample.landmarks_2d.max(0)
    assert np.allclose(low, [columns.min() + 0.5, rows.min() + 0.5])  # middles of the outermost bright pixels
    assert np.allclose(high, [columns.max() + 0.5, rows.max() + 0.5])


def test_real_faces(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "annotated_samples" / "300w"
    listed = json.loads((folder / "test_300w.json").read_text())
    names = {image["id"]: image["file_name"] for image in listed["images"]}
    members: Members = {}
    expected = {}
    for annotation in listed["annotations"]:
        name = names[annotation["image_id"]]
        points = np.reshape(annotation["keypoints"], (68, 3))[:, :2]
        members[f"300W/01_Indoor/{name}"] = (folder / name).read_bytes()
        members[f"300W/01_Indoor/{name[:-4]}.pts"] = pts(points)
        expected[name] = points
    convert(DOOR, write_zip(tmp_path / "300w.zip", members), tmp_path / "a.h5", *PLAIN)
    data = Hdf5PoseDataset(tmp_path / "a.h5")
    assert set(data.fields) == {"image", "face_box", "landmarks_2d"}
    for sample, name in zip(map(as_archives_count, data), sorted(expected), strict=True):
        assert sample.landmarks_2d is not None
        points = expected[name] - 1
        edges = points.max(0) - points.min(0)
        factor = 224 / edges.min() if edges.min() > 336 else 1.0
        ours = sample.landmarks_2d - sample.landmarks_2d.mean(0)
        assert np.allclose(ours, (points - points.mean(0)) * factor, atol=1.0)


def test_sets_are_read_in_order_and_copies_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    members = face(1, "lfpw/testset/image_0001") | face(2, "lfpw/trainset/image_0001") | face(3, "afw/7_1", "jpg")
    members |= face(2, "copy/lfpw/trainset/image_0001")
    members |= {"helen/lonely.jpg": members["afw/7_1.jpg"], "ibug/none.pts": pts(np.zeros((68, 2)))}
    source = make_source(write_folder(tmp_path / "sets", members), mtcnn=False)
    assert [str(item) for item in source.items] == [
        "afw/7_1.jpg", "lfpw/testset/image_0001.png", "lfpw/trainset/image_0001.png",
    ]  # fmt: skip
    said = " ".join(source.notes)
    assert "copy/lfpw/trainset/image_0001.png" in said
    assert "1 images have no .pts file" in said
    assert "1 files of landmarks have no image" in said


def test_other_faces_under_the_same_names_are_no_copies(tmp_path: Path) -> None:
    members = face(1, "anna/images/0001") | face(2, "ben/images/0001") | face(2, "again/ben/images/0001")
    source = make_source(write_folder(tmp_path / "people", members), mtcnn=False)
    assert {str(item) for item in source.items} == {"anna/images/0001.png", "ben/images/0001.png"}
    assert "1 images are there again" in source.notes[0]


def test_copies_under_other_names_are_left_out_and_capitals_make_no_difference(tmp_path: Path) -> None:
    members = face(1, "01_Indoor/indoor_001") | face(2, "01_Indoor/indoor_002")
    members |= face(1, "01_Indoor copy/indoor_001") | face(2, "01_Indoor/indoor_002 (1)")
    members["01_Indoor/INDOOR_001.pts"] = members.pop("01_Indoor/indoor_001.pts")
    source = make_source(write_zip(tmp_path / "300w.zip", members), mtcnn=False)
    assert [str(item) for item in source.items] == ["01_Indoor/indoor_001.png", "01_Indoor/indoor_002.png"]
    assert "2 images are there again" in source.notes[0]


def test_an_image_in_two_formats_is_one_face(tmp_path: Path) -> None:
    """The .png is 300W's own; the other may be a thumbnail."""
    members = face(1, "helen/x") | face(2, "helen/y", "jpg")
    members["helen/x.jpg"] = encode_jpeg(np.zeros((20, 20, 3), np.uint8))
    source = make_source(write_folder(tmp_path / "sets", members), mtcnn=False)
    assert [str(item) for item in source.items] == ["helen/x.png", "helen/y.jpg"]
    assert source.notes == ("1 images are there again in another format beside them: left out",)


def test_drawn_faces_may_have_the_same_landmarks(tmp_path: Path) -> None:
    members = face(1, "a/x") | face(2, "a/y")
    members["a/y.pts"] = members["a/x.pts"]
    assert len(make_source(write_folder(tmp_path / "sets", members), mtcnn=False).items) == 2


def test_other_archives_are_named(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "300w.zip", {"a/x.png": b"", "b/x.pts": b""})
    with pytest.raises(UserError, match=r"300w\.zip: no NAME\.pts beside"):
        convert(DOOR, path, tmp_path / "a.h5", *PLAIN)


@pytest.mark.parametrize("build", [write_zip, write_folder])
def test_damage_is_named(build: Callable[[Path, Members], Path], tmp_path: Path) -> None:
    members = face(1, "01_Indoor/a") | face(2, "01_Indoor/b", "jpg") | face(3, "02_Outdoor/c")
    check_damage(DOOR, members, build, tmp_path, count=10, options=PLAIN)
