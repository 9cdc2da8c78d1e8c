"""The engine: order, counts, dangers in archives, disk full, what files tell of themselves."""

import dataclasses
import errno
import hashlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from archive_damage import tagged_jpeg
from small_conversions import make, options, widths
from threadpoolctl import threadpool_info, threadpool_limits

from conftest import run_command
from trackertraincode.conversion import run
from trackertraincode.conversion.converters import CONVERTERS
from trackertraincode.conversion.journal import load_part
from trackertraincode.conversion.run import Source, run_converter
from trackertraincode.conversion.tasks import check_labels
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset, PoseWriter
from trackertraincode.errors import ArchiveError, UserError
from trackertraincode.sample.sample import Sample


@pytest.mark.parametrize("workers", [0, 2])
def test_order_is_that_of_the_items(tmp_path: Path, workers: int) -> None:
    run_converter(options(tmp_path, workers=workers), "test", Source(items=range(100), convert=make))
    assert widths(tmp_path / "out.h5") == list(range(100))
    assert not (tmp_path / "out.h5.parts").exists()


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


def test_large_sources_have_large_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "MOST_TASKS", 3)
    interrupted = Source(items=range(100), convert=partial(make, fail_at=70, error=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run_converter(options(tmp_path), "test", interrupted)
    parts = sorted((tmp_path / "out.h5.parts").glob("*.part"))
    assert [len(outcome.samples) for part in parts if (outcome := load_part(part))] == [34, 34]
    run_converter(options(tmp_path, resume=True), "test", Source(items=range(100), convert=make))
    assert widths(tmp_path / "out.h5") == list(range(100))


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
