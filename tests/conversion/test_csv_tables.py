"""Tables in CSV files: separators, encodings, quotes, comments, as spreadsheets write them."""

import os
import sys
from pathlib import Path

import pytest
from archive_damage import convert, write_zip
from small_csv import DOOR, small

from trackertraincode.conversion.csv_labels import BOX_COLUMNS, make_source
from trackertraincode.conversion.spreadsheet import Row, read_table
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.errors import ArchiveError


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_separators_spaces_order_and_capitals_make_no_difference(tmp_path: Path, separator: str, encoding: str) -> None:
    lines = [separator.join(cells) for cells in (["Y0", " x0", "PATH", "x1 ", "y1"], ["2", "1", "a.jpg", " 70", "50"])]
    convert(DOOR, small(tmp_path, [*lines, ""], encoding=encoding), tmp_path / "a.h5")
    assert Hdf5PoseDataset(tmp_path / "a.h5").labels["face_box"].tolist() == [[1, 2, 70, 50]]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
@pytest.mark.parametrize("first", [[], ["sep=;"], ['"sep=;"']])
def test_files_are_read_as_spreadsheets_write_them(tmp_path: Path, encoding: str, first: list[str]) -> None:
    lines = [*first, "path;x0;y0;x1;y1;;", "ä.jpg;1,5;2;70;50;;", ";;;;;;", "", "a.jpg;1;2;70;50"]
    source = small(tmp_path, lines, encoding=encoding)
    (tmp_path / "ä.jpg").write_bytes((tmp_path / "a.jpg").read_bytes())
    convert(DOOR, source, tmp_path / "a.h5", "--strict")
    assert Hdf5PoseDataset(tmp_path / "a.h5").labels["face_box"].tolist() == [[1.5, 2, 70, 50], [1, 2, 70, 50]]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_one_cell_is_the_same_as_among_all(separator: str) -> None:
    rows = [
        ["a.jpg", " b c ", "1"],
        ['"x y"', '"a""b"', "2"],
        ["é", "", ""],
        ['"q"', "'", "\\"],
        ['"two\nlines"', "", "3"],
    ]
    text = "\n".join(separator.join(cells) for cells in (["path", "note", "x0"], *rows))
    table, read, _ = read_table(text.encode(), "a.csv")
    assert len(read) == len(rows)
    for row in read:
        assert {column: table.cell(row, column) for column in table.header} == table.cells(row)
    for short in (Row(1, "a.jpg"), Row(1, '"')):
        with pytest.raises(ArchiveError, match=r"a\.csv: line 1"):
            table.cell(short, "note")


@pytest.mark.parametrize("separator", ["\t", "|", ":"])
def test_a_first_line_names_any_separator(tmp_path: Path, separator: str) -> None:
    lines = [separator.join(cells) for cells in (["path", *BOX_COLUMNS], ["a.jpg", "1,5", "2", "70", "50"])]
    convert(DOOR, small(tmp_path, [f"sep={separator}", *lines]), tmp_path / "a.h5", "--strict")
    assert Hdf5PoseDataset(tmp_path / "a.h5").labels["face_box"].tolist() == [[1.5, 2, 70, 50]]


def test_cells_may_hold_line_breaks_and_stray_quotes_spoil_only_their_line(tmp_path: Path) -> None:
    lines = ["path,x0,y0,x1,y1,note", 'a.jpg,1,2,70,50,"one', "", 'two"', 'a.jpg,2,2,70,50,"', "a.jpg,3,2,70,50,x"]
    convert(DOOR, small(tmp_path, lines), tmp_path / "a.h5", "--skipped", tmp_path / "skipped.txt")
    assert Hdf5PoseDataset(tmp_path / "a.h5").labels["face_box"][:, 0].tolist() == [1, 3]
    (told,) = (tmp_path / "skipped.txt").read_text(encoding="utf-8").splitlines()
    assert "line 5 can't be split into cells" in told


def test_decimal_commas_in_quotes_are_read_unless_they_could_separate_thousands(tmp_path: Path) -> None:
    lines = ["path,x0,y0,x1,y1", 'a.jpg,"1,5","0,125","70,25",50', 'a.jpg,"1,500",2,70,50', "a.jpg,1_5,2,70,50"]
    convert(DOOR, small(tmp_path, lines), tmp_path / "a.h5", "--skipped", tmp_path / "skipped.txt")
    assert Hdf5PoseDataset(tmp_path / "a.h5").labels["face_box"].tolist() == [[1.5, 0.125, 70.25, 50]]
    told = (tmp_path / "skipped.txt").read_text(encoding="utf-8").splitlines()
    assert [line.split("column ")[1] for line in told] == [
        "'x0' has '1,500' where a number should be: it could be 1.500 or 1500; write numbers without separators of "
        "thousands.",
        "'x0' has '1_5' where a number should be.",
    ]


def test_comments_are_left_out_and_counted_and_may_be_the_header(tmp_path: Path) -> None:
    header, faces = "path;x0;y0;x1;y1", ["a.jpg;1;2;70;50", "# a remark", "#a.jpg;3;2;70;50", "b.jpg;3;2;70;50"]
    for number, begin in enumerate((["# mine", "# x;y;units;px", header], ["# mine", f"# {header}"])):
        source = small(tmp_path, [*begin, *faces], name=f"{number}.csv")
        convert(DOOR, source, tmp_path / "a.h5", "--strict")
        assert Hdf5PoseDataset(tmp_path / "a.h5").labels["face_box"][:, 0].tolist() == [1, 3]
        assert make_source(source).notes == (f"{4 - number} lines that begin with # are comments",)


def test_thousands_that_look_like_decimals_are_asked_about(tmp_path: Path) -> None:
    lines = ["path;x0;y0;x1;y1", "a.jpg;1.100;2;70;50", "a.jpg;1,5;2;70;50", "a.jpg;\u22121;2;7E+01;50\x1a"]
    convert(DOOR, small(tmp_path, lines), tmp_path / "a.h5", "--skipped", tmp_path / "skipped.txt")
    assert Hdf5PoseDataset(tmp_path / "a.h5").labels["face_box"].tolist() == [[1.5, 2, 70, 50], [-1, 2, 70, 50]]
    assert "column 'x0' has '1.100' where" in (tmp_path / "skipped.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        (
            "a.csv",
            b"PK\3\4" + bytes(40),
            r"a\.csv: is a workbook or another zip file, no CSV file: save the table as CSV",
        ),
        ("a.csv", b"\xd0\xcf\x11\xe0" + bytes(40), "workbook of old Excel"),
        ("a.xls", b"\xd0\xcf\x11\xe0" + bytes(40), "workbook or document of old Office; tables are read as CSV"),
        (
            "a.csv",
            b"a.jpg;1;2;3;4\nb.jpg;1;2;3;4",
            r"no header, the first line holds numbers: a\.jpg, 1, 2, 3, 4\. It has",
        ),
        ("a.csv", b"<!DOCTYPE html>\n<html>\n</html>", "is a web page"),
    ],
)
def test_what_is_no_table_is_said(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ArchiveError, match=message):
        make_source(tmp_path / name)


def test_a_workbook_is_called_one(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"a\.xlsx: is a workbook; save its table as CSV \(\.csv\) and give that"):
        make_source(write_zip(tmp_path / "a.xlsx", {"[Content_Types].xml": b"", "xl/workbook.xml": b""}))


def test_text_that_is_not_utf8_is_said_to_be_read_as_cp1252(tmp_path: Path) -> None:
    lines = ["path,x0,y0,x1,y1,note", "a.jpg,1,2,70,50,ж"]
    (note, _) = make_source(small(tmp_path, lines, encoding="cp1251")).notes
    assert (
        note
        == f"{tmp_path / 'my.csv'}: isn't UTF-8, read as cp1252: save it as UTF-8 if names or letters come out wrong"
    )
    with pytest.raises(ArchiveError, match=r"my\.csv: not a text file in UTF-8, UTF-16 or cp1252: save it as UTF-8"):
        make_source(small(tmp_path, [*lines[:1], "、.jpg,1,2,70,50,"], encoding="shift_jis"))


def test_blanks_around_quoted_cells_and_two_marks_make_no_difference(tmp_path: Path) -> None:
    lines = ['\ufeff"path" , "x0", "y0" ,"x1","y1" ', '"a.jpg" , "1","2" , 70,50']
    convert(DOOR, small(tmp_path, lines, encoding="utf-8-sig"), tmp_path / "a.h5", "--strict")
    assert Hdf5PoseDataset(tmp_path / "a.h5").labels["face_box"].tolist() == [[1, 2, 70, 50]]


def test_a_sequence_that_comes_back_is_one_sequence(tmp_path: Path) -> None:
    lines = ["path,x0,y0,x1,y1,sequence"] + [f"a.jpg,{i},1,70,50,{s}" for i, s in enumerate("badcabda")]
    convert(DOOR, small(tmp_path, lines), tmp_path / "a.h5")
    data = Hdf5PoseDataset(tmp_path / "a.h5")
    assert data.sequence_starts is not None
    assert data.sequence_starts.tolist() == [0, 2, 5, 7, 8]
    assert data.labels["face_box"][:, 0].tolist() == [0, 5, 1, 4, 7, 2, 6, 3]


@pytest.mark.skipif(sys.platform != "linux", reason="names of other systems are text")
def test_names_that_text_escapes_are_found(tmp_path: Path) -> None:
    """As `ttc track --csv` writes those that aren't UTF-8."""
    source = small(tmp_path, ["path;x0;y0;x1;y1", "caf\\udce9.jpg;1;2;70;50", "sub\\a.jpg;3;2;70;50"])
    (tmp_path / "a.jpg").rename(tmp_path / os.fsdecode(b"caf\xe9.jpg"))
    (tmp_path / "sub").mkdir()
    (tmp_path / "b.jpg").rename(tmp_path / "sub" / "a.jpg")
    convert(DOOR, source, tmp_path / "a.h5", "--strict")
    assert Hdf5PoseDataset(tmp_path / "a.h5").labels["face_box"][:, 0].tolist() == [1, 3]
