"""Pointing'04: poses from names, boxes from text files, both spellings and layouts."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from archive_damage import Members, check_damage, convert, write_folder, write_zip
from scipy.spatial.transform import Rotation

from close import known
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.errors import ArchiveError, UserError
from trackertraincode.geometry.euler import matrix_to_pointing04, pointing04_to_matrix
from trackertraincode.rendering.scene import FaceScene, render_scene

SCRIPT = "dsprocess_pointing04.py"
POSES = ((1, 1, -90, 0), (1, 1, 0, 15), (1, 2, 30, -75), (2, 1, -15, 90), (2, 1, 0, 0))  # person, series, tilt, pan


@pytest.fixture(scope="module")
def members() -> Members:
    """Synthetic faces in the poses of their names."""
    found: Members = {}
    for index, (person, series, tilt, pan) in enumerate(POSES):
        scene = FaceScene.draw(np.random.default_rng(index))
        sample = render_scene(replace(scene, pitch_yaw_roll=(np.radians(tilt), np.radians(pan), 0.0)), 96)
        x0, y0, x1, y1 = (round(float(v)) for v in known(sample.face_box))
        name = f"person{person:02d}{series}{index:02d}{tilt:+d}{pan:+d}"
        text = f"{name}.jpg\nFace\n{(x0 + x1) / 2:g}\n{(y0 + y1) / 2:g}\n{x1 - x0}\n{y1 - y0}\n"
        found[f"Person{person:02d}/{name}.jpg"] = bytes(sample.image)
        found[f"Person{person:02d}/{name}.txt"] = text.encode()
    return found


def test_labels_are_those_of_names_and_text_files(members: Members, tmp_path: Path) -> None:
    convert(SCRIPT, write_zip(tmp_path / "a.zip", members), tmp_path / "a.h5")
    with Hdf5PoseDataset(tmp_path / "a.h5") as data:
        assert data.labels["individual"].tolist() == [1, 1, 1, 2, 2]
        assert known(data.sequence_starts).tolist() == [0, 2, 3, 5]
        for index, (sample, (_, _, tilt, pan)) in enumerate(zip(data, POSES)):
            assert sample.image == members[list(members)[2 * index]]
            gaze = Rotation.from_quat(sample.rotation).apply([0, 0, -1])
            pan_, tilt_ = np.radians([pan, tilt])
            # up is -y, the person's own right is -x; the ears' axis is level before the head nods
            expected = [-np.sin(pan_), -np.sin(tilt_) * np.cos(pan_), -np.cos(tilt_) * np.cos(pan_)]
            assert np.allclose(gaze, expected, atol=1e-6)
            x, y, width, height = map(float, members[list(members)[2 * index + 1]].split()[2:])
            assert np.allclose(known(sample.face_box), [x - width / 2, y - height / 2, x + width / 2, y + height / 2])


def test_old_spelling_folders_and_the_copies_in_front(members: Members, tmp_path: Path) -> None:
    old = {f"DB/{name.replace('person', 'personne')}": data for name, data in members.items()}
    frontal = next(name for name in members if name.endswith("+0+0.jpg"))
    old[f"DB/Front/{frontal.split('/')[-1]}"] = b"a copy"
    convert(SCRIPT, write_folder(tmp_path / "old", old), tmp_path / "old.h5", "--strict")
    convert(SCRIPT, write_zip(tmp_path / "a.zip", members), tmp_path / "a.h5", "--strict")
    ours, theirs = (Hdf5PoseDataset(tmp_path / f"{name}.h5").labels for name in ("a", "old"))
    assert all(np.array_equal(ours[key], theirs[key]) for key in ours)


def test_of_copies_the_one_with_a_box_is_taken(members: Members, tmp_path: Path) -> None:
    deep = {f"db/HeadPoseImageDatabase/{name}": data for name, data in members.items()}
    alone = {f"jpg/{name}": data for name, data in members.items() if name.endswith(".jpg")}
    convert(SCRIPT, write_folder(tmp_path / "a", deep | alone), tmp_path / "a.h5", "--strict")
    convert(SCRIPT, write_folder(tmp_path / "b", members), tmp_path / "b.h5", "--strict")
    a, b = (Hdf5PoseDataset(tmp_path / f"{name}.h5").labels for name in "ab")
    assert all(np.array_equal(a[key], b[key]) for key in b)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m, n: m.pop(f"{n}.txt"), r"member 'Person01/person01101\+0\+15\.txt' is missing"),
        (
            lambda m, n: m.update({f"{n}.txt": b"Face\n1\n2\n3\n"}),
            r"0\+15\.txt: has 3 numbers, expected 4",
        ),
        (lambda m, n: m.update({f"{n}.txt": b"Face\n40\n40\n0\n9\n"}), r"0\+15\.txt: the face box is 0 wide"),
        (lambda m, n: m.update({f"{n}.txt": b"Face\n900\n40\n9\n9\n"}), r"0\+15\.txt: the face box .* outside"),
        (
            lambda m, n: m.update({f"{n}.txt": b"person0.jpg\nFace\n40\n40\n9\n9\n"}),
            r"0\+15\.txt: says it is of 'person0",
        ),
        (lambda m, n: m.update({f"{n}.txt": b"\xff\xfe1"}), r"0\+15\.txt: not a text file"),
        (
            lambda m, n: m.update({f"{n}.jpg": m[f"{n}.jpg"][:500]}),
            r"0\+15\.jpg: \d+ bytes of JPEG, cut off before the end",
        ),
    ],
)
def test_a_wrong_member_is_named(members: Members, tmp_path: Path, change, message: str) -> None:
    changed = dict(members)
    change(changed, "Person01/person01101+0+15")
    source = write_zip(tmp_path / "a.zip", changed)
    with pytest.raises(UserError, match=message):
        convert(SCRIPT, source, tmp_path / "a.h5", "--strict")
    convert(SCRIPT, source, tmp_path / "a.h5")
    assert len(Hdf5PoseDataset(tmp_path / "a.h5")) == len(POSES) - 1


def test_tilt_and_pan_come_back() -> None:
    angles = torch.tensor([[0.3, -1.2], [-1.5, 0.0], [0.0, 0.0], [0.5, np.pi / 2]], dtype=torch.float64)
    assert torch.allclose(matrix_to_pointing04(pointing04_to_matrix(angles)), angles)


def test_another_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"a\.zip: no PersonPP/person"):
        convert(SCRIPT, write_zip(tmp_path / "a.zip", {"x.jpg": b""}), tmp_path / "a.h5")


def test_damaged_archives(members: Members, tmp_path: Path) -> None:
    check_damage(SCRIPT, members, lambda p, m: write_zip(p.with_suffix(".zip"), m), tmp_path)
