"""Images without labels: each detected face becomes a crop with its box."""

import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from archive_damage import Members, check_damage, convert, tagged_jpeg, write_folder, write_zip

from conftest import run_script
from trackertraincode.conversion import unlabeled
from trackertraincode.conversion.unlabeled import make_source
from trackertraincode.conversion.videos import open_video
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.detection.mtcnn import Detections
from trackertraincode.errors import ArchiveError, UserError
from trackertraincode.sample.images import decode, encode_jpeg
from trackertraincode.sample.orientation import orientation

DOOR = "dsprocess_unlabeled_images.py"


@dataclass(frozen=True)
class SpotDetector:
    """Stands in for MTCNN: white rectangles are faces, grey ones uncertain faces."""

    min_face: int

    def check(self) -> None:
        pass

    def __call__(self, image: np.ndarray) -> Detections:
        grey = image[..., 0]
        _, _, stats, _ = cv2.connectedComponentsWithStats((grey > 100).astype(np.uint8))
        spots = [s for s in stats[1:] if s[4] > 50]
        boxes = [[x, y, x + w, y + h] for x, y, w, h, _ in spots]
        sure = [grey[y + h // 2, x + w // 2] / 255 for x, y, w, h, _ in spots]
        return Detections(np.array(boxes, float).reshape(-1, 4), np.array(sure, float))


@pytest.fixture
def spots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unlabeled, "MtcnnDetector", SpotDetector)


def black_image(*rectangles: tuple[int, int, int, int], grey: int = 255) -> np.ndarray:
    image = np.zeros((160, 200, 3), np.uint8)
    for x0, y0, x1, y1 in rectangles:
        image[y0:y1, x0:x1] = grey
    return image


SMALL, LARGE = (10, 10, 30, 40), (80, 50, 140, 120)
MEMBERS: Members = {
    "a/one.jpg": encode_jpeg(black_image(SMALL)),
    "a/two.JPG": encode_jpeg(black_image(SMALL, LARGE)),
    "b/unsure.jpg": encode_jpeg(black_image(LARGE, grey=180)),
    "b/nothing.jpg": encode_jpeg(black_image()),
    "readme.txt": b"no picture",
}


def write_video(path: Path, count: int) -> Path:
    """Frame i shows a face 3 · i pixels further right."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25.0, (200, 160))
    for index in range(count):
        writer.write(black_image((10 + 3 * index, 40, 60 + 3 * index, 100)))
    writer.release()
    return path


@pytest.mark.usefixtures("spots")
@pytest.mark.parametrize("tag", range(1, 9))
def test_tagged_photos_are_stored_upright(tag: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = black_image(LARGE)
    transposed = shown.swapaxes(0, 1) if tag >= 5 else shown
    stored = [transposed[::dy, ::dx] for dy in (1, -1) for dx in (1, -1)]
    data = [tagged_jpeg(tag, np.ascontiguousarray(image)) for image in stored]
    data = [d for d in data if np.abs(decode(d, color=True, upright=True).astype(int) - shown).mean() < 5]
    assert len(data) == 1
    convert(DOOR, write_folder(tmp_path / "a", {"a.jpg": data[0]}), tmp_path / "a.h5")
    sample = Hdf5PoseDataset(tmp_path / "a.h5")[0]
    assert sample.face_box is not None
    assert sample.face_box[2:] - sample.face_box[:2] == pytest.approx([60, 70], abs=3)
    assert orientation(sample.image) == 1
    assert "orientation" not in capsys.readouterr().out


@pytest.mark.usefixtures("spots")
@pytest.mark.parametrize("build", [write_folder, lambda p, m: write_zip(p.with_suffix(".zip"), m)])
def test_the_largest_face_of_each_image_is_cut_out(build, tmp_path: Path, capsys) -> None:
    convert(DOOR, build(tmp_path / "source", MEMBERS), tmp_path / "a.h5")
    data = Hdf5PoseDataset(tmp_path / "a.h5")
    assert "2 samples written, 2 skipped" in capsys.readouterr().out
    assert set(data.fields) == {"image", "face_box"}
    assert data.sequence_starts is None
    for sample, rectangle in zip(data, (SMALL, LARGE)):
        assert sample.face_box is not None
        x0, y0, x1, y1 = (round(float(v)) for v in sample.face_box)
        assert (x1 - x0, y1 - y0) == pytest.approx((rectangle[2] - rectangle[0], rectangle[3] - rectangle[1]), abs=2)
        assert decode(sample.image)[y0 + 2 : y1 - 2, x0 + 2 : x1 - 2].min() > 230


@pytest.mark.usefixtures("spots")
def test_all_faces_and_less_certain_ones(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "source", MEMBERS)
    convert(DOOR, source, tmp_path / "a.h5", "--all-faces")
    assert len(Hdf5PoseDataset(tmp_path / "a.h5")) == 3
    convert(DOOR, source, tmp_path / "b.h5", "--min-confidence", 0.5)
    assert len(Hdf5PoseDataset(tmp_path / "b.h5")) == 3


@pytest.mark.usefixtures("spots")
@pytest.mark.parametrize("every", [1, 4])
def test_frames_of_a_video_are_a_sequence_in_order(tmp_path: Path, every: int) -> None:
    convert(DOOR, write_video(tmp_path / "v.avi", 12), tmp_path / "a.h5", "--every", every)
    data = Hdf5PoseDataset(tmp_path / "a.h5")
    assert len(data) == 12 // every
    assert data.sequence_starts is not None
    assert data.sequence_starts.tolist() == [0, 12 // every]
    starts = data.labels["face_box"][:, 0]
    pad = 60 / 2 + 10
    expected = [min(10 + 3 * index, pad) for index in range(0, 12, every)]  # crops begin in the image
    assert np.allclose(starts, expected, atol=1.5)


@pytest.mark.usefixtures("spots")
def test_videos_and_images_in_one_folder(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "source", MEMBERS)
    write_video(source / "b" / "film.avi", 3)
    convert(DOOR, source, tmp_path / "a.h5")
    data = Hdf5PoseDataset(tmp_path / "a.h5")
    assert data.sequence_starts is not None
    assert data.sequence_starts.tolist() == [0, 1, 2, 5]


@pytest.mark.usefixtures("spots")
def test_what_is_not_read_in_a_folder_is_told(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "source", MEMBERS | {"clip.mpo": b"x", "notes.txt": b"x"})
    write_video(source / "film.avi", 2).rename(source / "film.m4v")
    (source / "dead.jpg").symlink_to("gone.jpg")
    assert make_source(source, 0.9, 20, False, 1).notes == (
        "3 files are neither images nor videos that are read, such as clip.mpo: left out",
        "1 links lead nowhere, such as dead.jpg: left out",
    )
    convert(DOOR, source, tmp_path / "a.h5")
    assert Hdf5PoseDataset(tmp_path / "a.h5").sequence_starts is not None


@pytest.mark.usefixtures("spots")
@pytest.mark.parametrize("name", ["a.jpg", "a.webp"])
def test_one_image_is_told_from_a_damaged_archive(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"an image")
    with pytest.raises(ArchiveError, match=rf"{name}: is one image; give the folder with your images"):
        make_source(tmp_path / name, 0.9, 20, False, 1)


@pytest.mark.usefixtures("spots")
@pytest.mark.skipif(sys.platform != "linux", reason="names of other systems are text")
def test_a_video_whose_name_is_not_utf8_is_named(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "source", MEMBERS)
    write_video(source / "b" / "film.avi", 3).rename(source / "b" / "f\udcff.avi")
    assert "has a name that isn't UTF-8" in run_script(DOOR, source, tmp_path / "a.h5", "--workers", 0)
    with pytest.raises(ArchiveError, match=r"f\udcff\.avi: has a name that isn't UTF-8, .*; rename it"):
        convert(DOOR, source / "b" / "f\udcff.avi", tmp_path / "b.h5")
    assert not list(tmp_path.glob("b.h5*"))


@pytest.mark.usefixtures("spots")
def test_a_damaged_video_among_other_files_is_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_folder(tmp_path / "source", MEMBERS | {"b/film.mp4": b"", "b/other.mov": b"no video"})
    convert(DOOR, source, tmp_path / "a.h5")
    said = capsys.readouterr().out
    assert "2 samples written, 4 skipped" in said
    assert "film.mp4" in said or "other.mov" in said


@pytest.mark.usefixtures("spots")
def test_workers_make_the_same_file(tmp_path: Path) -> None:
    source = write_video(tmp_path / "v.avi", 40)
    for workers in (0, 2):
        convert(DOOR, source, tmp_path / f"{workers}.h5", "--workers", workers)
    a, b = (Hdf5PoseDataset(tmp_path / f"{workers}.h5") for workers in (0, 2))
    assert a.images(range(40)) == b.images(range(40))
    assert np.array_equal(a.labels["face_box"], b.labels["face_box"])


@pytest.mark.usefixtures("spots")
def test_videos_in_a_zip_file_are_those_of_a_folder(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "source", MEMBERS)
    write_video(source / "b" / "film.avi", 3)
    packed = write_zip(tmp_path / "s.zip", MEMBERS | {"b/film.avi": (source / "b" / "film.avi").read_bytes()})
    for number, place in enumerate((source, packed)):
        convert(DOOR, place, tmp_path / f"{number}.h5")
    a, b = (Hdf5PoseDataset(tmp_path / f"{number}.h5") for number in (0, 1))
    assert len(a) == 5
    assert a.images(range(5)) == b.images(range(5))


def test_frames_can_be_asked_for_in_any_order(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.avi", 9)
    assert open_video(path, "v.avi", None).told() == open_video(path, "v.avi", None).count() == 9
    once = [open_video(path, "v.avi", index).read(index) for index in range(9)]
    assert len({frame.tobytes() for frame in once if frame is not None}) == 9
    for index in (4, 2, 8, 0):
        assert np.array_equal(open_video(path, "v.avi", index).read(index), once[index])  # type: ignore[arg-type]
    assert open_video(path, "v.avi", 9).read(9) is None


@pytest.mark.usefixtures("spots")
def test_a_video_that_ends_early_is_kept_as_far_as_it_goes(tmp_path: Path, capsys) -> None:
    whole = write_video(tmp_path / "v.avi", 20).read_bytes()
    (tmp_path / "v.avi").write_bytes(whole[: len(whole) // 2])
    convert(DOOR, tmp_path / "v.avi", tmp_path / "a.h5")
    assert 5 < len(Hdf5PoseDataset(tmp_path / "a.h5")) < 15


@pytest.mark.usefixtures("spots")
@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("x.mp4", b"no video", r"x\.mp4: can't be decoded as a video"),
        ("x.zip", b"no zip", r"x\.zip: not a complete zip file"),
    ],
)
def test_damaged_sources_are_named(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=message):
        convert(DOOR, tmp_path / name, tmp_path / "a.h5")
    assert not (tmp_path / "a.h5").exists()


@pytest.mark.usefixtures("spots")
def test_images_of_other_kinds_are_counted(tmp_path: Path) -> None:
    members = {"a.JFIF": encode_jpeg(black_image(LARGE, (5, 5, 20, 30))), "b.webp": b"", "c.heic": b""}
    source = make_source(write_folder(tmp_path / "a", members), 0.9, 40, False, 1)
    assert [str(item) for item in source.items] == ["a.JFIF"]
    assert source.notes == ("2 images aren't JPEG or PNG files, such as b.webp: left out; convert them first",)


@pytest.mark.usefixtures("spots")
def test_sources_without_images_say_what_would_do(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"no images \(\.jpg, \.jpeg, \.png\) or videos"):
        make_source(write_folder(tmp_path / "a", {"x.txt": b""}), 0.9, 40, False, 1)


@pytest.mark.usefixtures("spots")
def test_damaged_archives(tmp_path: Path) -> None:
    members = {f"{i}.jpg": encode_jpeg(black_image(LARGE, (5, 5, 20 + i, 30))) for i in range(4)}
    check_damage(DOOR, members, lambda p, m: write_zip(p.with_suffix(".zip"), m), tmp_path)


def test_real_faces_are_found_and_cut_out(shared_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("facenet_pytorch")
    folder = shared_data / "annotated_samples"
    members = {"a.jpg": (folder / "lapa" / "13609937564_5.jpg").read_bytes()}
    convert(DOOR, write_zip(tmp_path / "a.zip", members), tmp_path / "a.h5", "--min-face", 80)
    data = Hdf5PoseDataset(tmp_path / "a.h5")
    width, height = data.labels["face_box"][0, 2:] - data.labels["face_box"][0, :2]
    assert 120 < width < 200
    assert 150 < height < 250
