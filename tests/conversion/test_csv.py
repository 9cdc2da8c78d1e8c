"""A user's own images with a CSV file: labels come back, and what is wrong is named with file, line and column."""

import os
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from archive_damage import Members, check_damage, convert, tagged_jpeg, write_folder, write_zip
from scipy.io import loadmat
from scipy.spatial.transform import Rotation
from small_csv import DOOR, small

from close import as_archives_count, known
from trackertraincode.conversion.csv_labels import LABEL_COLUMNS, make_source
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.errors import UserError
from trackertraincode.rendering.generate import Request, make_face
from trackertraincode.sample.images import decode, encode_png

ALL_COLUMNS = ["path", "sequence", *(c for label, cs in LABEL_COLUMNS.items() if label != "landmarks_2d" for c in cs)]


def angles_of(quat: np.ndarray) -> list[float]:
    """Degrees in AFLW2000-3D's convention, by scipy."""
    mirror = np.diag([1.0, 1.0, -1.0])
    pitch, yaw, roll = Rotation.from_matrix(mirror @ Rotation.from_quat(quat).as_matrix() @ mirror).as_euler("XYZ")
    return np.rad2deg([pitch, -yaw, roll]).tolist()


def synthetic(count: int, size: int) -> tuple[list, Members]:
    """Rendered faces, and a folder with all of their labels."""
    samples = [make_face(Request(count, size, 3, "hdf5"), number).sample for number in range(count)]
    lines = [",".join(ALL_COLUMNS)]
    members: Members = {}
    for number, sample in enumerate(samples):
        members[f"images/face {number}.jpg"] = bytes(sample.image)
        counted = as_archives_count(sample)
        assert sample.face_box is not None
        assert counted.head is not None
        values = [
            *sample.face_box, *angles_of(known(sample.rotation)), *counted.head, *known(counted.landmarks).ravel(),
            number // 2,
        ]  # fmt: skip
        lines.append(",".join([f'"images/face {number}.jpg"', f"clip{number // 2}", *(f"{v:.8g}" for v in values)]))
    members["labels.csv"] = ("\n".join(lines) + "\n").encode()
    return samples, members


@pytest.fixture(scope="module")
def faces() -> tuple[list, Members]:
    return synthetic(4, 96)


def check(path: Path, samples: list, members: Members) -> None:
    data = Hdf5PoseDataset(path)
    assert len(data) == len(samples)
    assert data.sequence_starts is not None
    assert data.sequence_starts.tolist() == [0, 2, 4]
    for number, (stored, truth) in enumerate(zip(data, samples)):
        assert stored.image == members[f"images/face {number}.jpg"]
        assert abs((stored.rotation * truth.rotation).sum()) > 1 - 1e-6
        assert np.allclose(known(stored.face_box), truth.face_box, atol=1e-3)
        assert np.allclose(known(stored.head), truth.head, atol=1e-3)
        assert np.allclose(known(stored.landmarks), truth.landmarks, atol=1e-3)
        assert stored.individual == number // 2


def test_all_labels_come_back_from_file_folder_and_zip(faces: tuple[list, Members], tmp_path: Path) -> None:
    samples, members = faces
    folder = write_folder(tmp_path / "a", members)
    inner = {f"top/{name}": data for name, data in members.items()}
    for number, source in enumerate([folder / "labels.csv", folder, write_zip(tmp_path / "b.zip", inner)]):
        convert(DOOR, source, tmp_path / f"{number}.h5")
        check(tmp_path / f"{number}.h5", samples, members)


def test_angles_are_those_of_aflw2000(shared_data: Path, tmp_path: Path) -> None:
    """A real sample: its CSV line gives the rotation that its own archive gives."""
    archive = shared_data / "aflw2000" / "AFLW2000-3D.zip"
    convert("dsprocess_aflw2k.py", archive, tmp_path / "a.h5", "-n", 6)
    import io
    import zipfile

    lines = ["path;x0;y0;x1;y1;yaw;pitch;roll"]
    with zipfile.ZipFile(archive) as opened:
        for stem in sorted(n[:-4] for n in opened.namelist() if n.endswith(".mat"))[:6]:
            pitch, yaw, roll = np.rad2deg(loadmat(io.BytesIO(opened.read(f"{stem}.mat")))["Pose_Para"][0, :3])
            image = Path(stem).name + ".jpg"
            (tmp_path / image).write_bytes(opened.read(f"{stem}.jpg"))
            lines.append(f"{image};9;9;99;99;{yaw};{pitch};{roll}")
    (tmp_path / "x.csv").write_text("\n".join(lines))
    convert(DOOR, tmp_path / "x.csv", tmp_path / "b.h5")
    a, b = (Hdf5PoseDataset(tmp_path / f"{name}.h5").labels["rotation"] for name in "ab")
    assert np.allclose(np.abs((a * b).sum(1)), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("angles", "vector", "direction"),
    [
        ((20, 0, 0), (0, 0, -1), (0, -1)),  # the nose goes up
        ((0, 20, 0), (0, 0, -1), (-1, 0)),  # the nose goes to the image's left
        ((0, 0, 20), (0, -1, 0), (1, 0)),  # the top of the head goes to the image's right
    ],
)
def test_signs_are_as_the_help_says(tmp_path: Path, angles, vector, direction) -> None:
    (tmp_path / "a.png").write_bytes(encode_png(np.zeros((50, 50), np.uint8)))
    text = "path,x0,y0,x1,y1,pitch,yaw,roll\na.png,0,0,50,50," + ",".join(map(str, angles))
    (tmp_path / "a.csv").write_text(text)
    convert(DOOR, tmp_path / "a.csv", tmp_path / "a.h5")
    turned = Rotation.from_quat(Hdf5PoseDataset(tmp_path / "a.h5").labels["rotation"][0]).apply(vector)
    moved = turned[:2] - np.array(vector[:2])
    assert moved @ direction > 0.3


def test_images_outside_of_the_folder_need_permission(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    lines = [
        "path,x0,y0,x1,y1",
        "../in/b.jpg,1,1,9,9",
        "../a.jpg,1,1,9,9",
        f"{tmp_path / 'a.jpg'},1,1,9,9",
        "b.jpg,1,1,9,9",
    ]
    small(tmp_path, [])
    source = small(tmp_path / "in", lines)
    for given in (source, source.parent):
        convert(DOOR, given, tmp_path / "a.h5", "--skipped", tmp_path / "skipped.txt")
        told = (tmp_path / "skipped.txt").read_text(encoding="utf-8").splitlines()
        assert len(told) == 3
        assert all("lies outside of the CSV file's folder; --allow-outside reads it" in line for line in told)
    convert(DOOR, source, tmp_path / "b.h5", "--strict", "--allow-outside")
    assert len(Hdf5PoseDataset(tmp_path / "b.h5")) == 4


def test_a_resumed_run_looks_at_the_images_that_lines_name(tmp_path: Path) -> None:
    rows = ["A.JPG", '"b.jpg"', "sub\\c.jpg", "../in/d.jpg", f"{tmp_path}/e.jpg", "https://host/f.jpg", "", "a" * 999]
    lines = ["x0,y0,x1,y1,path", *(f"1,1,9,9,{path}" for path in rows), '1,1,9,9,"b', "1,1"]
    source = small(tmp_path, lines)
    inside = [tmp_path / "a.jpg", tmp_path / "b.jpg", tmp_path / "sub" / "c.jpg"]
    same = os.path.normcase if sys.platform == "win32" else str.lower
    assert [same(str(path)) for path in make_source(source).beside()][:3] == [same(str(path)) for path in inside]
    anywhere = {path.name for path in make_source(source, allow_outside=True).beside()}
    assert {"d.jpg", "e.jpg"} <= anywhere
    assert "f.jpg" not in anywhere
    packed = write_zip(tmp_path / "b.zip", {"my.csv": source.read_bytes()})
    assert not list(make_source(packed).beside())


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_that_lead_out_of_the_folder_need_permission(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    small(tmp_path, [])
    source = small(tmp_path / "in", ["path,x0,y0,x1,y1", "c.jpg,1,1,9,9"])
    (tmp_path / "in" / "c.jpg").symlink_to(tmp_path / "a.jpg")
    with pytest.raises(UserError, match=r"'c\.jpg' lies outside of the CSV file's folder; --allow-outside reads it"):
        convert(DOOR, source, tmp_path / "a.h5")
    convert(DOOR, source, tmp_path / "a.h5", "--strict", "--allow-outside")
    (tmp_path / "in" / "c.jpg").unlink()
    (tmp_path / "in" / "c.jpg").symlink_to("b.jpg")
    convert(DOOR, source, tmp_path / "b.h5", "--strict")
    (tmp_path / "linked").symlink_to(tmp_path / "in")
    convert(DOOR, tmp_path / "linked" / source.name, tmp_path / "c.h5", "--strict")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_devices_pipes_and_folders_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    for path in ("/dev/zero", "pipe.jpg", "."):
        source = small(tmp_path, ["path,x0,y0,x1,y1", f"{path},1,1,9,9"])
        with pytest.raises(UserError, match="isn't a file, but a folder, a device or a pipe"):
            convert(DOOR, source, tmp_path / "a.h5", "--allow-outside")


@pytest.mark.parametrize("name", ["A.JPG", "ä.jpg", "Bilder/Über/A.JPG"])
def test_other_spellings_of_names_are_found(tmp_path: Path, name: str) -> None:
    """Of files and of folders."""
    source = small(tmp_path, ["path,x0,y0,x1,y1", f"{name},1,1,9,9"])
    spelled = tmp_path / unicodedata.normalize("NFD", name).lower()
    spelled.parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "a.jpg").rename(spelled)
    convert(DOOR, source, tmp_path / "a.h5", "--strict")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["a.jpg,0.34,0.21,0.66,0.79,5,10,20", "b.jpg,0.35,0.2,0.65,0.8,9,-10,0"], "are they fractions of the image"),
        (["a.jpg,9,9,40,50,0.1,0.5,0", "b.jpg,9,9,40,50,-0.2,-1.2,0", "b.jpg,9,9,40,50,0.3,0.9,0"], "are they radians"),
        (["a.jpg,30,5,33,40,5,10,20", "b.jpg,15,9,31,39,9,-10,0"], "would be usual as x, y, width, height"),
    ],
)
def test_units_that_cannot_be_are_suspected(tmp_path: Path, lines: list[str], message: str, capsys) -> None:
    header, usual = "path,x0,y0,x1,y1,pitch,yaw,roll", ["a.jpg,9,9,40,50,5,10,20", "b.jpg,9,9,42,50,9,-10,0"]
    convert(DOOR, small(tmp_path, [header, *lines]), tmp_path / "a.h5")
    assert message in capsys.readouterr().out
    convert(DOOR, small(tmp_path, [header, *usual]), tmp_path / "b.h5")
    assert "perhaps wrong" not in capsys.readouterr().out


@pytest.mark.parametrize("tag", [3, 6, 8])
def test_tagged_images_are_turned_only_when_asked(tmp_path: Path, tag: int, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.jpg").write_bytes(tagged_jpeg(tag))
    source = small(tmp_path, ["path,x0,y0,x1,y1", "t.jpg,0,0,20,20"])
    convert(DOOR, source, tmp_path / "a.h5")
    assert "1 images, such as t.jpg (line 2), have an orientation tag" in capsys.readouterr().out
    convert(DOOR, source, tmp_path / "b.h5", "--upright")
    assert "orientation" not in capsys.readouterr().out
    stored, turned = (decode(Hdf5PoseDataset(tmp_path / f"{name}.h5")[0].image) for name in "ab")
    assert stored.shape == (20, 40)
    assert stored[:, 0].mean() < 50 < 200 < stored[:, -1].mean()
    dark = {3: turned[:, -1], 6: turned[0], 8: turned[-1]}[tag]
    assert turned.shape == ((20, 40) if tag == 3 else (40, 20))
    assert dark.mean() < 50


def test_landmarks_must_lie_in_the_box_of_their_line(tmp_path: Path) -> None:
    columns = [f"lm{i}_{axis}" for i in range(68) for axis in "xy"]
    lines = [",".join(["path,x0,y0,x1,y1", *columns]), ",".join(["a.jpg,1,1,9,9", *map(str, range(20, 156))])]
    with pytest.raises(UserError, match=r"my\.csv: line 2: landmarks in .*, but the face box is"):
        convert(DOOR, small(tmp_path, lines), tmp_path / "a.h5")


def test_landmarks_must_be_as_large_as_the_box_of_their_line(tmp_path: Path) -> None:
    """As fractions aren't, which touch the box of a whole image."""
    columns = [f"lm{i}_{axis}" for i in range(68) for axis in "xy"]
    fractions = np.linspace(0.2, 0.8, 136).round(3)
    lines = [",".join(["path,x0,y0,x1,y1", *columns]), ",".join(["a.jpg,0,0,80,60", *map(str, fractions)])]
    with pytest.raises(
        UserError, match=r"line 2, columns 'lm0_x' to 'lm67_y': landmarks within .* aren't those of the face"
    ):
        convert(DOOR, small(tmp_path, lines), tmp_path / "a.h5", "--strict")


def test_labels_may_lack_in_some_lines(tmp_path: Path) -> None:
    lines = ["path,x0,y0,x1,y1,pitch,yaw,roll,individual", "a.jpg,1,1,9,9,,,,", "b.jpg,1,1,9,9,1,2,3,7"]
    convert(DOOR, small(tmp_path, [*lines, "a.jpg,1,1,9,9,nan,#N/A,N/A,null"]), tmp_path / "a.h5", "--strict")
    labels = Hdf5PoseDataset(tmp_path / "a.h5").labels
    assert np.isnan(labels["rotation"][[0, 2]]).all()
    assert np.isfinite(labels["rotation"][1]).all()
    assert labels["individual"].tolist() == [-1, 7, -1]


def test_persons_with_large_numbers_stay_apart(tmp_path: Path) -> None:
    persons = [1234567890123456789, 1234567890123456790, 2**63 - 1]
    lines = ["path,x0,y0,x1,y1,individual", *(f"a.jpg,1,1,9,9,{person}" for person in persons)]
    convert(DOOR, small(tmp_path, lines), tmp_path / "a.h5", "--strict")
    assert Hdf5PoseDataset(tmp_path / "a.h5").labels["individual"].tolist() == persons


def test_two_dimensional_landmarks_and_centred_depths(tmp_path: Path) -> None:
    flat = [f"lm{i}_{axis}" for i in range(68) for axis in "xy"]
    lines = [",".join(["path,x0,y0,x1,y1", *flat]), ",".join(["a.jpg,1,1,79,59", *map(str, range(136))])]
    convert(DOOR, small(tmp_path, lines), tmp_path / "a.h5")
    data = Hdf5PoseDataset(tmp_path / "a.h5")
    assert set(data.fields) == {"image", "face_box", "landmarks_2d"}
    assert data.labels["landmarks_2d"][0].ravel().tolist() == [i + 0.5 for i in range(136)]
    deep = [f"lm{i}_{axis}" for i in range(68) for axis in "xyz"]
    lines = [",".join(["path,x0,y0,x1,y1", *deep]), ",".join(["a.jpg,1,1,79,59", *map(str, range(204))])]
    convert(DOOR, small(tmp_path, lines), tmp_path / "b.h5")
    points = Hdf5PoseDataset(tmp_path / "b.h5").labels["landmarks"][0]
    assert points[[36, 39, 42, 45], 2].mean() == pytest.approx(0)
    assert (np.diff(points[:, 2]) == 3).all()


def test_damaged_archives(tmp_path: Path) -> None:
    check_damage(DOOR, synthetic(3, 64)[1], lambda p, m: write_zip(p.with_suffix(".zip"), m), tmp_path)
