"""What is wrong in CSV files is named with its line and column."""

from pathlib import Path

import pytest
from archive_damage import convert, write_folder
from small_csv import DOOR, small

from conftest import run_script
from trackertraincode.conversion.csv_labels import make_source
from trackertraincode.errors import ArchiveError, UserError

HEADER = "path,x0,y0,x1,y1,pitch,yaw,roll,head_x,head_y,head_size,individual,sequence"


GOOD = "a.jpg,1,1,9,9,1,2,3,5,5,4,0,s"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a.jpg,1,1,9,9,1,zwei,3,5,5,4,0,s", r"my\.csv: line 3, column 'yaw' has 'zwei' where a number should be"),
        ("a.jpg,1,1,9,9,1,nan,3,5,5,4,0,s", r"my\.csv: line 3, column 'yaw' has 'nan'"),
        ("a.jpg,1,1,9,9,1,,3,5,5,4,0,s", r"my\.csv: line 3, column 'yaw' is empty"),
        ("a.jpg,1,1,9,9,1,361,3,5,5,4,0,s", r"my\.csv: line 3, column 'yaw' has '361', expected -360 to 360"),
        ("a.jpg,,,,,1,2,3,5,5,4,0,s", r"my\.csv: line 3, column 'x0' is empty"),
        ("a.jpg,1,1,1e300,9,1,2,3,5,5,4,0,s", r"face_box holds 1e\+300; no image has so many pixels"),
        ("a.jpg,9,1,1,9,1,2,3,5,5,4,0,s", r"my\.csv: line 3, column 'x1': box .* is empty"),
        ("a.jpg,99,1,199,9,1,2,3,5,5,4,0,s", r"line 3, columns 'x0' to 'y1': box .* outside of a\.jpg, .* 80 × 60"),
        (
            "a.jpg,1,1,9e5,9e5,1,2,3,5,5,4,0,s",
            r"a\.jpg \(line 3\): face box .* more than 4 times as large as the .* 80 × 60",
        ),
        (
            "a.jpg,70,1,270,9,1,2,3,5,5,4,0,s",
            r"a\.jpg \(line 3\): face box .* middle far outside of the image of 80 × 60",
        ),
        ("a.jpg,1,1,9,9,1,2,3,5,5,-4,0,s", r"my\.csv: line 3, column 'head_size' has '-4', expected a radius above"),
        ("a.jpg,1,1,9,9,1,2,3,5,5,4,0.5,s", r"my\.csv: line 3, column 'individual' has '0\.5'"),
        (
            "a.jpg,1,1,9,9,1,2,3,5,5,4,-1,s",
            r"my\.csv: line 3, column 'individual' has '-1', expected 0 to 9223372036854",
        ),
        (
            f"a.jpg,1,1,9,9,1,2,3,5,5,4,{2**63},s",
            r"my\.csv: line 3, column 'individual' has '9223372036854775808', expec",
        ),
        ("a.jpg,1,1,9,9,1,2,3,5,5,4,0,", r"my\.csv: line 3, column 'sequence' is empty"),
        ("a.jpg,1,1,9,9,1,2,3,5,5,4,0,NaN", r"my\.csv: line 3, column 'sequence' has 'NaN'; each line needs one"),
        (
            "a.jpg,1,1,41,51,1,2,3,0.5,0.4,0.2,0,s",
            r"my\.csv: line 3, columns 'head_x' to 'head_size': \[0\.5, 0\.4, 0\.2\]",
        ),
        (
            "a.jpg,1,1,9,9,1,2,3,25,5,4,0,s",
            r"isn't the head of the face box \[1\.0, 1\.0, 9\.0, 9\.0\]; all are pixels",
        ),
        (
            "a.jpg,1,1,9,9,1,2,3,5,5,17,0,s",
            r"line 3, columns 'head_x' to 'head_size': \[5\.0, 5\.0, 17\.0\] isn't the head",
        ),
        (",1,1,9,9,1,2,3,5,5,4,0,s", r"my\.csv: line 3, column 'path' is empty"),
        ("c.jpg,1,1,9,9,1,2,3,5,5,4,0,s", r"my\.csv: line 3, column 'path': .*c\.jpg: no such file"),
        ("my.csv,1,1,9,9,1,2,3,5,5,4,0,s", r"my\.csv: line 3, column 'path': 'my\.csv': \d+ bytes, not a JPEG"),
        ("a.jpg,1,1,9,9,1,2", r"my\.csv: line 3 has 7 cells, expected 13 as in the header"),
        ('"a.jpg,1,1,9,9,1,2,3,5,5,4,0,s', r"my\.csv: line 3 can't be split into cells"),
    ],
)
def test_a_wrong_line_is_named_with_its_column(tmp_path: Path, line: str, message: str, capsys) -> None:
    source = small(tmp_path, [HEADER, GOOD, line])
    with pytest.raises(UserError, match=message):
        convert(DOOR, source, tmp_path / "a.h5", "--strict")
    assert not (tmp_path / "a.h5").exists()
    convert(DOOR, source, tmp_path / "a.h5")
    assert "1 samples written, 1 skipped" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["path,x0,y0,x1,y1"], "1 line, expected a header and a line per face"),
        (
            ["path x0 y0 x1 y1", "a.jpg 1 2 3 4"],
            "line 1 names one column, 'path x0 y0 x1 y1'; the first line names the columns, separated by",
        ),
        (["path,x0,y0,x1", "a.jpg,1,2,3"], r"my\.csv: no column 'y1' in the header"),
        (["path,x,y,w,h", GOOD], r"no column 'x0' .* Boxes have corners here: x1 = x \+ width, y1 = y \+ height"),
        (["path,pitch,yaw,roll", GOOD], "no column 'x0' in the header. `ttc track FOLDER --csv boxes.csv` finds boxes"),
        (["path,x0,y0,x1,y1,pitch,yaw,rol", GOOD], r"no column 'roll' .* There is a column 'rol', .* misspelt"),
        (["path,x0,y0,x1,y1,lm0_x,lm0_y", GOOD], "no column 'lm1_x'"),
        (["path,x0,y0,x1,y1,x0", GOOD], "column 'x0' is there twice"),
    ],
)
def test_a_wrong_header_is_named_with_its_column(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(ArchiveError, match=message):
        make_source(small(tmp_path, lines))


def test_other_columns_are_mentioned(tmp_path: Path) -> None:
    lines = ["path,x0,y0,x1,y1,comment", "a.jpg,1,1,9,9,nice"]
    assert make_source(small(tmp_path, lines)).notes == ("columns that mean nothing here and aren't used: comment",)


def test_folders_need_exactly_one_csv_file(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="no CSV file in it"):
        make_source(write_folder(tmp_path / "a", {"x.jpg": b""}))
    with pytest.raises(ArchiveError, match=r"2 CSV files \(a\.csv, b\.csv\) in it"):
        make_source(write_folder(tmp_path / "b", {"a.csv": b"", "b.csv": b""}))


@pytest.mark.slow
def test_help_lists_the_columns() -> None:
    output = run_script(DOOR, "--help")
    for column in ("path", "x0 y0 x1 y1", "pitch yaw roll", "head_x head_y head_size", "lm0_x", "individual"):
        assert column in output
