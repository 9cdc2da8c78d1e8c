import subprocess
import sys
from pathlib import Path

import pytest

from trackertraincode.errors import UserError
from trackertraincode.files import whole_file

KILLED = """
import os, sys
from pathlib import Path
from trackertraincode.files import whole_file
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


def test_a_missing_folder_is_named_with_the_file_that_was_asked_for(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as error, whole_file(tmp_path / "no" / "a.csv"):
        pass
    assert error.value.filename == str(tmp_path / "no" / "a.csv")
