"""Conversions that were interrupted go on to the same file, or say why not."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
from small_conversions import make, note, options, widths

from conftest import PROJECT, run_script
from trackertraincode.conversion.run import Source, run_converter
from trackertraincode.errors import ConfigError, UserError
from trackertraincode.sample.sample import Sample


def die_at(fatal: int, number: int) -> list[Sample]:
    if number == fatal:
        os._exit(1)
    return make(number)


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


def test_a_run_that_is_interrupted_leaves_the_list_of_the_one_before(tmp_path: Path) -> None:
    """What it would list isn't all."""
    listed = tmp_path / "skipped.txt"
    listed.write_text("of an earlier run")
    interrupted = Source(items=range(40), convert=partial(make, fail_at=30, error=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run_converter(options(tmp_path, skipped=listed), "test", interrupted)
    assert listed.read_text() == "of an earlier run"


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


def test_an_archive_that_changed_is_not_resumed(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"archive")
    interrupted = Source(items=range(40), convert=partial(make, fail_at=30, error=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run_converter(options(tmp_path), "test", interrupted)
    (tmp_path / "x.zip").write_bytes(b"another archive")
    with pytest.raises(ConfigError, match="begun with another archive"):
        run_converter(options(tmp_path, resume=True), "test", Source(items=range(40), convert=make))
