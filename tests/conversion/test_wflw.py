"""WFLW: labels equal an independent computation, mirrors' layouts convert, damage is named."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from archive_damage import Members, check_damage, convert, write_folder, write_zip
from slow_landmarks import annotations, slow_wflw

from close import as_archives_count
from trackertraincode.conversion.wflw import make_source
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.errors import ArchiveError, UserError
from trackertraincode.sample.images import decode, encode_jpeg, image_size

DOOR = "dsprocess_wflw.py"
LISTS = "WFLW_annotations/list_98pt_rect_attr_train_test/"
ALL_FACES = ("--min-box-width", 0)
Face = tuple[str, np.ndarray, list[int]]  # image, (98, 2) points, box


def line_of(face: Face) -> str:
    image, points, box = face
    numbers = [*(f"{value:.6f}" for value in points.ravel()), *map(str, box), *"010010"]
    return " ".join([*numbers, image]) + "\n"


def make_members(images: dict[str, bytes], train: list[Face], test: list[Face]) -> Members:
    members = {f"WFLW_images/{name}": data for name, data in images.items()}
    for split, faces in (("train", train), ("test", test)):
        members[f"{LISTS}list_98pt_rect_attr_{split}.txt"] = "".join(line_of(face) for face in faces).encode()
    return members


def box_of(points: np.ndarray) -> list[int]:
    return [*np.floor(points.min(0)).astype(int).tolist(), *np.ceil(points.max(0)).astype(int).tolist()]


def synthetic_face(seed: int, width: int, height: int, image: str) -> Face:
    rng = np.random.default_rng(seed)
    points = rng.uniform([0.2 * width, 0.2 * height], [0.8 * width, 0.8 * height], (98, 2))
    return image, points, box_of(points)


@pytest.fixture(scope="module")
def small() -> Members:
    images = {f"{i}--Ball/{i}_Ball_{i}.jpg": encode_jpeg(np.full((150, 200, 3), 40 * i, np.uint8)) for i in range(4)}
    faces = [synthetic_face(i, 200, 150, name) for i, name in enumerate(images)]
    return make_members(images, faces[:3], faces[3:])


@pytest.fixture(scope="module")
def real(shared_data: Path) -> tuple[Members, list[Face]]:
    """The real samples: small faces in large images, and the same five times as large."""
    images, faces = {}, []
    for path, points in annotations(shared_data, "wflw"):
        number, event = path.stem.split("_")[:2]
        name = f"{number}--{event}/{path.name}"
        images[name] = path.read_bytes()
        faces.append((name, points, box_of(points)))
    name, points, _ = faces[0]
    large = cv2.resize(decode(images[name], color=True), None, fx=5, fy=5)
    images["99--Large/99_large.jpg"] = encode_jpeg(large)
    points = (points + 0.5) * 5 - 0.5
    faces.append(("99--Large/99_large.jpg", points, box_of(points)))
    return make_members(images, faces, faces[:1]), faces


def test_real_faces_and_their_landmarks_stay_together(real: tuple[Members, list[Face]], tmp_path: Path) -> None:
    members, faces = real
    convert(DOOR, write_zip(tmp_path / "WFLW.zip", members), tmp_path / "a.h5", *ALL_FACES)
    data = Hdf5PoseDataset(tmp_path / "a.h5")
    assert set(data.fields) == {"image", "face_box", "landmarks_2d"}
    assert len(data) == len(faces) == 5
    for sample, (image, points, box) in zip(map(as_archives_count, data), faces):
        assert sample.face_box is not None
        assert sample.landmarks_2d is not None
        original = decode(members[f"WFLW_images/{image}"])
        crop = decode(sample.image)
        corner, factor = slow_crop(original.shape, box)
        expected = (slow_wflw(points) + 0.5) * factor - 0.5 - corner
        assert np.abs(sample.landmarks_2d - expected).max() < 0.2  # the scaled size is a whole number
        assert np.allclose(sample.face_box, np.array(box) * factor - [*corner, *corner], atol=0.2)
        assert similarity(original, crop, slow_wflw(points), sample.landmarks_2d) > 0.97


def slow_crop(shape: tuple[int, ...], box: list[int]) -> tuple[np.ndarray, float]:
    """Corner of the crop in the scaled image, and the scale."""
    sides = [box[2] - box[0], box[3] - box[1]]
    factor = 224 / min(sides) if min(sides) > 1.5 * 224 else 1.0
    pad = max(sides) * factor / 2 + 10
    return np.floor(np.maximum(0, np.array(box[:2]) * factor - pad)), factor


def similarity(original: np.ndarray, crop: np.ndarray, points: np.ndarray, moved: np.ndarray) -> float:
    """Correlation of both images' grey values at the landmarks."""
    scale = np.linalg.norm(points[36] - points[45]) / np.linalg.norm(moved[36] - moved[45])
    if scale > 1.5:
        original = cv2.blur(original, (round(scale), round(scale)))
    one, other = (
        cv2.remap(i, p[:, 0].astype(np.float32), p[:, 1].astype(np.float32), cv2.INTER_LINEAR).ravel()
        for i, p in ((original, points), (crop, moved))
    )
    return float(np.corrcoef(one, other)[0, 1])


def test_narrow_boxes_are_left_out_and_counted(real: tuple[Members, list[Face]], tmp_path: Path, capsys) -> None:
    members, _ = real
    convert(DOOR, write_zip(tmp_path / "a.zip", members), tmp_path / "a.h5")
    assert "4 faces with boxes narrower than 129 pixels are left out" in capsys.readouterr().out
    data = Hdf5PoseDataset(tmp_path / "a.h5")
    assert len(data) == 1
    box = data.labels["face_box"][0]
    assert min(box[2:] - box[:2]) == pytest.approx(224, rel=1e-3)


def test_train_and_test_lists_make_different_files(small: Members, tmp_path: Path) -> None:
    source = write_zip(tmp_path / "a.zip", small)
    for split, count in (("train", 3), ("test", 1)):
        convert(DOOR, source, tmp_path / f"{split}.h5", "--split", split, *ALL_FACES)
        assert len(Hdf5PoseDataset(tmp_path / f"{split}.h5")) == count


def test_images_that_need_no_crop_are_copied(small: Members, tmp_path: Path) -> None:
    convert(DOOR, write_zip(tmp_path / "a.zip", small), tmp_path / "a.h5", *ALL_FACES)
    data = Hdf5PoseDataset(tmp_path / "a.h5")
    assert image_size(data[0].image) == (200, 150)
    assert data.images(range(3)) == [small[f"WFLW_images/{i}--Ball/{i}_Ball_{i}.jpg"] for i in range(3)]


def rename_to_mirror(name: str, kind: str) -> str:
    if kind == "wrapped":
        return f"WFLW/{name}"
    if kind == "doubled":
        first = name.split("/")[0]
        return f"{first}/{name}"
    if kind == "flat":
        parts = name.split("/")
        return "/".join([parts[0], parts[-1]])
    assert kind == "backslashes"
    return name.replace("/", "\\")


@pytest.mark.parametrize("kind", ["wrapped", "doubled", "flat", "backslashes"])
def test_layouts_of_mirrors_convert_alike(small: Members, tmp_path: Path, kind: str) -> None:
    convert(DOOR, write_folder(tmp_path / "original", small), tmp_path / "a.h5", *ALL_FACES)
    mirrored = {rename_to_mirror(name, kind): data for name, data in small.items()}
    convert(DOOR, write_zip(tmp_path / "b.zip", mirrored), tmp_path / "b.h5", *ALL_FACES)
    a, b = Hdf5PoseDataset(tmp_path / "a.h5"), Hdf5PoseDataset(tmp_path / "b.h5")
    assert np.array_equal(a.labels["landmarks_2d"], b.labels["landmarks_2d"])
    assert a.images(range(3)) == b.images(range(3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda words: words[:-1], r"attr_train\.txt: line 2 has 206 words, expected 206 numbers and an image"),
        (lambda words: words[1:], r"attr_train\.txt: line 2 has 206 words"),
        (lambda words: ["x", *words[1:]], r"attr_train\.txt: line 2 has 'x' where a number should be"),
        (lambda words: ["inf", *words[1:]], r"attr_train\.txt: line 2 has 'inf'"),
        (lambda words: [*words[:196], "9", "9", "9", "9", *words[200:]], r"line 2 has the empty box \[9.0, 9.0"),
        (
            lambda words: [*words[:196], "900", "9", "999", "99", *words[200:]],
            r"line 2: landmarks in .* but the face box",
        ),
        (lambda words: [*["900", "901", "910", "911"] * 49, "900", "9", "999", "950", *words[200:]], "outside of the"),
        (lambda words: [*words[:-1], "7--Gone/gone.jpg"], r"line 2: image '7--Gone/gone\.jpg' is missing"),
    ],
)
def test_a_wrong_line_is_named(small: Members, tmp_path: Path, change, message: str) -> None:
    name = f"{LISTS}list_98pt_rect_attr_train.txt"
    lines = small[name].decode().splitlines()
    lines[1] = " ".join(change(lines[1].split()))
    source = write_zip(tmp_path / "a.zip", {**small, name: "\n".join(lines).encode()})
    with pytest.raises(UserError, match=message):
        convert(DOOR, source, tmp_path / "a.h5", "--strict", *ALL_FACES)
    convert(DOOR, source, tmp_path / "a.h5", *ALL_FACES)
    assert len(Hdf5PoseDataset(tmp_path / "a.h5")) == 2


@pytest.mark.parametrize(
    ("part", "message"),
    [("list_98pt_rect_attr_train.txt", "no list_98pt_rect_attr_train.txt; give"), (".jpg", "no images; WFLW_images")],
)
def test_archives_without_a_part_say_which(small: Members, tmp_path: Path, part: str, message: str) -> None:
    rest = {name: data for name, data in small.items() if not name.endswith(part)}
    with pytest.raises(ArchiveError, match=message):
        make_source(write_zip(tmp_path / "a.zip", rest), "train", 0)


def test_images_of_something_else_are_noticed(small: Members, tmp_path: Path) -> None:
    other = {name.replace("Ball", "Cat"): data for name, data in small.items()}
    with pytest.raises(ArchiveError, match=r"none of the images .* such as '0--Ball/0_Ball_0\.jpg'"):
        make_source(write_zip(tmp_path / "a.zip", other), "train", 0)


def test_damaged_archives(small: Members, tmp_path: Path) -> None:
    check_damage(DOOR, small, lambda p, m: write_zip(p.with_suffix(".zip"), m), tmp_path, options=ALL_FACES)


def test_copies_and_other_spellings_of_images_are_found(small: Members, tmp_path: Path) -> None:
    loud = {name.replace("_Ball_", "_BALL_").replace(".jpg", ".JPG"): data for name, data in small.items()}
    double = loud | {f"copy/{name}": data for name, data in loud.items()}
    convert(DOOR, write_zip(tmp_path / "a.zip", double), tmp_path / "a.h5", *ALL_FACES, "--strict")
    assert len(Hdf5PoseDataset(tmp_path / "a.h5")) == 3


def test_smaller_copies_beside_the_images_are_not_taken(small: Members, tmp_path: Path) -> None:
    """Landmarks and boxes are of the images below WFLW_images."""
    convert(DOOR, write_zip(tmp_path / "a.zip", small), tmp_path / "a.h5", *ALL_FACES, "--strict")
    images = {name: data for name, data in small.items() if name.endswith(".jpg")}
    halves = {
        name.replace("WFLW_images", "A_256px"): encode_jpeg(cv2.resize(decode(data, color=True), None, fx=0.5, fy=0.5))
        for name, data in images.items()
    }
    convert(DOOR, write_folder(tmp_path / "b", halves | small), tmp_path / "b.h5", *ALL_FACES, "--strict")
    a, b = ([sample.image for sample in Hdf5PoseDataset(tmp_path / f"{name}.h5")] for name in "ab")
    assert a == b
