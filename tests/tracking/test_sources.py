"""Frames of a video come upright and with the times that the file gives them; drawn videos keep those."""

import math
import os
import re
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from trackertraincode.errors import UserError
from trackertraincode.tracking.sources import CameraMode, Frame, _clock, iter_frames
from trackertraincode.tracking.video import AnnotatedOutput, repetitions

TIMES = (0.0, 0.04, 0.05, 0.3, 0.32, 0.9, 0.94)  # of frames; seconds
LANDSCAPE = np.zeros((48, 64, 3), np.uint8)
LANDSCAPE[:, :32] = 255  # bright on the left


def write_video(path: Path, images: list[np.ndarray], fps: float = 20.0) -> None:
    with AnnotatedOutput(path) as output:
        for index, image in enumerate(images):
            output.write(Frame(str(index), image, fps))


@pytest.fixture
def uneven(tmp_path: Path) -> Path:
    """A Matroska video with TIMES; its frames grow brighter."""
    path = tmp_path / "uneven.mkv"
    write_video(path, [np.full((48, 64, 3), 30 * i, np.uint8) for i in range(len(TIMES))])
    data = bytearray(path.read_bytes())
    blocks = list(re.finditer(rb"\xa3.{1,8}?\x81(..)\x80", data, re.DOTALL))  # SimpleBlock, size, track 1, time, flags
    assert len(blocks) == len(TIMES)
    for block, seconds in zip(blocks, TIMES):
        data[slice(*block.span(1))] = struct.pack(">h", round(1000 * seconds))
    path.write_bytes(data)
    return path


def test_uneven_frames_have_the_times_of_the_file(uneven: Path) -> None:
    assert [frame.time for frame in iter_frames(str(uneven))] == pytest.approx(TIMES, abs=1e-3)


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        ([0, 0.016, 0.016, 0.05, 0.066], [0, 0.016, 0.017, 0.05, 0.066]),  # one time twice
        ([0, 0.02, 0.015, 0.04], [0, 0.02, 0.021, 0.04]),  # out of order
        ([0, 0, 0, 0], [0, 0.05, 0.1, 0.15]),  # none at all
        ([0.3, 0.4, 0, 0.5, math.nan, 0.6], [0, 0.1, 0.15, 0.2, 0.25, 0.3]),  # some not
        ([0, 1, 2, 3, 0, 0.05, 0.1], [0, 1, 2, 3, 3.05, 3.1, 3.15]),  # joined recordings
        ([0, 1, 2, 3, 0.5, 1.5], [0, 1, 2, 3, 3.05, 4.05]),
        ([math.nan, 0.1, 0.2], [0, 0.1, 0.2]),
    ],
)
def test_times_of_a_file_grow_and_never_run_away(told: list[float], wanted: list[float]) -> None:
    class Capture:
        def __init__(self) -> None:
            self.times = iter(told)

        def get(self, _: int) -> float:
            return 1000 * next(self.times)

    clock = _clock(Capture(), 20.0, live=False)  # type: ignore[arg-type]
    assert [next(clock) for _ in wanted] == pytest.approx(wanted)


def test_frames_of_a_steady_video_are_steady(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", [LANDSCAPE] * 5, fps=25.0)
    assert [frame.time for frame in iter_frames(str(tmp_path / "a.mp4"))] == pytest.approx(np.arange(5) / 25)


@pytest.mark.parametrize("data", [b"", b"<!DOCTYPE html>", b"\0\0\0\x18ftypmp42" + bytes(500)])
def test_what_is_no_whole_video_is_said_to_be_none_or_damaged(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(data)
    with pytest.raises(
        UserError, match=r"a\.mp4: can't be opened as a video: it is none, or cut off, damaged or of a kind"
    ):
        next(iter_frames(str(tmp_path / "a.mp4")))


def test_an_address_without_a_stream_is_said() -> None:
    with pytest.raises(UserError, match=r"127\.0\.0\.1:9/a\.mjpg: no video comes from this address"):
        next(iter_frames("http://127.0.0.1:9/a.mjpg"))


def test_images_have_no_time(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), LANDSCAPE)
    assert [frame.time for frame in iter_frames(str(tmp_path))] == [None]


@pytest.mark.parametrize("milliseconds", [[0.0, 0.0, 0.0], [0.0, 500.0, 40.0], [0.0, float("nan"), float("inf")]])
def test_times_always_grow(monkeypatch: pytest.MonkeyPatch, milliseconds: list[float]) -> None:
    """Whatever nonsense a file says."""

    class Video:
        index = -1

        def __init__(self, _: object) -> None:
            pass

        def isOpened(self) -> bool:
            return True

        def read(self) -> tuple[bool, np.ndarray | None]:
            self.index += 1
            return True, LANDSCAPE if self.index < 3 else None

        def get(self, name: int) -> float:
            return {cv2.CAP_PROP_POS_MSEC: milliseconds[min(self.index, 2)], cv2.CAP_PROP_FPS: 20.0}.get(name, 3.0)

        def release(self) -> None:
            pass

    monkeypatch.setattr(cv2, "VideoCapture", Video)
    times = [frame.time for frame in iter_frames(__file__)]
    assert times[0] == 0.0
    assert (np.diff(np.array(times, float)) > 0).all()


@pytest.mark.parametrize(
    ("matrix", "upright"),
    [((0, 1, -1, 0), np.rot90(LANDSCAPE, -1)), ((-1, 0, 0, -1), np.rot90(LANDSCAPE, 2)),
     ((0, -1, 1, 0), np.rot90(LANDSCAPE))],
)  # fmt: skip
def test_videos_of_turned_phones_are_upright(
    tmp_path: Path, matrix: tuple[int, int, int, int], upright: np.ndarray
) -> None:
    path = tmp_path / "phone.mp4"
    write_video(path, [LANDSCAPE] * 3)
    data = bytearray(path.read_bytes())
    start = data.find(b"tkhd") + 44  # the track's matrix, 16.16 and 2.30 fixed point numbers
    a, b, c, d = (value << 16 for value in matrix)
    data[start : start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    for frame in iter_frames(str(path)):
        assert frame.image.shape == upright.shape
        assert np.abs(frame.image.astype(int) - upright).mean() < 8


def test_a_drawn_video_shows_each_frame_at_its_time(uneven: Path, tmp_path: Path) -> None:
    with AnnotatedOutput(tmp_path / "drawn.avi") as output:
        for frame in iter_frames(str(uneven)):
            output.write(frame._replace(fps=50.0))
    drawn = iter_frames(str(tmp_path / "drawn.avi"))
    seen = {round(frame.time or 0.0, 6): round(frame.image.mean() / 30) for frame in drawn}
    for index, time in enumerate(TIMES):
        if index != 2:  # too soon after the one before it
            assert seen[round(time, 6)] == index
    assert seen[0.88] == 4  # until the last moment


@pytest.mark.parametrize(
    ("time", "written", "count"), [(None, 9, 1), (0.0, 0, 1), (0.1, 3, 1), (0.1, 4, 0), (0.1, 1, 3), (1e9, 0, 300)]
)
def test_how_often_a_frame_is_written(time: float | None, written: int, count: int) -> None:
    assert repetitions(time, written, rate=30.0) == count


def test_a_long_gap_is_shown_for_ten_seconds_and_what_follows_at_its_pace(tmp_path: Path) -> None:
    """As recordings by motion and joined clips have them."""
    with AnnotatedOutput(tmp_path / "drawn.avi") as output:
        for index, time in enumerate([0.0, 0.1, 3600.0, 3600.1, 3600.2]):
            output.write(Frame(str(index), np.full((48, 64, 3), 50 * index, np.uint8), 10.0, time=time))
    seen = [round(frame.image.mean() / 50) for frame in iter_frames(str(tmp_path / "drawn.avi"))]
    assert seen[:2] == [0, 1]
    assert len(seen) <= 2 + 100 + 3
    assert seen[-3:] in ([2, 3, 4], [3, 3, 4], [3, 4, 4])


@pytest.mark.skipif(os.name == "nt", reason="names have no colons here")
def test_names_may_have_colons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FFmpeg takes what stands before one for a protocol."""
    monkeypatch.chdir(tmp_path)
    write_video(Path("2024-05-01T12:30:00.mp4"), [LANDSCAPE] * 3)
    assert len(list(iter_frames("2024-05-01T12:30:00.mp4"))) == 3


class FakeCamera:
    """A camera that knows one mode, and ends after three frames."""

    def __init__(self, _: object) -> None:
        self.values = {cv2.CAP_PROP_FRAME_WIDTH: 1280.0, cv2.CAP_PROP_FRAME_HEIGHT: 720.0, cv2.CAP_PROP_FPS: 30.0}
        self.asked: dict[int, float] = {}
        self.left = 3
        FakeCamera.last = self

    last: "FakeCamera"

    def isOpened(self) -> bool:
        return True

    def set(self, name: int, value: float) -> bool:
        self.asked[name] = value
        return False

    def get(self, name: int) -> float:
        return self.values.get(name, 0.0)

    def read(self) -> tuple[bool, np.ndarray | None]:
        self.left -= 1
        return self.left >= 0, LANDSCAPE if self.left >= 0 else None

    def release(self) -> None:
        pass


def test_a_camera_is_asked_for_size_and_rate_and_what_it_does_instead_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", FakeCamera)
    notes: list[str] = []
    frames = list(iter_frames("0", notes.append, CameraMode((640, 480), 60.0)))
    wanted = {cv2.CAP_PROP_FRAME_WIDTH: 640, cv2.CAP_PROP_FRAME_HEIGHT: 480, cv2.CAP_PROP_FPS: 60.0}
    assert FakeCamera.last.asked == wanted
    assert notes == [
        "0: the camera gives 1280 × 720 pixels at 30 frames per second instead.",
        "0: gives no more frames after 3; is it still connected?",
    ]
    assert len(frames) == 3
    assert (np.diff([frame.time or 0.0 for frame in frames]) > 0).all()


@pytest.mark.parametrize("mode", [CameraMode(), CameraMode((1280, 720), 30.0)])
def test_a_camera_that_does_as_asked_is_no_news(monkeypatch: pytest.MonkeyPatch, mode: CameraMode) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", FakeCamera)
    notes: list[str] = []
    list(iter_frames("0", notes.append, mode))
    assert notes == ["0: gives no more frames after 3; is it still connected?"]
    assert len(FakeCamera.last.asked) == (3 if mode.size else 0)
