"""The engine: order, resuming after a crash, dangers in archives, disk full, Ctrl-C."""

import dataclasses
import errno
import hashlib
import os
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from archive_damage import tagged_jpeg
from threadpoolctl import threadpool_info, threadpool_limits

from conftest import PROJECT, run_command, run_script
from trackertraincode.conversion import run
from trackertraincode.conversion.converters import CONVERTERS
from trackertraincode.conversion.journal import load_part
from trackertraincode.conversion.run import ConvertOptions, Source, run_converter
from trackertraincode.conversion.tasks import check_labels
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset, PoseWriter
from trackertraincode.errors import ArchiveError, ConfigError, UserError
from trackertraincode.sample.images import encode_png
from trackertraincode.sample.sample import Sample


def make(number: int, fail_at: int | None = None, error: type[BaseException] = ArchiveError) -> list[Sample]:
    if number == fail_at:
        raise error(f"item {number}: broken")
    image = encode_png(np.full((8, 300), number % 256, np.uint8))  # as wide as the boxes
    return [
        Sample(
            image=image, name=f"item {number}", face_box=np.array([0, 0, number + 1, 5.0]), sequence=str(number // 10)
        )
    ]


def die_at(fatal: int, number: int) -> list[Sample]:
    if number == fatal:
        os._exit(1)
    return make(number)


def options(tmp_path: Path, **changes: Any) -> ConvertOptions:
    defaults: dict[str, Any] = {"source": tmp_path / "x.zip", "destination": tmp_path / "out.h5", "workers": 0}
    return ConvertOptions(**(defaults | changes))


def widths(path: Path) -> list[int]:
    return (Hdf5PoseDataset(path).labels["face_box"][:, 2] - 1).astype(int).tolist()


@pytest.mark.parametrize("workers", [0, 2])
def test_order_is_that_of_the_items(tmp_path: Path, workers: int) -> None:
    run_converter(options(tmp_path, workers=workers), "test", Source(items=range(100), convert=make))
    assert widths(tmp_path / "out.h5") == list(range(100))
    assert not (tmp_path / "out.h5.parts").exists()


def note(seen: list[int], n: int) -> list[Sample]:
    """As `make`, and remembers what was asked for."""
    seen.append(n)
    return make(n)


def test_a_conversion_in_this_process_multiplies_with_one_thread(tmp_path: Path) -> None:
    """Many small products: threads would wait for each other by spinning, for twice the processor time."""

    def threads() -> set[int]:
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    def convert(number: int) -> list[Sample]:
        seen.append(threads())
        return make(number)

    seen: list[set[int]] = []
    with threadpool_limits(2, "blas"):
        run_converter(options(tmp_path), "test", Source(items=range(2), convert=convert))
        assert seen == [{1}, {1}]
        assert threads() == {2}


@pytest.mark.parametrize("workers", [0, 1])
def test_count_limits_samples(tmp_path: Path, workers: int) -> None:
    run_converter(options(tmp_path, workers=workers, count=7), "test", Source(items=range(100), convert=make))
    assert widths(tmp_path / "out.h5") == list(range(7))


def test_an_interrupted_run_goes_on_where_it_was(tmp_path: Path) -> None:
    interrupted = Source(items=range(100), convert=partial(make, fail_at=50, error=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run_converter(options(tmp_path), "test", interrupted)
    assert not (tmp_path / "out.h5").exists()
    seen: list[int] = []
    run_converter(options(tmp_path, resume=True), "test", Source(items=range(100), convert=partial(note, seen)))
    assert widths(tmp_path / "out.h5") == list(range(100))
    assert seen[0] == 48


def test_it_is_told_where_nothing_is_left_to_go_on_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for resume in (False, True):
        run_converter(options(tmp_path, resume=resume), "test", Source(items=range(2), convert=make))
        assert (
            "out.h5.parts: keeps nothing of an earlier run; this one begins at the" in capsys.readouterr().out
        ) == resume


def test_large_sources_have_large_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "MOST_TASKS", 3)
    interrupted = Source(items=range(100), convert=partial(make, fail_at=70, error=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run_converter(options(tmp_path), "test", interrupted)
    parts = sorted((tmp_path / "out.h5.parts").glob("*.part"))
    assert [len(outcome.samples) for part in parts if (outcome := load_part(part))] == [34, 34]
    run_converter(options(tmp_path, resume=True), "test", Source(items=range(100), convert=make))
    assert widths(tmp_path / "out.h5") == list(range(100))


def test_resuming_another_run_is_refused(tmp_path: Path) -> None:
    interrupted = Source(items=range(40), convert=partial(make, fail_at=30, error=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run_converter(options(tmp_path), "test", interrupted)
    with pytest.raises(ConfigError, match="other options"):
        run_converter(options(tmp_path, resume=True), "another", Source(items=range(40), convert=make))


@pytest.mark.parametrize("change", ["a file", "a model", "a head"])
def test_resuming_is_refused_where_what_is_read_has_changed(tmp_path: Path, change: str) -> None:
    """Otherwise labels of two models, or the same image twice, would be in one file."""
    model = tmp_path / "model.onnx"
    model.write_bytes(b"one")
    settings = {"model 1": model}
    interrupted = Source(items=list(range(40)), convert=partial(make, fail_at=30, error=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run_converter(options(tmp_path), "test", interrupted, settings)
    again = replace(interrupted, convert=make)
    match change:
        case "a file":
            again = replace(again, items=[-1, *range(39)])
        case "a model":
            model.write_bytes(b"another")
        case "a head":
            again = replace(again, face_model="another")
    with pytest.raises(
        ConfigError, match=r"begun with another archive, image, model or version, or with other options"
    ):
        run_converter(options(tmp_path, resume=True), "test", again, settings)


def test_a_damaged_part_is_made_again(tmp_path: Path) -> None:
    interrupted = Source(items=range(100), convert=partial(make, fail_at=70, error=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run_converter(options(tmp_path), "test", interrupted)
    second = sorted((tmp_path / "out.h5.parts").glob("*.part"))[1]
    damaged = bytearray(second.read_bytes())
    damaged[200] ^= 1
    second.write_bytes(damaged)
    seen: list[int] = []
    run_converter(options(tmp_path, resume=True), "test", Source(items=range(100), convert=partial(note, seen)))
    assert seen == [*range(16, 32), *range(64, 100)]
    assert widths(tmp_path / "out.h5") == list(range(100))


def test_a_worker_that_dies_is_named_and_what_is_done_stays(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a worker process died"):
        run_converter(options(tmp_path, workers=1), "test", Source(items=range(100), convert=partial(die_at, 50)))
    assert list((tmp_path / "out.h5.parts").glob("*.part"))
    run_converter(options(tmp_path, resume=True), "test", Source(items=range(100), convert=make))
    assert widths(tmp_path / "out.h5") == list(range(100))


@pytest.mark.slow
def test_kill_and_resume_gives_the_same_file(tmp_path: Path) -> None:
    run_script(
        "make_synthetic_data.py", tmp_path / "a.zip", "-n", 60, "--size", 64, "--format", "aflw2k", "--workers", 2
    )
    run_script("dsprocess_aflw2k.py", tmp_path / "a.zip", tmp_path / "whole.h5", "--workers", 0)
    command = [sys.executable, str(PROJECT / "scripts" / "dsprocess_aflw2k.py"), str(tmp_path / "a.zip")]
    command += [str(tmp_path / "killed.h5"), "--workers", "1", "--resume"]
    for patience in (1.5, 2.5):
        process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
        try:
            process.wait(timeout=patience)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    with h5py.File(tmp_path / "whole.h5") as whole, h5py.File(tmp_path / "killed.h5") as again:
        assert set(whole) == set(again)
        for name in whole:
            a, b = whole[name][...], again[name][...]
            assert all(np.array_equal(x, y) for x, y in zip(a, b))


@pytest.mark.parametrize("workers", [0, 2])
def test_strict_stops_and_leaves_nothing(tmp_path: Path, workers: int) -> None:
    failing = Source(items=range(300), convert=partial(make, fail_at=3))  # other tasks are under way when it stops
    with pytest.raises(UserError, match="item 3: broken"):
        run_converter(options(tmp_path, strict=True, workers=workers), "test", failing)
    assert list(tmp_path.iterdir()) == []


def test_skips_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_converter(options(tmp_path), "test", Source(items=range(9), convert=partial(make, fail_at=3)))
    assert "8 samples written, 1 skipped" in capsys.readouterr().out


def fail_in_many_ways(number: int) -> list[Sample]:
    if number % 10:
        return make(number)
    kind = "abcdefgh"[number // 10 % 8]
    raise ArchiveError(
        f"folder {kind}/image {number}.jpg: reason {kind} with '{number}' in line {number}, {number / 7}."
    )


def test_skips_are_grouped_by_kind_and_all_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = Source(items=range(300), convert=fail_in_many_ways)
    run_converter(options(tmp_path, skipped=tmp_path / "skipped.txt"), "test", source)
    lines = [line for line in capsys.readouterr().out.splitlines() if " skipped, such as" in line]
    assert [int(line.split()[0]) for line in lines] == [4, 4, 4, 4, 4, 10]
    assert "(3 other reasons; --skipped FILE lists all)" in lines[-1]
    listed = (tmp_path / "skipped.txt").read_text(encoding="utf-8").splitlines()
    assert len(listed) == 30
    assert listed[1].split("\t")[0] == "10"


def test_images_with_an_orientation_tag_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def convert(number: int) -> list[Sample]:
        return [dataclasses.replace(make(number)[0], image=tagged_jpeg(1 + number % 2 * 5), name=f"image {number}")]

    run_converter(options(tmp_path), "test", Source(items=range(20), convert=convert))
    assert "10 images, such as image 1, have an orientation tag (EXIF)" in capsys.readouterr().out


def test_nothing_convertible_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="not one sample"):
        run_converter(options(tmp_path), "test", Source(items=range(1), convert=partial(make, fail_at=0)))
    assert not (tmp_path / "out.h5").exists()


def test_a_full_disk_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(PoseWriter, "write", full)
    with pytest.raises(OSError, match="No space"):
        run_converter(options(tmp_path), "test", Source(items=range(5), convert=make))
    assert not list(tmp_path.glob("out.h5"))
    assert not list(tmp_path.glob("out.h5.tmp"))


@pytest.mark.parametrize("resume", [False, True])
def test_what_somebody_else_left_under_the_names_of_parts_stays(tmp_path: Path, resume: bool) -> None:
    source = Source(items=range(5), convert=make)
    mine = tmp_path / "out.h5.parts" / "letter.txt"
    mine.parent.mkdir()
    mine.write_text("dear")
    with pytest.raises(UserError, match=r"out\.h5\.parts: is needed for what is done; move .* --overwrite"):
        run_converter(options(tmp_path, resume=resume), "test", source)
    assert mine.read_text() == "dear"
    run_converter(options(tmp_path, overwrite=True), "test", source)
    assert [p.name for p in tmp_path.iterdir()] == ["out.h5"]


@pytest.mark.parametrize("resume", [False, True])
def test_a_second_process_on_the_same_destination_is_told(tmp_path: Path, resume: bool) -> None:
    def convert(number: int) -> list[Sample]:
        if number == 20:
            with pytest.raises(UserError, match=r"out\.h5\.parts: another process is converting to this file"):
                run_converter(options(tmp_path, resume=resume), "test", Source(items=range(2), convert=make))
        return make(number)

    run_converter(options(tmp_path), "test", Source(items=range(40), convert=convert))
    assert widths(tmp_path / "out.h5") == list(range(40))
    assert [p.name for p in tmp_path.iterdir()] == ["out.h5"]


@pytest.mark.parametrize("name", CONVERTERS)
def test_a_destination_that_is_the_source_is_refused_before_anything(tmp_path: Path, name: str) -> None:
    source = tmp_path / "a.zip"
    source.write_bytes(b"mine")
    link = tmp_path / "link.h5"
    link.symlink_to(source)
    assert "is also an input, which would be destroyed" in run_command("convert", name, source, link, expect=1)
    assert "isn't a .zip file when it is written" in run_command("convert", name, source, source, expect=2)
    (tmp_path / "a.h5").write_bytes(b"a letter")
    assert "exists and isn't a .h5 file" in run_command("convert", name, source, tmp_path / "a.h5", expect=1)
    assert source.read_bytes() == b"mine"
    assert (tmp_path / "a.h5").read_bytes() == b"a letter"
    assert not list(tmp_path.glob("*.parts"))


def test_a_run_that_is_interrupted_leaves_the_list_of_the_one_before(tmp_path: Path) -> None:
    """What it would list isn't all."""
    listed = tmp_path / "skipped.txt"
    listed.write_text("of an earlier run")
    interrupted = Source(items=range(40), convert=partial(make, fail_at=30, error=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run_converter(options(tmp_path, skipped=listed), "test", interrupted)
    assert listed.read_text() == "of an earlier run"


def test_provenance_names_files_without_their_folders(tmp_path: Path) -> None:
    """The same bytes follow wherever they lie, and published files tell nothing of a machine."""
    (tmp_path / "m.pkl").touch()
    settings = {"face_model": tmp_path / "m.pkl", "models": [Path("a/x.onnx"), Path("y.onnx")], "seed": 3}
    run_converter(options(tmp_path), "test", Source(items=range(2), convert=make), settings)
    told = Hdf5PoseDataset(tmp_path / "out.h5").source["options"]
    assert told == {"face_model": "m.pkl", "models": "x.onnx, y.onnx", "seed": "3"}


def test_provenance_is_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"archive")
    run_converter(options(tmp_path), "dsprocess_test", Source(items=range(2), convert=make))
    source = Hdf5PoseDataset(tmp_path / "out.h5").source
    assert source["converter"] == "dsprocess_test"
    assert source["archive"] == "x.zip"
    assert source["sha256"] == hashlib.sha256(b"archive").hexdigest()


@pytest.mark.parametrize("name", ["a.jpg", "out.h5a.jpg"])
def test_a_folder_is_resumed_until_a_file_in_it_changes(name: str, tmp_path: Path) -> None:
    """What the run itself writes there is none of them."""
    folder = tmp_path / "x"
    folder.mkdir()
    (folder / name).write_bytes(b"an image")
    before = (folder / name).stat()
    here = options(tmp_path, source=folder, destination=folder / "out.h5", skipped=folder / "skipped.txt")
    interrupted = Source(items=range(40), convert=partial(make, fail_at=30, error=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run_converter(here, "test", interrupted)
    os.utime(folder / name, ns=(0, before.st_mtime_ns + 10**12))
    with pytest.raises(ConfigError, match=r"begun with another archive.*a\.jpg is newer\); run without --resume"):
        run_converter(replace(here, resume=True), "test", Source(items=range(40), convert=make))
    os.utime(folder / name, ns=(0, before.st_mtime_ns))
    seen: list[int] = []
    run_converter(replace(here, resume=True), "test", Source(items=range(40), convert=partial(note, seen)))
    assert widths(folder / "out.h5") == list(range(40))
    assert len(seen) < 40


@pytest.mark.parametrize("name", ["there.jpg", "gone.jpg"])
def test_files_beside_the_source_must_be_as_they_were(name: str, tmp_path: Path) -> None:
    """Otherwise old and new images would be in one file."""
    (tmp_path / "there.jpg").write_bytes(b"an image")
    files = [tmp_path / "there.jpg", tmp_path / "gone.jpg", tmp_path / "\0"]
    source = Source(items=range(40), convert=make, beside=lambda: iter(files))

    def interrupt() -> None:
        with pytest.raises(KeyboardInterrupt):
            run_converter(
                options(tmp_path), "test", replace(source, convert=partial(make, fail_at=30, error=KeyboardInterrupt))
            )

    interrupt()
    run_converter(options(tmp_path, resume=True), "test", source)
    interrupt()
    (tmp_path / name).write_bytes(b"another image")
    later = (tmp_path / "out.h5.parts" / "run.json").stat().st_mtime_ns + 10**9
    os.utime(tmp_path / name, ns=(later, later))
    with pytest.raises(ConfigError, match=rf"begun with another archive, image, .*{name} is newer\); run without"):
        run_converter(options(tmp_path, resume=True), "test", source)


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ({"rotation": [0, 0, np.nan, 1]}, "x: rotation holds NaN or infinite numbers."),
        ({"landmarks_2d": np.full((68, 2), 2e6)}, r"x: landmarks_2d holds 2e\+06; no image has so many pixels."),
        ({"head": [5, 5, 0]}, "x: head size is 0."),
        ({"individual": 2**63}, "x: person 9223372036854775808; numbers of persons are 0 to 9223372036854775807"),
        ({"face_box": [9, 1, 1, 9]}, r"x: face box \[9\.0, 1\.0, 1\.0, 9\.0\] is empty."),
    ],
)
def test_labels_that_can_not_be_are_named(labels: dict[str, Any], reason: str) -> None:
    values: dict[str, Any] = {
        name: np.array(value, np.float64) if name != "individual" else value for name, value in labels.items()
    }
    with pytest.raises(ArchiveError, match=reason):
        check_labels(Sample(image=b"", name="x", **values))


def test_landmarks_of_unknown_depth_and_a_head_of_negative_size_stay() -> None:
    flat = np.column_stack([np.ones((68, 2)), np.full(68, np.nan)])
    check_labels(Sample(image=b"", name="x", landmarks=flat, head=np.array([5.0, 5.0, -1.0])))


def test_an_archive_that_changed_is_not_resumed(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"archive")
    interrupted = Source(items=range(40), convert=partial(make, fail_at=30, error=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run_converter(options(tmp_path), "test", interrupted)
    (tmp_path / "x.zip").write_bytes(b"another archive")
    with pytest.raises(ConfigError, match="begun with another archive"):
        run_converter(options(tmp_path, resume=True), "test", Source(items=range(40), convert=make))
