"""The tracker on real models and images, and its answers to wrong files."""

import errno
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import ZipFile

import cv2
import numpy as np
import pytest

from conftest import run_script
from trackertraincode.errors import ModelFileError, UserError
from trackertraincode.sample.images import decode, encode_png
from trackertraincode.tracking import rows
from trackertraincode.tracking.rows import NAMES, Row, pose_row, row_writer
from trackertraincode.tracking.sources import Frame, iter_frames
from trackertraincode.tracking.tracker import HeadPoseTracker
from trackertraincode.tracking.video import AnnotatedOutput


@pytest.fixture(scope="module")
def images(shared_data: Path) -> list[np.ndarray]:
    """16 real faces, drawn by a fixed seed and padded to 4:3."""
    with ZipFile(shared_data / "aflw2000" / "AFLW2000-3D.zip") as archive:
        names = sorted(n for n in archive.namelist() if n.endswith(".jpg"))
        chosen = np.random.default_rng(0).choice(names, 16, replace=False)
        return [_pad_to_4_3(decode(archive.read(str(n)))) for n in chosen]


def _pad_to_4_3(image: np.ndarray) -> np.ndarray:
    height, width = image.shape
    pad = max(0, round(height * 4 / 3) - width)
    return cv2.copyMakeBorder(image, 0, 0, pad // 2, pad - pad // 2, cv2.BORDER_CONSTANT)


@pytest.fixture
def released(shared_data: Path) -> HeadPoseTracker:
    folder = shared_data / "opentrack"
    return HeadPoseTracker(folder / "head-pose-0.4-small-int8.onnx", folder / "head-localizer.onnx")


def test_released_models_find_at_least_15_of_16_faces(released: HeadPoseTracker, images: list[np.ndarray]) -> None:
    found = 0
    for image in images:
        released.reset()
        found += released.update(image) is not None
    assert found >= 15


def test_a_still_head_is_followed_to_a_steady_pose(released: HeadPoseTracker, images: list[np.ndarray]) -> None:
    poses = [released.update(images[0]) for _ in range(8)]
    assert all(pose is not None for pose in poses)
    last, before = poses[-1], poses[-2]
    assert last is not None
    assert before is not None
    assert np.abs(last.box - before.box).max() < 0.05 * (last.box[2] - last.box[0])


def test_an_empty_room_has_no_face(released: HeadPoseTracker) -> None:
    assert released.update(np.full((480, 640), 90, np.uint8)) is None


def test_track_script_writes_image_and_rows(shared_data: Path, images: list[np.ndarray], tmp_path: Path) -> None:
    folder = shared_data / "opentrack"
    (tmp_path / "face.png").write_bytes(encode_png(images[0]))
    run_script(
        "track.py", tmp_path / "face.png",
        "--model", folder / "head-pose-0.4-small-int8.onnx", "--localizer", folder / "head-localizer.onnx",
        "--output", tmp_path / "drawn.png", "--json", tmp_path / "poses.json",
    )  # fmt: skip
    (row,) = json.loads((tmp_path / "poses.json").read_text())
    assert row["face"]
    assert abs(np.linalg.norm([row[k] for k in ("qi", "qj", "qk", "qw")]) - 1) < 1e-3
    assert decode((tmp_path / "drawn.png").read_bytes()).shape == images[0].shape


def test_wrong_model_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "junk.onnx").write_bytes(b"no model")
    with pytest.raises(ModelFileError, match=r"junk\.onnx: ONNX Runtime can't load it"):
        HeadPoseTracker(tmp_path / "junk.onnx", tmp_path / "junk.onnx")
    with pytest.raises(ModelFileError, match=r"nowhere\.onnx: no such file"):
        HeadPoseTracker(tmp_path / "nowhere.onnx", tmp_path / "junk.onnx")


def test_a_localizer_is_no_pose_model(shared_data: Path) -> None:
    localizer = shared_data / "opentrack" / "head-localizer.onnx"
    with pytest.raises(ModelFileError, match=r"head-localizer\.onnx: is a localizer"):
        HeadPoseTracker(localizer, localizer)


def test_sources_that_cannot_be_opened_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file, folder or camera"):
        next(iter_frames("nowhere.mp4"))
    with pytest.raises(UserError, match="no images"):
        next(iter_frames(str(tmp_path)))
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.png")  # which nobody writes to
        with pytest.raises(UserError, match="no images"):
            next(iter_frames(str(tmp_path)))
    (tmp_path / "a.png").write_bytes(b"junk")
    with pytest.raises(UserError, match=r"a\.png: 4 bytes, not a readable"):
        next(iter_frames(str(tmp_path / "a.png")))


def small_frames(*sizes: tuple[int, int]) -> list[Frame]:
    return [
        Frame(f"{i}.jpg", np.full((height, width, 3), 40 * i, np.uint8), 12.0)
        for i, (width, height) in enumerate(sizes)
    ]


def test_videos_keep_their_rate_and_size(tmp_path: Path) -> None:
    with AnnotatedOutput(tmp_path / "a.avi") as output:
        for frame in small_frames((64, 48), (32, 48), (100, 20)):
            output.write(frame)
    again = list(iter_frames(str(tmp_path / "a.avi")))
    assert [frame.image.shape for frame in again] == [(48, 64, 3)] * 3
    assert again[0].fps == pytest.approx(12.0)
    assert [p.name for p in tmp_path.iterdir()] == ["a.avi"]


def test_a_name_without_suffix_is_a_folder_of_images(tmp_path: Path) -> None:
    with AnnotatedOutput(tmp_path / "drawn") as output:
        for frame in small_frames((64, 48), (32, 48)):
            output.write(frame)
    assert sorted(p.name for p in (tmp_path / "drawn").iterdir()) == ["0.png", "1.png"]


@pytest.mark.parametrize("name", ["a.avi", "a.png"])
def test_an_interrupted_output_leaves_nothing(name: str, tmp_path: Path) -> None:
    def interrupted() -> None:
        with AnnotatedOutput(tmp_path / name) as output:
            output.write(small_frames((64, 48))[0])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_mtcnn_finds_the_faces_where_it_is_asked_to(shared_data: Path, images: list[np.ndarray]) -> None:
    tracker = HeadPoseTracker(localizer="mtcnn")
    for image in images[:4]:
        tracker.reset()
        assert tracker.update(image) is not None


def test_frames_without_a_face_keep_their_row(tmp_path: Path) -> None:
    with row_writer(json_file=tmp_path / "p.json", csv_file=tmp_path / "p.csv") as write:
        write(pose_row(Frame("0", np.zeros((4, 4, 3), np.uint8), time=0.5), None))
    assert json.loads((tmp_path / "p.json").read_text()) == [{"frame": "0", "time": 0.5, "face": False}]
    head, row = (tmp_path / "p.csv").read_text().splitlines()
    assert head == ",".join(NAMES)
    assert row.rstrip(",") == "0,0.5,False"


def test_rows_that_could_not_be_written_have_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a row that the disk had no room for, a part is there; once a video is given up, there is room for the end."""

    @contextmanager
    def full(path: Path) -> Iterator[Callable[[Row], None]]:
        with path.open("w") as file:

            def write(row: Row) -> None:
                file.write("half of")
                raise OSError(errno.ENOSPC, "No space left on device")

            yield write

    monkeypatch.setattr(rows, "_csv_sink", full)
    with (
        pytest.raises(OSError, match="No space left"),
        rows.row_writer(json_file=tmp_path / "p.json", csv_file=tmp_path / "p.csv") as write,
    ):
        write({"frame": "0", "face": False})
    assert list(tmp_path.iterdir()) == []
