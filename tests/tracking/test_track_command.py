"""`ttc track`: checks all it will write before it begins, and loses nothing of what it did."""

import csv
import re
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from trackertraincode.cli import describe
from trackertraincode.commands import run
from trackertraincode.errors import UserError
from trackertraincode.sample.images import encode_jpeg, encode_png
from trackertraincode.tracking import sources as reading
from trackertraincode.tracking import video
from trackertraincode.tracking.sources import Frame, iter_frames
from trackertraincode.tracking.video import AnnotatedOutput

IMAGE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)

Track = Callable[..., int]


@pytest.fixture
def track(pose_model: Path, localizer: Path) -> Track:
    """track(source, options...) with networks that see a head in each frame."""
    return lambda *words: run(["track", *map(str, words), "--model", str(pose_model), "--localizer", str(localizer)])


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A folder with an image, a video, and a folder of two images."""
    folder = tmp_path / "sources"
    (folder / "images").mkdir(parents=True)
    (folder / "p.png").write_bytes(encode_png(IMAGE))
    for name in ("a", "b"):
        (folder / "images" / f"{name}.png").write_bytes(encode_png(IMAGE))
    with AnnotatedOutput(folder / "v.avi") as output:
        for index in range(10):
            output.write(Frame(str(index), IMAGE))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize(
    "words",
    [("images", "--output", "images"), ("v.avi", "--output", "v.avi"), ("p.png", "--output", "p.png"),
     ("p.png", "--output", "."), ("p.png", "--csv", "link.csv"), ("images", "--output", "link"),
     ("p.png", "--csv", "same", "--json", "same"), ("p.png", "--output", "same", "--json", "same")],
)  # fmt: skip
def test_no_output_destroys_an_input_or_another_output(
    track: Track, sources: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(sources)
    (sources / "link").symlink_to("images")
    (sources / "link.csv").symlink_to("p.png")
    before = contents(sources)
    with pytest.raises(UserError, match=r"is also an input|two outputs have this name"):
        track(*words)
    assert contents(sources) == before


@pytest.mark.parametrize(
    "words", [("--csv", "p.png"), ("--csv", "new.json"), ("--json", "new.csv"), ("--json", "m.onnx")]
)
def test_names_of_other_kinds_of_files_are_wrong_usage(
    track: Track, sources: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(sources)
    before = contents(sources)
    with pytest.raises(SystemExit) as stopped:
        track("p.png", *words)
    assert stopped.value.code == 2
    assert f"end its name with .{words[0][2:]}" in capsys.readouterr().err
    assert contents(sources) == before


@pytest.mark.parametrize("source", ["images", "v.avi", "0"])
def test_one_image_cannot_hold_all_frames(track: Track, sources: Path, source: str) -> None:
    with pytest.raises(
        UserError, match=r"x\.png: one image can't hold all frames of .*; name a video \(\.mp4\), or a fol"
    ):
        track(source if source == "0" else sources / source, "--output", sources / "x.png")
    assert not (sources / "x.png").exists()


def test_shown_images_wait_for_a_key_and_videos_go_on(
    track: Track, sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[int] = []
    monkeypatch.setattr(video, "check_display", lambda: None)
    monkeypatch.setattr(cv2, "imshow", lambda *_: None)

    def wait(milliseconds: int) -> int:
        waits.append(milliseconds)
        return -1

    monkeypatch.setattr(cv2, "waitKey", wait)
    track(sources / "images", "--show")
    assert waits == [0, 0]
    track(sources / "v.avi", "--show")
    assert waits[2:] == [1] * 10


def test_rows_of_a_folder_are_written_into_it_again(
    track: Track, sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(sources / "images")
    for _ in range(2):
        track(".", "--csv", "boxes.csv")
    assert len(Path("boxes.csv").read_text(encoding="utf-8").splitlines()) == 3


def test_a_model_is_not_replaced(track: Track, sources: Path, pose_model: Path) -> None:
    (sources / "link.json").symlink_to(pose_model)
    with pytest.raises(UserError, match="is also an input"):
        track(sources / "p.png", "--json", sources / "link.json")


def test_two_images_are_not_drawn_into_one(track: Track, sources: Path) -> None:
    (sources / "images" / "a.jpg").write_bytes(encode_jpeg(IMAGE))
    with pytest.raises(UserError, match=r"a\.jpg and a\.png would both be drawn into one \.png file"):
        track(sources / "images", "--output", sources / "drawn")
    assert not (sources / "drawn").exists()


def test_outputs_are_checked_before_the_work(track: Track, sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "iter_frames", None)  # the work would begin with it
    for words in (["--csv", sources / "p.png" / "x.csv"], ["--output", sources / "x.webm"], ["--json", sources]):
        with pytest.raises(UserError):
            track(sources / "v.avi", *words)


def test_a_bad_source_leaves_nothing(track: Track, tmp_path: Path) -> None:
    outputs = ["--output", tmp_path / "new" / "x.mp4", "--csv", tmp_path / "new" / "x.csv"]
    with pytest.raises(UserError, match=r"nowhere\.avi: no such file"):
        track(tmp_path / "nowhere.avi", *outputs)
    assert not (tmp_path / "new").exists()


def interrupted_frames(source: str, *_: object, live: bool = False) -> Iterator[Frame]:
    frames = iter_frames(source)
    yield next(frames)._replace(time=0.0, live=live)
    yield next(frames)._replace(time=1 / 30, live=live)
    raise KeyboardInterrupt


def test_rows_done_so_far_are_written_at_ctrl_c(
    track: Track, sources: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(reading, "iter_frames", interrupted_frames)
    with pytest.raises(KeyboardInterrupt) as ended:
        track(sources / "v.avi", "--csv", sources / "x.csv", "--output", sources / "x.avi")
    assert describe(ended.value) == (130, f"interrupted: {sources / 'x.csv'}: what was tracked before is there.")
    with (sources / "x.csv").open(newline="", encoding="utf-8") as file:
        assert [row["frame"] for row in csv.DictReader(file)] == ["000000", "000001"]
    assert not (sources / "x.avi").exists()
    assert "2 of 2 frames show a face" in capsys.readouterr().out


def test_ctrl_c_is_the_end_of_a_camera(track: Track, sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "iter_frames", partial(interrupted_frames, live=True))
    assert track(sources / "v.avi", "--csv", sources / "x.csv", "--output", sources / "x.avi") == 0
    assert len(list(iter_frames(str(sources / "x.avi")))) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="addresses of files are written otherwise")
def test_a_video_by_its_address_is_tracked_as_by_its_path(track: Track, sources: Path) -> None:
    rows = []
    for source in (str(sources / "v.avi"), (sources / "v.avi").as_uri()):
        assert track(source, "--csv", sources / "x.csv") == 0
        rows.append((sources / "x.csv").read_text(encoding="utf-8").splitlines())
    assert len(rows[0]) == 11
    assert rows[1] == rows[0]


def test_unreadable_entries_of_a_folder_are_skipped_aloud(
    track: Track, sources: Path, capsys: pytest.CaptureFixture
) -> None:
    (sources / "images" / "aa.jpg").symlink_to("nowhere.jpg")
    (sources / "images" / "ab.jpg").mkdir()
    assert track(sources / "images", "--csv", sources / "x.csv", "--output", sources / "drawn") == 0
    with (sources / "x.csv").open(newline="", encoding="utf-8") as file:
        assert [row["frame"] for row in csv.DictReader(file)] == ["a.png", "b.png"]
    assert re.search(r"skipped: .*aa\.jpg: can't be read \(No such file", capsys.readouterr().err)


@pytest.mark.skipif(sys.platform != "linux", reason="names of other systems are text")
@pytest.mark.parametrize("words", [("v\udcff.avi", "--csv", "x.csv"), ("v.avi", "--output", "o\udcff.avi"),
                                   ("v.avi", "--output", "link.avi")])  # fmt: skip
def test_videos_whose_names_are_not_utf8_are_named_before_anything_is_made(
    track: Track, sources: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(sources)
    (sources / "v\udcff.avi").write_bytes((sources / "v.avi").read_bytes())
    (sources / "link.avi").symlink_to("p\udcff.avi")
    before = contents(sources)
    with pytest.raises(UserError, match=r"\udcff\.avi: has a name that isn't UTF-8, .*; rename it"):
        track(*words)
    assert contents(sources) == before


def test_addresses_may_be_longer_than_names_of_files(track: Track, tmp_path: Path) -> None:
    address = f"http://127.0.0.1:1/video.jpg?token={'x' * 400}"
    with pytest.raises(UserError, match="no video comes from this address"):
        track(address, "--csv", tmp_path / "x.csv")


def test_a_short_video_is_tracked_and_said_so(track: Track, sources: Path, capsys: pytest.CaptureFixture) -> None:
    data = (sources / "v.avi").read_bytes()
    (sources / "half.avi").write_bytes(data[: len(data) // 2])
    assert track(sources / "half.avi", "--csv", sources / "x.csv") == 0
    assert "of the 10 frames that it announces" in capsys.readouterr().err
    assert 1 < len((sources / "x.csv").read_text(encoding="utf-8").splitlines()) < 10


def test_without_a_display_nothing_begins(track: Track, sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video.sys, "executable", "false")
    monkeypatch.setattr(reading, "iter_frames", None)
    with pytest.raises(UserError, match="--show needs a display"):
        track(sources / "v.avi", "--show")


@pytest.mark.parametrize("fov", ["nan", "0", "180", "inf", "-20", "wide"])
def test_fields_of_view_that_no_camera_has_are_wrong_usage(track: Track, sources: Path, fov: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        track(sources / "p.png", f"--fov={fov}")
    assert stopped.value.code == 2


def test_the_checker_turns_images_upright(tmp_path: Path, pose_model: Path, capsys: pytest.CaptureFixture) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(IMAGE).save(tmp_path / "up.png")
    Image.fromarray(IMAGE).transpose(Image.Transpose.ROTATE_90).save(tmp_path / "phone.jpg", exif=exif)
    texts = []
    for name in ("up.png", "phone.jpg"):
        assert run(["check-model", str(pose_model), str(tmp_path / name), "30", "2", "30", "40"]) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]
    assert "45.000" in texts[0]


def test_modes_of_cameras_are_not_for_files(track: Track, sources: Path) -> None:
    for words in (["--camera-size", "640x480"], ["--fps", "60"]):
        with pytest.raises(UserError, match=r"v\.avi: --camera-size and --fps are of cameras"):
            track(sources / "v.avi", *words)


@pytest.mark.parametrize(
    "words", ["--camera-size=640", "--camera-size=0x480", "--camera-size=axb", "--fps=0", "--fps=nan"]
)
def test_modes_that_no_camera_has_are_wrong_usage(track: Track, words: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        track("0", words)
    assert stopped.value.code == 2


def test_a_lens_and_a_field_of_view_exclude_each_other(track: Track) -> None:
    with pytest.raises(SystemExit) as stopped:
        track("0", "--lens", "a.yml", "--fov", "60")
    assert stopped.value.code == 2


def test_the_progress_bar_tells_the_pose(track: Track, sources: Path, capsys: pytest.CaptureFixture) -> None:
    assert track(sources / "v.avi") == 0
    assert re.search(r"10 frames .*, pitch -?0\.0, yaw -?0\.0, roll -?0\.0", capsys.readouterr().err)


@pytest.mark.parametrize(("source", "has_rate"), [("images", False), ("v.avi", True)])
def test_only_what_has_a_rate_is_drawn_with_one(
    track: Track, sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, has_rate: bool
) -> None:
    rates: list[float | None] = []

    def draw(image: np.ndarray, heads: object, fps: float | None, **_: object) -> np.ndarray:
        rates.append(fps)
        return image

    monkeypatch.setattr(video, "draw_heads", draw)
    track(sources / source, "--output", tmp_path / ("drawn" if source == "images" else "drawn.avi"))
    assert (rates[-1] is not None) == has_rate
