"""What is written comes back bit by bit; what isn't complete never has the final name."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from close import assert_samples_equal
from conftest import PROJECT
from trackertraincode.datasets.dshdf5pose import FieldCategory, Hdf5PoseDataset, PoseWriter
from trackertraincode.errors import SampleFormatError
from trackertraincode.sample.fields import Kind
from trackertraincode.sample.images import encode_png
from trackertraincode.sample.sample import FIELDS, MEASURES


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("count", [1, 7, 300])
def test_round_trip_is_bit_exact(full_sample: Callable, write_file: Callable, count: int, compress: bool) -> None:
    written = [full_sample(i % 11) for i in range(count)]
    path = write_file(written, compress=compress, source={"converter": "test", "sha256": "12"})
    dataset = Hdf5PoseDataset(path)
    assert len(dataset) == count
    assert dataset.face_model == "embedded-v1"
    assert dataset.source == {"converter": "test", "sha256": "12"}
    starts = [0, *[i for i in range(1, count) if (i % 11) // 3 != ((i - 1) % 11) // 3], count]
    assert dataset.sequence_starts is not None
    assert dataset.sequence_starts.tolist() == starts
    for read, sample in zip(dataset, written, strict=True):
        assert_samples_equal(replace(read, sequence=sample.sequence), sample)
    for read, sample in zip(Hdf5PoseDataset(path, labels=()).stream(), written, strict=True):
        assert_samples_equal(replace(read, sequence=sample.sequence), sample)


def test_a_new_file_keeps_the_rules_of_published_readers(full_sample: Callable, write_file: Callable) -> None:
    path = write_file([full_sample(i) for i in range(5)], source={"archive": "x.zip"})
    with h5py.File(path) as file:
        assert set(file) == {*FIELDS, "sequence_starts"}
        for name, field in FIELDS.items():
            dataset = file[name]
            assert dataset.shape == (5, *field.shape)
            assert dataset.attrs.get("category") == field.category
            if field.kind in (Kind.IMAGE, Kind.SEGMENTATION):
                assert h5py.check_vlen_dtype(dataset.dtype) == np.uint8
                assert dataset.attrs["storage"] == "varsize_image_buffer"
                assert bool(dataset.attrs["lossy"]) is (field.kind is Kind.IMAGE)
            elif dataset.dtype.kind == "f":
                assert dataset.dtype == np.float32
        assert file["shapeparams"].attrs["face_model"] == "embedded-v1"
        assert file.attrs["format_version"] == 2
        assert json.loads(file.attrs["source"]) == {"archive": "x.zip"}
    categories = {v for k, v in vars(FieldCategory).items() if not k.startswith("_")}
    assert {f.category for f in FIELDS.values() if f.category is not None} == categories


def test_absent_labels_of_some_rows_come_back_as_none(make_sample: Callable, write_file: Callable) -> None:
    written = [make_sample(0), make_sample(1, landmarks=None, individual=None), make_sample(2, rotation=None)]
    path = write_file(written, optional=("landmarks", "individual", "rotation"))
    for read, sample in zip(Hdf5PoseDataset(path), written, strict=True):
        assert_samples_equal(read, sample)


def test_a_file_has_only_the_labels_of_its_samples(make_sample: Callable, write_file: Callable) -> None:
    absent = ("points_box", "shape", "landmarks", "landmarks_2d", "stored_angles", "individual", "has_face", *MEASURES)
    lean = make_sample(0, **dict.fromkeys(absent))
    dataset = Hdf5PoseDataset(write_file([lean], face_model=None))
    assert sorted(dataset.fields) == ["face_box", "head", "image", "rotation"]
    assert_samples_equal(dataset[0], lean)


def test_arrays_are_stored_as_jpeg_and_label_images_as_png(make_sample: Callable, write_file: Callable) -> None:
    rng = np.random.default_rng(0)
    mask = rng.integers(0, 255, (80, 96), dtype=np.uint8)
    sample = make_sample(0, image=rng.integers(0, 255, (80, 96, 3), dtype=np.uint8), segmentation=mask)
    read = Hdf5PoseDataset(write_file([sample]))[0]
    assert bytes(read.image)[:3] == b"\xff\xd8\xff"  # type: ignore[arg-type]
    assert read.segmentation == encode_png(mask)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("after", [0, 1, 300])
def test_an_interrupted_writer_leaves_nothing(
    make_sample: Callable, tmp_path: Path, error: type[BaseException], after: int
) -> None:
    def write() -> None:
        with PoseWriter(tmp_path / "a.h5", source={}, face_model="embedded-v1") as writer:
            for _ in range(after):
                writer.write(make_sample())
            raise error

    with pytest.raises(error):
        write()
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_writer_keeps_the_older_file(make_sample: Callable, write_file: Callable) -> None:
    path = write_file([make_sample(0)])
    before = path.read_bytes()
    with pytest.raises(AttributeError):
        write_file([make_sample(1), None])
    assert path.read_bytes() == before
    write_file([make_sample(1)] * 2)
    assert len(Hdf5PoseDataset(path)) == 2


def test_the_name_appears_only_when_the_file_is_complete(make_sample: Callable, tmp_path: Path) -> None:
    with PoseWriter(tmp_path / "new" / "a.h5", source={}, face_model="embedded-v1") as writer:
        writer.write(make_sample())
        assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.h5.tmp"]
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.h5"]


def test_a_failure_while_closing_leaves_nothing(
    make_sample: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = PoseWriter(tmp_path / "a.h5", source={}, face_model="embedded-v1")
    writer.write(make_sample())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("trackertraincode.datasets.hdf5_writing.RowAppender.flush", full)
    with pytest.raises(OSError, match="No space"):
        writer.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"head": np.zeros(4, np.float32)}, r"sample 'x' has shape \(4,\) for head, expected shape \(3,\)"),
        ({"landmarks": None}, r"sample 'x' has nothing for landmarks, expected shape \(68, 3\)"),
        ({"segmentation": encode_png(np.zeros((4, 4), np.uint8))}, r"sample 'x' has segmentation, which the samples"),
        ({"image": b"GIF89a"}, r"sample 'x' has no image that is a JPEG or PNG file"),
        ({"sequence": "3"}, r"sample 'x' is in a sequence, unlike the samples before it"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_samples_unlike_the_first_are_refused_by_name(
    make_sample: Callable, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with PoseWriter(tmp_path / "a.h5", source={}, face_model="embedded-v1") as writer:
        writer.write(make_sample(0))
        with pytest.raises(SampleFormatError, match=message) as caught:
            writer.write(make_sample(1, name="x", **change))
        assert "a.h5" in str(caught.value)
        writer.write(make_sample(2))
    assert [s.individual for s in Hdf5PoseDataset(tmp_path / "a.h5")] == [0, 2]


def test_coefficients_need_the_name_of_their_model(make_sample: Callable, write_file: Callable, tmp_path: Path) -> None:
    with pytest.raises(SampleFormatError, match=r"a\.h5: shape coefficients need the name of their face model"):
        write_file([make_sample()], face_model=None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("attribute", ["image", "segmentation", "has_face"])
def test_what_has_no_absent_value_can_not_be_optional(tmp_path: Path, attribute: str) -> None:
    with pytest.raises(ValueError, match="can't be absent"):
        PoseWriter(tmp_path / "a.h5", source={}, optional=(attribute,))
    assert list(tmp_path.iterdir()) == []


FILLING = """
import os, resource, sys
from pathlib import Path
import numpy as np
from trackertraincode.cli import run_main
from trackertraincode.datasets.dshdf5pose import PoseWriter
from trackertraincode.sample.images import encode_png
from trackertraincode.sample.sample import Sample

def main():
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit),) * 2)
    image = encode_png(np.random.default_rng(0).integers(0, 255, (100, 100), dtype=np.uint8))
    with PoseWriter(Path(sys.argv[1]), source={}) as writer:
        for number in range(400):
            writer.write(Sample(image=image, name=str(number), face_box=np.array([0, 0, 5, 5.0])))

for limit in sys.argv[2:]:
    if os.fork() == 0:
        run_main(main)
    print(os.waitstatus_to_exitcode(os.wait()[1]), os.listdir(os.path.dirname(sys.argv[1])), flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no limits on the size of files")
def test_where_a_file_can_not_grow_the_writer_stops_with_a_line_and_leaves_nothing(tmp_path: Path) -> None:
    """100 bytes, 4 and 300 KB, 3 MB."""
    command = [sys.executable, "-c", FILLING, str(tmp_path / "a.h5"), "100", "4096", "300000", "3000000"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout == "1 []\n" * 4
    lines = done.stderr.splitlines()
    assert len(lines) == 4
    assert all("a.h5: the file is larger than is allowed here" in line for line in lines)
