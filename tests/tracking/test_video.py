"""Sources are opened or named in one line; what is written is whole, readable, and never its own source."""

import os
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from trackertraincode.drawing import readable_size
from trackertraincode.errors import UserError
from trackertraincode.sample.images import encode_png
from trackertraincode.tracking import video
from trackertraincode.tracking.camera import PluginCamera
from trackertraincode.tracking.pose import HeadPose
from trackertraincode.tracking.sources import Frame, is_camera, iter_frames
from trackertraincode.tracking.video import (
    AnnotatedOutput,
    check_display,
    check_image_folder,
    draw_heads,
    draw_pose,
    writable_rate,
)


@pytest.fixture
def image() -> np.ndarray:
    return cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8), (9, 9), 3)


def write_video(path: Path, count: int, fps: float = 15.0) -> None:
    with AnnotatedOutput(path) as output:
        for index in range(count):
            image = np.random.default_rng(index).integers(0, 256, (48, 64, 3), dtype=np.uint8)
            output.write(Frame(str(index), image, fps))


@pytest.mark.parametrize(
    ("tag", "turn"),
    [(3, Image.Transpose.ROTATE_180), (6, Image.Transpose.ROTATE_90), (8, Image.Transpose.ROTATE_270)],
)
@pytest.mark.parametrize("name", ["phone.jpg", "phone.png", "phone.webp"])
def test_images_are_turned_upright(
    tmp_path: Path, image: np.ndarray, tag: int, turn: Image.Transpose, name: str
) -> None:
    exif = Image.Exif()
    exif[0x0112] = tag
    (tmp_path / "in").mkdir()
    Image.fromarray(image).transpose(turn).save(tmp_path / "in" / name, quality=95, exif=exif)
    (frame,) = iter_frames(str(tmp_path / "in"))
    assert np.array_equal(frame.image, next(iter_frames(str(tmp_path / "in" / name))).image)
    assert frame.image.shape == image.shape
    assert np.abs(frame.image.astype(int) - image).mean() < 4


@pytest.mark.parametrize("start", [b"\0\0\0\x18ftypheic", b"\0\0\0\x18ftypmif1", b"\0\0\0\x1cftypavif"])
def test_images_of_phones_are_not_taken_for_videos(tmp_path: Path, image: np.ndarray, start: bytes) -> None:
    """Of an image made of tiles, a reader of videos would give the first tile."""
    (tmp_path / "IMG_0001.HEIC").write_bytes(start + b"\0" * 600)
    with pytest.raises(UserError, match=r"IMG_0001\.HEIC: .* convert it to JPEG or PNG\.$"):
        next(iter_frames(str(tmp_path / "IMG_0001.HEIC")))
    (tmp_path / "IMG_0002.png").write_bytes(encode_png(image))
    notes: list[str] = []
    assert [frame.name for frame in iter_frames(str(tmp_path), notes.append)] == ["IMG_0002.png"]
    assert len(notes) == 1
    assert "1 left out, of kinds that aren't read here (.avif, .gif, .heic," in notes[0]


@pytest.mark.parametrize(("width", "height"), [(130, 100), (450, 450), (640, 480), (1080, 1920), (3840, 2160)])
def test_letters_fit_into_the_image_and_can_be_read(width: int, height: int) -> None:
    blank = np.full((height, width, 3), 90, np.uint8)
    size = readable_size(blank)
    assert size is not None
    (wide, high), _ = cv2.getTextSize("pitch -100.4 +- 14.8", cv2.FONT_HERSHEY_SIMPLEX, size, 1)
    assert wide <= width
    assert high >= max(6, min(width, height) / 60)
    rows, columns = np.nonzero((draw_pose(blank, None) != blank).any(2))
    assert columns.max() < width / 2
    assert rows.max() < height / 4


def test_an_image_too_small_for_letters_has_none() -> None:
    blank = np.full((40, 40, 3), 90, np.uint8)
    assert np.array_equal(draw_pose(blank, None), blank)


def test_sound_that_goes_on_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Matroska has no number of frames, so OpenCV tells it by the time of the longest track."""
    write_video(tmp_path / "a.avi", 30)
    (tmp_path / "a.avi").rename(tmp_path / "a.mkv")
    really_get = cv2.VideoCapture.get
    announced = 33.0

    class Capture:
        def __init__(self, name: str) -> None:
            self._video = cv2_capture(name)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._video, name)

        def get(self, name: int) -> float:
            return announced if name == cv2.CAP_PROP_FRAME_COUNT else really_get(self._video, name)

    cv2_capture = cv2.VideoCapture
    monkeypatch.setattr("cv2.VideoCapture", Capture)
    notes: list[str] = []
    assert len(list(iter_frames(str(tmp_path / "a.mkv"), notes.append))) == 30
    assert notes == []
    announced = 90.0
    list(iter_frames(str(tmp_path / "a.mkv"), notes.append))
    assert "ends after 30 of the 90 frames that it announces" in notes[0]


def test_a_video_that_ends_early_is_said_so(tmp_path: Path) -> None:
    write_video(tmp_path / "a.avi", 30)
    data = (tmp_path / "a.avi").read_bytes()
    (tmp_path / "half.avi").write_bytes(data[: len(data) // 2])
    notes: list[str] = []
    frames = list(iter_frames(str(tmp_path / "half.avi"), notes.append))
    assert 5 < len(frames) < 30
    assert notes == [
        f"{tmp_path / 'half.avi'}: ends after {len(frames)} of the 30 frames that it announces; it is cut off or damaged."
    ]
    assert len(list(iter_frames(str(tmp_path / "a.avi"), notes.append))) == 30
    assert len(notes) == 1


def test_a_video_without_frames_is_an_error(tmp_path: Path) -> None:
    cv2.VideoWriter(str(tmp_path / "none.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 15, (64, 48)).release()
    with pytest.raises(UserError, match=r"none\.avi: no frame can be read"):
        next(iter_frames(str(tmp_path / "none.avi")))


def test_damaged_images_of_a_folder_are_skipped_by_name(tmp_path: Path, image: np.ndarray) -> None:
    (tmp_path / "a.png").write_bytes(encode_png(image))
    (tmp_path / "b.png").write_bytes(b"junk")
    (tmp_path / ".c.png").write_bytes(b"hidden")
    notes: list[str] = []
    assert [frame.name for frame in iter_frames(str(tmp_path), notes.append)] == ["a.png"]
    assert len(notes) == 1
    assert "b.png" in notes[0]
    (tmp_path / "a.png").write_bytes(b"junk")
    with pytest.raises(UserError, match="none of its images can be read"):
        list(iter_frames(str(tmp_path), notes.append))


def test_devices_and_addresses_are_cameras_and_files_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "7").touch()
    assert all(map(is_camera, ["0", "rtsp://camera/stream", "http://10.0.0.2:8080/video"]))
    assert not any(map(is_camera, ["7", str(tmp_path), "clip.mp4", "20240101123000", "\u00b2", "\u0663"]))
    if sys.platform == "linux":
        assert is_camera("/dev/null")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("rtsp://127.0.0.1:1/none", "no video comes from this address"),
        *([("/dev/null", "there is no such camera")] if sys.platform == "linux" else []),
        ("99", "there is no such camera, another program has it, or this one may not use it"),
    ],
)
def test_a_camera_that_cannot_be_opened_is_named(source: str, reason: str) -> None:
    """And what to do; so is a device: whoever may not use it, or finds it busy, hasn't a damaged video."""
    with pytest.raises(UserError, match=f"{source}: {reason}"):
        next(iter_frames(source))


@pytest.mark.parametrize("source", ["20240101123000", "\u00b2"])
def test_digits_that_are_no_camera_number_are_no_source(source: str) -> None:
    with pytest.raises(UserError, match=f"^{source}: no such file, folder or camera number"):
        next(iter_frames(source))


@pytest.mark.skipif(sys.platform == "win32", reason="addresses of files are written otherwise")
def test_an_address_is_opened(tmp_path: Path) -> None:
    write_video(tmp_path / "a.avi", 3)
    assert len(list(iter_frames(f"file://{tmp_path / 'a.avi'}"))) == 3


@pytest.mark.parametrize(
    ("announced", "written"),
    [(891.236, 30.0), (1000.0, 30.0), (239.7612, 239.76), (120.003, 120.0), (29.97, 29.97), (23.976, 23.976),
     (59.9401, 59.94), (90_000, 30.0), (0.0, 30.0), (float("nan"), 30.0), (float("inf"), 30.0)],
)  # fmt: skip
def test_frame_rates_are_rounded_to_what_files_can_keep(announced: float, written: float) -> None:
    assert writable_rate(announced) == pytest.approx(written)


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv", ".mov"])
@pytest.mark.parametrize("fps", [239.7612, 120.003])
def test_videos_of_odd_rates_are_written(tmp_path: Path, suffix: str, fps: float) -> None:
    write_video(tmp_path / f"a{suffix}", 4, fps)
    assert len(list(iter_frames(str(tmp_path / f"a{suffix}")))) == 4


def test_unknown_suffixes_are_refused_before_any_frame(tmp_path: Path) -> None:
    known = r"\.mp4, \.avi, \.mkv, \.mov, \.png, \.jpg, \.jpeg, or without"
    with pytest.raises(UserError, match=rf"a\.webm: can't be written; name it {known}"):
        AnnotatedOutput(tmp_path / "a.webm")


def test_a_size_that_no_video_has_is_the_named_cause(tmp_path: Path) -> None:
    message = r"a\.mp4: OpenCV can't write a \.mp4 video of 1 × 1 pixels at 30 frames"
    with pytest.raises(UserError, match=message), AnnotatedOutput(tmp_path / "a.mp4") as output:
        output.write(Frame("0", np.zeros((1, 1, 3), np.uint8)))
    assert list(tmp_path.iterdir()) == []


def test_a_video_that_cannot_be_read_back_gets_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a full disk, of which OpenCV says nothing."""
    monkeypatch.setattr(video, "_readable_frames", lambda _: 1)
    with pytest.raises(UserError, match=r"a\.avi: only 1 of 40 frames can be read back"):
        write_video(tmp_path / "a.avi", 40)
    assert list(tmp_path.iterdir()) == []


def test_images_that_would_be_drawn_into_one_file_are_refused(tmp_path: Path) -> None:
    for name in ("a.jpg", "A.png"):
        (tmp_path / name).touch()
    with pytest.raises(UserError, match=r"A\.png and a\.jpg would both be drawn into one \.png file"):
        check_image_folder(tmp_path, tmp_path / "drawn")


def test_drawn_images_replace_no_source(tmp_path: Path) -> None:
    source, output = tmp_path / "source", tmp_path / "output"
    source.mkdir()
    (source / "a.png").touch()
    check_image_folder(source, output)
    with pytest.raises(UserError, match=r"a\.png: is also an input"):
        check_image_folder(source, source)
    with pytest.raises(UserError, match=r"a\.png: is also an input"):
        check_image_folder(source / "a.png", source)
    check_image_folder(source / "clip.avi", source)
    output.symlink_to(source)
    with pytest.raises(UserError, match=r"a\.png: is also an input"):
        check_image_folder(source, output)
    os.link(source / "a.png", source / "B.PNG")
    os.link(source / "B.PNG", source / "B.png")  # as one file is found where capitals make no difference
    (source / "a.png").unlink()
    with pytest.raises(UserError, match=r"B\.(PNG|png)"):
        check_image_folder(source / "B.PNG", source)


def test_without_a_display_showing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video.sys, "executable", "false")  # a process that fails, as OpenCV's does there
    with pytest.raises(UserError, match=r"--show needs a display.*--output"):
        check_display()


def test_each_of_several_heads_has_its_number_also_when_one_is_left() -> None:
    image, camera, straight = np.zeros((240, 320, 3), np.uint8), PluginCamera(320, 240, 1.0), np.array([0.0, 0, 0, 1])
    heads = {
        number: HeadPose(straight, np.array([x, 180, 30.0]), np.array([x - 30.0, 150, x + 30, 210]), camera)
        for number, x in ((1, 80), (2, 240))
    }
    for shown in (heads, {2: heads[2]}):
        changed = (draw_heads(image, shown) != draw_heads(image, shown, numbered=True)).any((0, 2))
        assert [changed[50:80].any(), changed[210:240].any()] == [1 in shown, True]
        assert not changed[80:210].any()
