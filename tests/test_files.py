import errno
import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import h5py
import pytest

from trackertraincode.errors import UserError
from trackertraincode.files import cache_dir, check_outputs, whole_file

KILLED = """
import os, sys
from pathlib import Path
from types import SimpleNamespace
from trackertraincode.files import check_outputs, whole_file
with whole_file(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    os._exit(9)
"""


def test_a_file_has_its_name_only_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("old")
    with whole_file(path) as temporary:
        assert temporary.name == path.name
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_after_an_exception_nothing_is_left_and_the_older_file_stays(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "a.csv"
    path.write_text("old")
    with pytest.raises(error), whole_file(path) as temporary:
        raise error(temporary.write_text("half"))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_where_nothing_is_written_nothing_is_replaced(tmp_path: Path) -> None:
    with whole_file(tmp_path / "a.csv"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_goes_with_the_next_file(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    assert subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False).returncode == 9
    assert [p.name for p in tmp_path.iterdir()] == ["a.csv.tmp"]
    with whole_file(path) as temporary:
        assert not temporary.exists()
        temporary.write_text("whole")
    assert [p.name for p in tmp_path.iterdir()] == ["a.csv"]


def test_a_second_writer_of_the_same_file_is_refused_and_the_first_one_finishes(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with whole_file(path) as temporary:
        temporary.write_text("first")
        with pytest.raises(UserError, match=r"a\.csv: another process is writing this file"), whole_file(path):
            pass
    assert path.read_text() == "first"


@pytest.mark.parametrize("folder", [False, True])
def test_a_foreign_file_under_the_temporary_name_is_not_touched(tmp_path: Path, folder: bool) -> None:
    foreign = tmp_path / "a.csv.tmp"
    if folder:
        foreign.mkdir()
        foreign = foreign / "a.csv"
    foreign.write_text("mine")
    with pytest.raises(UserError, match=r"a\.csv\.tmp: is needed for a temporary"), whole_file(tmp_path / "a.csv"):
        pass
    assert foreign.read_text() == "mine"


def test_a_missing_folder_is_made(tmp_path: Path) -> None:
    with whole_file(tmp_path / "new" / "a.csv") as temporary:
        temporary.write_text("whole")
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.csv"]


def test_a_link_stays_and_what_it_points_to_is_replaced(tmp_path: Path) -> None:
    target = tmp_path / "a.csv"
    target.write_text("old")
    link = linked(tmp_path / "link.csv", target)
    with whole_file(link) as temporary:
        temporary.write_text("new")
    assert link.is_symlink()
    assert target.read_text() == "new"


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="needs /dev/null")
def test_a_device_is_written_to_and_not_replaced() -> None:
    with whole_file(Path("/dev/null")) as temporary:
        assert temporary == Path("/dev/null")
    check_outputs([Path("/dev/null"), Path("/dev/null")], [])


def linked(link: Path, target: Path) -> Path:
    try:
        link.symlink_to(target)
    except OSError:
        pytest.skip("links can't be made here")
    return link


def test_an_output_that_is_an_input_under_any_name_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "a.h5"
    data.write_bytes(b"\x89HDF\r\n\x1a\n")
    names = [data, tmp_path / "x" / ".." / "a.h5", linked(tmp_path / "link.h5", data), tmp_path / "twin.h5"]
    names[-1].hardlink_to(data)
    (tmp_path / "x").mkdir()
    for name in names:
        with pytest.raises(UserError, match=r"\.h5: is also an input, which would be destroyed"):
            check_outputs([name], [None, data])
    with pytest.raises(UserError, match="is also an input"):
        check_outputs([], [tmp_path], folders=[tmp_path / "x" / ".."])


def test_a_link_that_leads_to_itself_is_missing_as_an_input_and_replaced_as_an_output(tmp_path: Path) -> None:
    loop = linked(tmp_path / "loop.h5", tmp_path / "loop.h5")
    with pytest.raises(UserError, match="is also an input"):
        check_outputs([loop], [loop])
    check_outputs([loop], [tmp_path / "a.h5"])
    with whole_file(loop) as temporary:
        temporary.write_text("x")
    assert loop.read_text() == "x"


@pytest.mark.skipif(sys.platform == "win32", reason="homes are found otherwise")
def test_without_a_home_there_is_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "XDG_CACHE_HOME", "TRACKERTRAINCODE_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 5)  # who has no entry
    assert cache_dir() is None


def test_two_outputs_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="two outputs have this name"):
        check_outputs([tmp_path / "a.csv", None, tmp_path / "." / "a.csv"], [])


def test_files_and_folders_are_not_taken_for_each_other(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is a folder; name a file in it"):
        check_outputs([tmp_path], [])
    with pytest.raises(UserError, match="file: is a file; the output is a folder"):
        check_outputs([], [], folders=[tmp_path / "file"])
    with pytest.raises(UserError, match="file: is a file, not a folder"):
        check_outputs([tmp_path / "file" / "a.csv"], [])
    check_outputs([tmp_path / "new" / "deep" / "a.csv"], [], folders=[tmp_path / "run"])


def test_a_folder_without_the_right_to_write_is_named_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(UserError, match="not permitted to write in this folder"):
        check_outputs([tmp_path / "new" / "a.csv"], [])


def test_a_file_that_is_not_what_its_name_says_is_replaced_only_when_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "thesis.h5"
    path.write_bytes(b"%PDF-1.7")
    with pytest.raises(
        UserError, match=r"thesis\.h5: exists and isn't a \.h5 file; choose another name, or .*--overwrite"
    ):
        check_outputs([path], [])
    check_outputs([path], [], overwrite=True)
    path.write_bytes(b"\x89HDF\r\n\x1a\n and more")  # a damaged one
    check_outputs([path], [])


@pytest.mark.parametrize("suffix", [".h5", ".hdf5", ".HDF5"])
def test_files_of_other_programs_are_not_replaced_by_samples(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    with h5py.File(path, "w") as file:
        file["model_weights"] = [1.0]
    with pytest.raises(UserError, match=rf"a{suffix}: exists and has no samples in it; .*--overwrite"):
        check_outputs([path], [])
    check_outputs([path], [], overwrite=True)
    for name in ("images", "quats"):  # the first ones said no version
        with h5py.File(path, "w") as file:
            file[name] = [1.0]
        check_outputs([path], [])
    path.write_text("notes", encoding="utf-8")
    with pytest.raises(UserError, match=rf"isn't a {suffix} file"):
        check_outputs([path], [])


@pytest.mark.parametrize("name", ["notes", "thesis.docx", "a.v2"])
def test_a_file_whose_name_does_not_say_what_it_is_is_replaced_only_when_asked_for(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.touch()
    check_outputs([path], [])
    path.write_text("years of work", encoding="utf-8")
    with pytest.raises(UserError, match=rf"{name}: exists and its name doesn't say that it may be"):
        check_outputs([path], [])
    check_outputs([path], [], overwrite=True)


def test_a_full_disk_is_named_with_the_file_whatever_a_library_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=0))
    with pytest.raises(OSError, match="No space left") as full, whole_file(tmp_path / "a.ckpt"):
        raise RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 704 vs 598")
    assert full.value.filename == str(tmp_path / "a.ckpt")
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1 << 30))
    with pytest.raises(RuntimeError, match="unexpected"), whole_file(tmp_path / "a.ckpt"):
        raise RuntimeError("unexpected")


def test_an_error_of_moving_a_file_here_names_what_the_user_knows(tmp_path: Path) -> None:
    """As of checkpoints, which Lightning writes in another folder first."""

    def move() -> None:
        with whole_file(tmp_path / "a.ckpt") as temporary:
            error = OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "x"))
            error.filename2 = str(temporary)
            raise error

    with pytest.raises(OSError, match="No space left") as full:
        move()
    assert full.value.filename == str(tmp_path / "a.ckpt")
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_a_worker_process_names_the_file(tmp_path: Path) -> None:
    """HDF5's errors have one argument, beside which nothing that is added comes out of a pickle."""

    def write() -> None:
        with whole_file(tmp_path / "a.h5"):
            raise OSError("Can't write data (errno = 28, error message = 'No space left on device')")

    with pytest.raises(OSError, match="No space left on device") as full:
        write()
    assert pickle.loads(pickle.dumps(full.value)).filename == str(tmp_path / "a.h5")
