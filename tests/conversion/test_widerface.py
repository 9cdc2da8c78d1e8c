"""WIDER FACE: sections with and without the face, whatever the layout and the number of workers."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from archive_damage import Members, check_damage, convert, write_folder, write_zip

from close import known
from trackertraincode.conversion.widerface import section_with_face, section_without_face
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.errors import ArchiveError, UserError
from trackertraincode.rendering.generate import Request, make_face
from trackertraincode.sample.images import Size, decode, encode_jpeg

SCRIPT = "dsprocess_widerface.py"
REST = "0 0 0 0 0 0"  # blur expression illumination invalid occlusion pose
FACES = {  # image -> size, top left corner of the face, subset
    "0--Parade/0_Parade_a_1.jpg": (Size(480, 360), (40, 60), "train"),
    "0--Parade/0_Parade_b_2.jpg": (Size(360, 500), (150, 300), "train"),
    "9--Press/9_Press_c_3.jpg": (Size(900, 600), (700, 200), "val"),
}
EDGE = 96  # of the rendered face's square
MARK = (255, 0, 255)


def image(size: Size, corner: tuple[int, int], index: int) -> tuple[bytes, np.ndarray]:
    """A synthetic face on grey, its box painted as a frame, and that box."""
    sample = make_face(Request(9, EDGE, 5, "aflw2k"), index).sample
    canvas = np.full((size.height, size.width, 3), 128, np.uint8)
    x, y = corner
    canvas[y : y + EDGE, x : x + EDGE] = decode(sample.image, color=True)
    x0, y0, x1, y1 = (int(v) for v in np.round(known(sample.face_box)) + [x, y, x, y])
    cv2.rectangle(canvas, (x0, y0), (x1 - 1, y1 - 1), MARK, 2)
    return encode_jpeg(canvas, 98), np.array([x0, y0, x1, y1])


@pytest.fixture(scope="module")
def boxes() -> dict[str, np.ndarray]:
    return {name: image(size, corner, i)[1] for i, (name, (size, corner, _)) in enumerate(FACES.items())}


@pytest.fixture(scope="module")
def members(boxes: dict[str, np.ndarray]) -> Members:
    """The unpacked layout; besides single faces an image of two, one of none and one of an invalid face."""
    found = {}
    texts = {"train": "", "val": ""}
    for index, (name, (size, corner, subset)) in enumerate(FACES.items()):
        found[f"WIDER_{subset}/images/{name}"] = image(size, corner, index)[0]
        x0, y0, x1, y1 = boxes[name]
        texts[subset] += f"{name}\n1\n{x0} {y0} {x1 - x0} {y1 - y0} {REST}\n"
    two = f"10 10 50 60 {REST}\n90 10 50 60 {REST}\n"
    texts["train"] += f"0--Parade/two.jpg\n2\n{two}0--Parade/none.jpg\n0\n0 0 0 0 {REST}\n"
    texts["train"] += "0--Parade/invalid.jpg\n1\n10 10 50 60 2 0 0 1 0 0\n"
    for name in ("two", "none", "invalid"):
        found[f"WIDER_train/images/0--Parade/{name}.jpg"] = next(iter(found.values()))
    for subset, text in texts.items():
        found[f"wider_face_split/wider_face_{subset}_bbx_gt.txt"] = text.encode()
    return found


def write_zips(folder: Path, members: Members) -> Path:
    """The three zip files of the download."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("WIDER_train", "WIDER_val", "wider_face_split"):
        write_zip(folder / f"{part}.zip", {n: d for n, d in members.items() if n.startswith(part)})
    return folder


def painted_box(image: np.ndarray) -> np.ndarray | None:
    """Where the frame of the face is in a stored image."""
    far = np.abs(image.astype(int) - MARK).sum(-1)
    rows, columns = np.nonzero(far < 120)
    return None if len(rows) < 20 else np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])


def test_sections_with_and_without_the_face(members: Members, tmp_path: Path) -> None:
    convert(SCRIPT, write_zips(tmp_path / "wider", members), tmp_path / "a.h5", "--strict")
    with Hdf5PoseDataset(tmp_path / "a.h5") as data:
        assert data.labels["has_face"].tolist() == [True, False] * 3
        for sample in data:
            image = decode(sample.image, color=True)
            height, width = image.shape[:2]
            assert width <= 640
            assert abs(width / height - 4 / 3) < 0.03
            found = painted_box(image)
            if sample.has_face:
                assert np.abs(known(found) - known(sample.face_box)).max() <= 1
                assert (known(found)[2] - known(found)[0]) / width > 0.09
            else:
                assert found is None
                assert np.allclose(known(sample.face_box), [width / 4, height / 4, width * 3 / 4, height * 3 / 4])


def test_large_sections_are_scaled(members: Members, tmp_path: Path) -> None:
    source = write_zips(tmp_path / "wider", members)
    convert(SCRIPT, source, tmp_path / "large.h5")
    convert(SCRIPT, source, tmp_path / "small.h5", "--max-size", 100)
    for large, small in zip(Hdf5PoseDataset(tmp_path / "large.h5"), Hdf5PoseDataset(tmp_path / "small.h5")):
        (height, width), shape = decode(large.image).shape, decode(small.image).shape
        assert shape == (75, 100) or shape == (height, width)
        ratio = np.array([shape[1] / width, shape[0] / height] * 2)
        assert np.allclose(known(small.face_box), large.face_box * ratio, atol=1e-3)


def test_layouts_and_orders_make_no_difference_but_the_seed_does(members: Members, tmp_path: Path) -> None:
    places = {
        "zips": write_zips(tmp_path / "zips", members),
        "folder": write_folder(tmp_path / "folder", members),
        "one": write_zip(tmp_path / "one.zip", members),
    }
    files = {name: tmp_path / f"{name}.h5" for name in places}
    for name, place in places.items():
        convert(SCRIPT, place, files[name])
    convert(SCRIPT, places["zips"], tmp_path / "workers.h5", "--workers", 2)
    convert(SCRIPT, places["zips"], tmp_path / "seed.h5", "--seed", 7)
    expected, *others = [list(Hdf5PoseDataset(p)) for p in (*files.values(), tmp_path / "workers.h5")]
    for other in others:
        assert [s.image for s in other] == [s.image for s in expected]
        assert np.array_equal([known(s.face_box) for s in other], [known(s.face_box) for s in expected])
    assert [s.image for s in Hdf5PoseDataset(tmp_path / "seed.h5")] != [s.image for s in expected]


def test_smaller_copies_beside_the_images_are_not_taken(members: Members, tmp_path: Path) -> None:
    """Boxes are of the images in the fewest folders."""
    convert(SCRIPT, write_folder(tmp_path / "a", members), tmp_path / "a.h5", "--strict")
    halves = {
        f"320px/{name}": encode_jpeg(cv2.resize(decode(data, color=True), None, fx=0.5, fy=0.5))
        for name, data in members.items()
        if name.endswith(".jpg")
    }
    convert(SCRIPT, write_folder(tmp_path / "b", halves | members), tmp_path / "b.h5", "--strict")
    a, b = ([sample.image for sample in Hdf5PoseDataset(tmp_path / f"{name}.h5")] for name in "ab")
    assert a == b


def test_missing_parts_are_named(members: Members, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_zips(tmp_path / "wider", members)
    (folder / "WIDER_val.zip").unlink()
    convert(SCRIPT, folder, tmp_path / "a.h5")
    assert "no images of WIDER_val" in capsys.readouterr().out
    assert len(Hdf5PoseDataset(tmp_path / "a.h5")) == 4
    (folder / "wider_face_split.zip").unlink()
    with pytest.raises(ArchiveError, match=r"wider_face_train_bbx_gt\.txt is missing; put wider_face_split\.zip"):
        convert(SCRIPT, folder, tmp_path / "b.h5")
    (folder / "WIDER_train.zip").unlink()
    with pytest.raises(ArchiveError, match=r"no WIDER_train\.zip, WIDER_val\.zip"):
        convert(SCRIPT, folder, tmp_path / "b.h5")
    assert not (tmp_path / "b.h5").exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("b_2.jpg\n1\n", "b_2.jpg\none\n", r"train_bbx_gt\.txt: line 4: the number of boxes should follow"),
        ("b_2.jpg\n1\n", "b_2\n1\n", r"train_bbx_gt\.txt: line 4 should be the path of an image"),
        (" 0 0\n0--Parade/0_Parade_b", "\n0--Parade/0_Parade_b", r"line 3 has 8 numbers, expected 10"),
        ("0--Parade/invalid.jpg\n1\n", "0--Parade/invalid.jpg\n7\n", r"ends within the 7 boxes of '0--Parade/invalid"),
    ],
)
def test_wrong_annotations_name_file_and_line(
    members: Members, tmp_path: Path, old: str, new: str, message: str
) -> None:
    name = "wider_face_split/wider_face_train_bbx_gt.txt"
    text = members[name].decode()
    assert old in text
    source = write_folder(tmp_path / "a", members | {name: text.replace(old, new).encode()})
    with pytest.raises(ArchiveError, match=message):
        convert(SCRIPT, source, tmp_path / "a.h5")


def test_a_box_outside_and_a_cut_image_are_named(members: Members, tmp_path: Path) -> None:
    name = "wider_face_split/wider_face_val_bbx_gt.txt"
    outside = members | {name: f"9--Press/9_Press_c_3.jpg\n1\n2000 10 50 60 {REST}\n".encode()}
    with pytest.raises(UserError, match=r"9_Press_c_3\.jpg: the face box .* lies outside"):
        convert(SCRIPT, write_folder(tmp_path / "a", outside), tmp_path / "a.h5", "--strict")
    key = "WIDER_val/images/9--Press/9_Press_c_3.jpg"
    with pytest.raises(UserError, match=r"9_Press_c_3\.jpg: \d+ bytes of JPEG, cut off before the end"):
        convert(
            SCRIPT, write_folder(tmp_path / "b", members | {key: members[key][:900]}), tmp_path / "a.h5", "--strict"
        )


def test_sections_hold_or_miss_any_box() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(500):
        size = Size(*(int(v) for v in rng.integers(60, 900, 2)))
        x0, y0 = (int(rng.integers(0, edge - 8)) for edge in size)
        x1, y1 = (int(rng.integers(low + 5, edge)) for low, edge in zip((x0, y0), size))
        section = section_with_face(size, (x0, y0, x1, y1), rng)
        if section is not None:
            held += 1
            x, y, width, height = section
            assert 0 <= x <= x0 < x1 <= x + width <= size.width
            assert 0 <= y <= y0 < y1 <= y + height <= size.height
        section = section_without_face(size, (x0, y0, x1, y1), rng)
        if section is not None:
            x, y, width, height = section
            assert min(x, y) >= 0
            assert x + width <= size.width
            assert y + height <= size.height
            assert x >= x1 or x + width <= x0 or y >= y1 or y + height <= y0
    assert held > 200


def test_damaged_archives(members: Members, tmp_path: Path) -> None:
    check_damage(SCRIPT, members, write_zips, tmp_path)
