"""The tools for sample files, called as their scripts call them."""

import runpy
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from close import assert_samples_equal
from conftest import PROJECT, run_script, write_samples
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.datasets.statistics import row_quantities
from trackertraincode.rendering.generate import Request, make_face
from trackertraincode.sample.images import decode
from trackertraincode.sample.sample import BY_ATTRIBUTE, LABELS, Sample

COUNT = 10


class Tool:
    """Runs scripts in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, script: str, *arguments: object, expect: int = 0) -> str:
        """What it prints; fails on another exit code than expected."""
        self._monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            runpy.run_path(str(PROJECT / "scripts" / script), run_name="__main__")
        output = self._capsys.readouterr()
        assert exit_.value.code == expect, output
        return output.out + output.err


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Tool:
    return Tool(monkeypatch, capsys)


@pytest.fixture(scope="module")
def faces() -> list[Sample]:
    """Synthetic faces, four of each person."""
    return [make_face(Request(COUNT, 64, 0, "hdf5"), i).sample for i in range(COUNT)]


@pytest.fixture
def file(faces: list[Sample], write_file: Callable[..., Path]) -> Path:
    return write_file(faces, name="faces.h5", source={"converter": "test", "archive": "faces.zip"})


def rows_of(path: Path) -> list[Sample]:
    return Hdf5PoseDataset(path)[:]


def test_info_tells_fields_counts_and_poses(tool: Tool, file: Path, tmp_path: Path) -> None:
    text = tool("dsinfo.py", file, file, "--histogram", tmp_path / "poses.png")
    for part in (
        f"faces.h5: {COUNT} samples", "jpeg, 64 × 64 pixels", "sequences: 3", "persons: 3", "face model: embedded-v1",
        "source: test, faces.zip", "pt3d_68", "68 × 3 float32", "semseg", "yaw, degrees", "box_height, pixels",
    ):  # fmt: skip
        assert part in text
    chart = decode((tmp_path / "poses.png").read_bytes(), color=True)
    assert chart.shape[0] > 2 * 240
    assert chart.shape[1] > 6 * 360


def test_info_counts_rows_that_have_a_label_and_names_foreign_data(tool: Tool, file: Path) -> None:
    with h5py.File(file, "a") as stored:
        stored["rois"][2:5] = np.nan
        stored["comments"] = np.zeros(3)
    text = tool("dsinfo.py", file)
    (line,) = (line for line in text.splitlines() if line.startswith("rois"))
    assert line.split()[-1] == str(COUNT - 3)
    assert "not part of the format: comments" in text


def test_info_of_a_published_file(tool: Tool, shared_data: Path) -> None:
    text = tool("dsinfo.py", shared_data / "300wlp" / "300wlp_reference_output.h5")
    assert "37 samples" in text
    assert "images: not readable" in text
    assert "image_filename" in text


def test_quantities_are_the_labels_of_rows(file: Path, faces: list[Sample]) -> None:
    quantities = row_quantities(file)
    assert quantities["size"] == pytest.approx([s.head[2] for s in faces])  # type: ignore[index]
    box = np.stack([s.face_box for s in faces])  # type: ignore[misc]
    assert quantities["box_width"] == pytest.approx(box[:, 2] - box[:, 0])
    turned = np.abs(quantities["yaw"]) > 20  # a positive yaw of AFLW2000-3D turns to the image's left
    nose = np.array([s.landmarks[30, 0] - s.head[0] for s in faces])  # type: ignore[index]
    assert turned.any()
    assert (np.sign(nose) == -np.sign(quantities["yaw"]))[turned].all()


def test_check_tells_by_its_exit_code(tool: Tool, file: Path, tmp_path: Path) -> None:
    assert "clean" in tool("dscheck.py", file, "--workers", 2)
    with h5py.File(file, "a") as stored:
        stored["quats"][3] = 0
        stored["rois"][7] = 0
    bad = tmp_path / "bad.txt"
    text = tool("dscheck.py", file, "--bad-rows", bad, expect=1)
    assert "faces.h5: row 3: quats: norm 0.0000, expected 1" in text
    assert "row 7: rois: box [0.0, 0.0, 0.0, 0.0] has no area" in text
    assert "2 faults in 2 rows" in text
    assert bad.read_text().split() == ["3", "7"]
    tool("dsfilter.py", file, tmp_path / "clean.h5", "--rows", bad, "--exclude")
    assert "clean.h5: clean" in tool("dscheck.py", tmp_path / "clean.h5")
    assert len(Hdf5PoseDataset(tmp_path / "clean.h5")) == COUNT - 2
    assert "no such file" in tool("dscheck.py", tmp_path / "none.h5", expect=1)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--rows", "7,1-3,2"], [1, 2, 3, 7]),
        (["--rows", "0-8", "--exclude"], [9]),
        (["--where", "row >= 6 and not row == 8"], [6, 7, 9]),
        (["--where", "row < 2 or row > 7", "--exclude"], [2, 3, 4, 5, 6, 7]),
    ],
)
def test_filter_copies_rows_bit_by_bit(
    tool: Tool, file: Path, faces: list[Sample], tmp_path: Path, options: list[str], expected: list[int]
) -> None:
    out = tmp_path / "out.h5"
    text = tool("dsfilter.py", file, out, *options)
    assert f"{len(expected)} of {COUNT} samples" in text
    copied = rows_of(out)
    assert len(copied) == len(expected)
    for sample, row in zip(copied, expected):
        original = Hdf5PoseDataset(file)[row]
        assert_samples_equal(replace(sample, sequence=original.sequence), original)
    with h5py.File(out) as new, h5py.File(file) as old:
        for field in LABELS:
            name = BY_ATTRIBUTE[field]
            assert name not in old or new[name][...].tobytes() == old[name][...][expected].tobytes()
    persons = [faces[row].individual for row in expected]
    starts = [0, *[i for i in range(1, len(persons)) if persons[i] != persons[i - 1]], len(persons)]
    dataset = Hdf5PoseDataset(out)
    assert dataset.sequence_starts is not None
    assert dataset.sequence_starts.tolist() == starts
    assert dataset.face_model == "embedded-v1"
    assert dataset.source["converter"] == "dsfilter"
    assert dataset.source["archive"] == "faces.h5"
    assert dataset.source["of"] == [{"converter": "test", "archive": "faces.zip"}]
    assert len(dataset.source["sha256"]) == 64


def test_filter_keeps_absent_labels_and_drops_foreign_data_aloud(tool: Tool, file: Path, tmp_path: Path) -> None:
    with h5py.File(file, "a") as stored:
        stored["quats"][0] = np.nan
        stored["pt3d_68"][1] = np.nan
        stored["individual"][2] = -1
        stored["comments"] = np.zeros(3)
    text = tool("dsfilter.py", file, tmp_path / "out.h5", "--rows", "0-3")
    assert "left out, since they aren't part of the format: comments" in text
    samples = rows_of(tmp_path / "out.h5")
    assert samples[0].rotation is None
    assert samples[1].landmarks is None
    assert samples[2].individual is None
    assert samples[3].rotation is not None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--where", "yaw > 400"], r"no row was chosen"),
        (["--rows", "5-99"], r"--rows: 5-99 is beyond the last row, 9"),
        (["--rows", "missing.txt"], r"neither rows such as 3,7,10-19 nor an existing file"),
        (["--rows", "1,x"], r"'x' isn't a row"),
        (["--rows", "4-2"], r"'4-2' isn't a row"),
    ],
)
def test_filter_refuses_and_leaves_nothing(
    tool: Tool, file: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    assert message.replace("\\", "") in tool("dsfilter.py", file, tmp_path / "out.h5", *options, expect=1)
    assert not list(tmp_path.glob("out*"))


def test_filter_takes_more_rows_than_a_name_of_a_file_has_letters(tool: Tool, file: Path, tmp_path: Path) -> None:
    rows = ",".join(["0", "1"] * 200)
    for _ in range(2):
        assert "2 of" in tool("dsfilter.py", file, tmp_path / "out.h5", "--rows", rows)


def test_filter_stops_at_a_broken_row_and_leaves_nothing(tool: Tool, file: Path, tmp_path: Path) -> None:
    with h5py.File(file, "a") as stored:
        stored["quats"][4] = 0
    assert "'quats', row 4" in tool("dsfilter.py", file, tmp_path / "out.h5", "--rows", "2-6", expect=1)
    assert not list(tmp_path.glob("out*"))
    tool("dsfilter.py", file, tmp_path / "out.h5", "--rows", "5-6")


def test_a_tool_does_not_write_over_what_it_reads(tool: Tool, file: Path) -> None:
    before = file.read_bytes()
    assert "is also an input, which would be destroyed" in tool("dsfilter.py", file, file, "--rows", "1", expect=1)
    assert "is also an input, which would be destroyed" in tool("dsjoin.py", file, file, expect=1)
    assert file.read_bytes() == before


def test_parts_joined_are_the_whole(tool: Tool, file: Path, faces: list[Sample], tmp_path: Path) -> None:
    for name, rows in (("a", "0-3"), ("b", "4-6"), ("c", "7-9")):
        tool("dsfilter.py", file, tmp_path / f"{name}.h5", "--rows", rows)
    tool("dsjoin.py", tmp_path / "all.h5", *(tmp_path / f"{n}.h5" for n in "abc"), "--same-persons")
    dataset = Hdf5PoseDataset(tmp_path / "all.h5")
    assert len(dataset) == COUNT
    for sample, original in zip(dataset, Hdf5PoseDataset(file)):
        assert_samples_equal(replace(sample, sequence=original.sequence), original)
    assert dataset.sequence_starts is not None
    assert dataset.sequence_starts.tolist() == [0, 4, 7, 8, 10]  # the cut sequence stays cut
    assert dataset.source["archive"] == "a.h5, b.h5, c.h5"


def test_rows_that_show_no_face_stay_so_among_those_of_files_that_do_not_say(
    tool: Tool, faces: list[Sample], write_file: Callable[..., Path], tmp_path: Path
) -> None:
    silent = write_file([replace(face, has_face=None) for face in faces[:2]], name="silent.h5")
    said = write_file([replace(faces[2], has_face=False), faces[3]], name="said.h5")
    for number, files in enumerate(((silent, said), (said, silent))):
        assert "has_face" not in tool("dsjoin.py", tmp_path / f"{number}.h5", *files)
    first, second = (Hdf5PoseDataset(tmp_path / f"{n}.h5").labels["has_face"].tolist() for n in range(2))
    assert (first, second) == ([True, True, False, True], [False, True, True, True])


def test_persons_of_different_files_are_kept_apart(tool: Tool, file: Path, tmp_path: Path) -> None:
    tool("dsjoin.py", tmp_path / "all.h5", file, shutil.copy(file, tmp_path / "copy.h5"))
    persons = Hdf5PoseDataset(tmp_path / "all.h5").labels["individual"]
    assert set(persons[:COUNT]).isdisjoint(persons[COUNT:])
    assert np.array_equal(persons[COUNT:] - persons[:COUNT], np.full(COUNT, 3))


def test_persons_whose_numbers_can_not_be_shifted_are_named(
    tool: Tool, file: Path, faces: list[Sample], write_file: Callable[..., Path], tmp_path: Path
) -> None:
    last = write_file([replace(faces[0], individual=2**63 - 1)], name="last.h5")
    text = tool("dsjoin.py", tmp_path / "out.h5", file, last, expect=1)
    assert "last.h5: field 'individual', row 0 has 9223372036854775807, and 3 more, so that it isn't one of" in text
    assert not list(tmp_path.glob("out*"))


def test_samples_of_files_without_sequences_become_their_own(
    tool: Tool, faces: list[Sample], write_file: Callable[..., Path], tmp_path: Path
) -> None:
    with_sequences = write_file(faces[:6], name="a.h5")
    without = write_file([replace(s, sequence=None) for s in faces[6:9]], name="b.h5")
    tool("dsjoin.py", tmp_path / "all.h5", with_sequences, without)
    starts = Hdf5PoseDataset(tmp_path / "all.h5").sequence_starts
    assert starts is not None
    assert starts.tolist() == [0, 4, 6, 7, 8, 9]
    tool("dsjoin.py", tmp_path / "none.h5", without, shutil.copy(without, tmp_path / "copy.h5"))
    assert Hdf5PoseDataset(tmp_path / "none.h5").sequence_starts is None


def test_labels_that_only_some_files_have_are_absent_in_the_others(
    tool: Tool, faces: list[Sample], write_file: Callable[..., Path], tmp_path: Path
) -> None:
    a = write_file(faces[:4], name="a.h5")
    lean = write_file(
        [replace(s, shape=None, face_box=None, individual=None, has_face=None) for s in faces[4:6]], name="lean.h5",
        face_model=None,
    )  # fmt: skip
    for order, rows in (([a, lean], [0, 4]), ([lean, a], [2, 0])):
        assert "left out" not in tool("dsjoin.py", tmp_path / "out.h5", *order, "--overwrite")
        samples = Hdf5PoseDataset(tmp_path / "out.h5")[:]
        full, bare = (samples[row] for row in rows)
        assert_samples_equal(replace(full, sequence=None), replace(Hdf5PoseDataset(a)[0], sequence=None))
        assert_samples_equal(
            replace(bare, sequence=None), replace(Hdf5PoseDataset(lean)[0], sequence=None, has_face=True)
        )
        assert "faults" not in tool("dscheck.py", tmp_path / "out.h5", "--workers", 0)


def test_numbers_of_persons_below_zero_are_no_persons(make_sample: Callable[..., Sample], tmp_path: Path) -> None:
    """Shifted for another file, they would become its persons."""
    one = write_samples(tmp_path / "a.h5", [make_sample(i, individual=i) for i in range(3)])
    other = write_samples(tmp_path / "b.h5", [make_sample(i, individual=i) for i in range(2)])
    with h5py.File(other, "a") as file:
        file["individual"][:] = [-2, 1]
    said = run_script("dsjoin.py", tmp_path / "c.h5", one, other, expect=1)
    assert "b.h5: field 'individual', row 0 has -2, expected whole numbers from 0" in said
    assert not (tmp_path / "c.h5").exists()
    assert "row 0: individual: -2, expected a person's number, from 0" in run_script("dscheck.py", other, expect=1)


def test_files_without_rows_are_not_joined(make_sample: Callable[..., Sample], tmp_path: Path) -> None:
    path = write_samples(tmp_path / "a.h5", [make_sample(0)])
    with h5py.File(path, "a") as file:
        for name in list(file):
            del file[name]
        file.create_dataset("images", (0,), h5py.vlen_dtype(np.uint8))
    assert "no rows in it, so nothing is written" in run_script("dsjoin.py", tmp_path / "b.h5", path, expect=1)
    assert not (tmp_path / "b.h5").exists()


def test_coefficients_of_different_face_models_are_not_joined(
    tool: Tool, faces: list[Sample], write_file: Callable[..., Path], tmp_path: Path
) -> None:
    a, bfm = write_file(faces, name="a.h5"), write_file(faces, name="bfm.h5", face_model="bfm_noneck_v3")
    text = tool("dsjoin.py", tmp_path / "out.h5", a, bfm, expect=1)
    assert "bfm.h5: field 'shapeparams' is of face model bfm_noneck_v3, but that of" in text
    assert not list(tmp_path.glob("out*"))


def test_view_draws_a_sheet(tool: Tool, file: Path, tmp_path: Path) -> None:
    text = tool("dsview.py", file, tmp_path / "a.png", "--count", 5, "--columns", 3, "--edge", 100)
    sheet = decode((tmp_path / "a.png").read_bytes(), color=True)
    assert sheet.shape == (2 * 104 + 4, 3 * 104 + 4, 3)
    assert tool("dsview.py", file, tmp_path / "b.png", "--count", 5, "--columns", 3, "--edge", 100) == text.replace(
        "a.png", "b.png"
    )
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert tool("dsview.py", file, tmp_path / "a.png", "--count", 5, "--seed", 1) != text
    text = tool("dsview.py", file, tmp_path / "d.jpg", "--rows", "3,5-6", "--whole")
    assert "rows 3, 5, 6" in text
    assert decode((tmp_path / "d.jpg").read_bytes()).shape == (248, 3 * 244 + 4)


def test_view_names_what_it_can_not_show(tool: Tool, file: Path, tmp_path: Path) -> None:
    with h5py.File(file, "a") as stored:
        stored["images"][4] = np.frombuffer(b"\xff\xd8\xff\xe0" + bytes(50), np.uint8)
    assert "'images', row 4 doesn't decode (54 bytes" in tool(
        "dsview.py", file, tmp_path / "a.png", "--rows", "3-5", expect=1
    )
    assert "choose such a name" in tool("dsview.py", file, tmp_path / "a.gif", "--rows", "3", expect=1)
