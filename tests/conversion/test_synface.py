"""FaceSynthetics: labels equal an independent computation, archives of all kinds convert, damage is named."""

from pathlib import Path

import numpy as np
import pytest
from archive_damage import Members, check_damage, convert, write_folder, write_zip

from close import as_archives_count, known
from trackertraincode.conversion.synface import face_box, make_source
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.errors import ArchiveError
from trackertraincode.rendering.generate import Request, make_face
from trackertraincode.sample.images import Size, decode, decode_labels, encode_png, image_size, sniff

DOOR = "dsprocess_synface.py"


def members_of(count: int, size: int, prefix: str = "") -> dict[str, bytes]:
    """Synthetic faces in FaceSynthetics' layout."""
    members = {}
    for index in range(count):
        sample = make_face(Request(count, size, 5, "hdf5"), index).sample
        assert isinstance(sample.image, bytes)
        assert isinstance(sample.segmentation, bytes)
        assert sample.landmarks_2d is not None
        pupils = [sample.landmarks_2d[36:42].mean(0), sample.landmarks_2d[42:48].mean(0)]
        lines = [f"{x:.4f} {y:.4f}\n" for x, y in [*sample.landmarks_2d, *pupils]]
        members[f"{prefix}{index:06d}.png"] = encode_png(decode(sample.image, color=True))
        members[f"{prefix}{index:06d}_seg.png"] = sample.segmentation
        members[f"{prefix}{index:06d}_ldmks.txt"] = "".join(lines).encode()
    return members


@pytest.fixture(scope="module")
def members() -> Members:
    return members_of(4, 160)


def slow_box(classes: np.ndarray) -> list[int]:
    """Pixel by pixel."""
    inside = [(x, y) for y, row in enumerate(classes.tolist()) for x, value in enumerate(row) if value in (1, 2)]
    xs, ys = [x for x, _ in inside], [y for _, y in inside]
    return [min(xs), min(ys), max(xs) + 1, max(ys) + 1]


def test_labels_equal_an_independent_computation(members: Members, tmp_path: Path) -> None:
    convert(DOOR, write_zip(tmp_path / "a.zip", members), tmp_path / "a.h5")
    data = Hdf5PoseDataset(tmp_path / "a.h5")
    assert set(data.fields) == {"image", "face_box", "landmarks", "segmentation"}
    assert len(data) == 4
    for index, sample in enumerate(map(as_archives_count, data)):
        points = np.loadtxt(members[f"{index:06d}_ldmks.txt"].decode().splitlines())
        assert np.allclose(known(sample.landmarks)[:, :2], points[:68], atol=1e-4)
        assert (known(sample.landmarks)[:, 2] == 0).all()
        assert known(sample.face_box).tolist() == slow_box(decode_labels(members[f"{index:06d}_seg.png"]))
        assert sample.segmentation == members[f"{index:06d}_seg.png"]
        assert sniff(sample.image) == "jpeg"
        difference = decode(sample.image, color=True).astype(int) - decode(members[f"{index:06d}.png"], color=True)
        assert np.abs(difference).mean() < 3


def test_folders_and_mirrors_with_a_folder_in_the_zip_convert_alike(members: Members, tmp_path: Path) -> None:
    inner = {f"dataset_100000/{name}": data for name, data in members.items()}
    sources = (
        write_zip(tmp_path / "a.zip", members),
        write_zip(tmp_path / "b.zip", inner),
        write_folder(tmp_path / "c", inner),
    )
    rows = []
    for number, source in enumerate(sources):
        convert(DOOR, source, tmp_path / f"{number}.h5", "--no-segmentation")
        rows.append(Hdf5PoseDataset(tmp_path / f"{number}.h5"))
        assert "segmentation" not in rows[-1].fields
    for other in rows[1:]:
        assert all(np.array_equal(other.labels[k], rows[0].labels[k]) for k in rows[0].labels)
        assert other.images(range(4)) == rows[0].images(range(4))


def test_without_skin_the_box_is_all_that_is_not_background() -> None:
    classes = np.zeros((100, 100), np.uint8)
    classes[10:60, 20:90] = 17
    assert face_box(classes, "a").tolist() == [20, 10, 90, 60]


@pytest.mark.parametrize("side", [31, 32, 33])
def test_boxes_up_to_32_pixels_are_left_out(side: int) -> None:
    classes = np.zeros((100, 100), np.uint8)
    classes[5 : 5 + side, 0:90] = 1
    if side > 32:
        assert face_box(classes, "a").tolist() == [0, 5, 90, 5 + side]
    else:
        with pytest.raises(ArchiveError, match="a: no face larger than 32"):
            face_box(classes, "a")


@pytest.mark.parametrize(
    ("member", "data", "message"),
    [
        ("000001_ldmks.txt", None, r"member '000001_ldmks\.txt' is missing"),
        ("000001_ldmks.txt", b"1 2\n" * 69, r"000001_ldmks\.txt: 69 lines, expected 70"),
        (
            "000001_ldmks.txt",
            b"1 2\n" * 12 + b"1 2 3\n" + b"1 2\n" * 57,
            r"line 13 has 3 numbers, expected 2",
        ),
        ("000001_ldmks.txt", b"1 2\n" * 12 + b"1 x\n" + b"1 2\n" * 57, r"ldmks\.txt: line 13 has 'x'"),
        ("000001_ldmks.txt", b"nan 2\n" * 70, r"ldmks\.txt: line 1 has 'nan'"),
        (
            "000001_ldmks.txt",
            b"1 2\n2 1\n" * 35,
            r"000001_ldmks\.txt: landmarks in \[1.0, 1.0, 2.0, 2.0\], but the face",
        ),
        ("000001_seg.png", b"junk", r"000001_seg\.png: 4 bytes, not a readable"),
        ("000001_seg.png", encode_png(np.full((160, 160), 19, np.uint8)), r"000001_seg\.png: class 19"),
        ("000001_seg.png", encode_png(np.ones((64, 64), np.uint8)), r"000001\.png: 160 × 160 pixels, .* 64 × 64"),
        ("000001.png", b"junk", r"000001\.png: 4 bytes, not a readable"),
    ],
)
def test_a_damaged_member_is_skipped_and_named(
    members: Members, tmp_path: Path, capsys, member: str, data: bytes | None, message: str
) -> None:
    changed = {k: v for k, v in (dict(members) | {member: data}).items() if v is not None}
    source = write_zip(tmp_path / "a.zip", changed)
    convert(DOOR, source, tmp_path / "a.h5")
    assert "3 samples written, 1 skipped" in capsys.readouterr().out
    with pytest.raises(Exception, match=message):
        convert(DOOR, source, tmp_path / "b.h5", "--strict")
    assert not (tmp_path / "b.h5").exists()


def test_archives_without_a_part_say_which(members: Members, tmp_path: Path) -> None:
    for ending, message in (("_seg.png", "no label images"), ("_ldmks.txt", "no landmarks"), (".png", "give dataset_")):
        rest = {k: v for k, v in members.items() if not k.endswith(ending)}
        with pytest.raises(ArchiveError, match=message):
            make_source(write_zip(tmp_path / f"{ending}.zip", rest), True)


def test_damaged_archives_are_named_and_leave_nothing(tmp_path: Path) -> None:
    check_damage(DOOR, members_of(3, 96), lambda p, m: write_zip(p.with_suffix(".zip"), m), tmp_path)


def test_the_image_keeps_its_size(tmp_path: Path) -> None:
    convert(DOOR, write_zip(tmp_path / "a.zip", members_of(1, 200)), tmp_path / "a.h5")
    assert image_size(Hdf5PoseDataset(tmp_path / "a.h5")[0].image) == Size(200, 200)


@pytest.mark.parametrize("place", ["dataset_100000/{}", ".ipynb_checkpoints/{}", "@eaDir/{}"])
def test_a_second_copy_does_not_double_the_samples(members: Members, tmp_path: Path, place: str) -> None:
    double = members | {place.format(name): data for name, data in members.items()}
    convert(DOOR, write_zip(tmp_path / "a.zip", double), tmp_path / "a.h5")
    assert len(Hdf5PoseDataset(tmp_path / "a.h5")) == 4


def test_capitals_make_no_difference_and_other_names_are_counted(
    members: Members, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loud = {name.replace(".png", ".PNG").replace(".txt", ".TXT"): data for name, data in members.items()}
    loud["portrait.png"] = loud["000000.PNG"]
    convert(DOOR, write_zip(tmp_path / "a.zip", loud), tmp_path / "a.h5")
    assert len(Hdf5PoseDataset(tmp_path / "a.h5")) == 4
    assert "1 images have names that aren't of this set, such as portrait.png" in capsys.readouterr().out
