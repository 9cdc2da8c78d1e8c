"""Rows are chosen by numbers and by expressions, and expressions are no programs."""

from pathlib import Path

import numpy as np
import pytest

from trackertraincode.datasets.selection import parse_rows, select_where
from trackertraincode.errors import ConfigError

VALUES = {
    "yaw": np.array([-70, -10, 0, 65, np.nan]),
    "pitch": np.array([5, 10, -20, 30, np.nan]),
    "size": np.array([50, 30, 41, 60, 70.0]),
}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("abs(yaw) > 60", [0, 3]),
        ("abs(yaw) > 60 and size >= 60", [3]),
        ("yaw < -5 or pitch < 0", [0, 1, 2]),
        ("not size > 45", [1, 2]),
        ("-20 <= pitch < 10", [0, 2]),
        ("(yaw + pitch * 2) / 5 >= 2 - 1e-9", [1, 3]),
        ("size > 45 and (yaw > 0 or pitch == 5)", [0, 3]),
        ("row != 2 and row <= 3", [0, 1, 3]),
        ("yaw > -1000", [0, 1, 2, 3]),
        ("yaw != 0", [0, 1, 3]),
        ("size / 0 > 1", [0, 1, 2, 3, 4]),
        ("1 < 2", [0, 1, 2, 3, 4]),
        ("  yaw>0  ", [3]),
        ("size > 45 and yaw > 0 and pitch > 0", [3]),
    ],
)
def test_expressions_choose_rows(expression: str, expected: list[int]) -> None:
    assert select_where(expression, VALUES, 5).tolist() == expected


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("yaw >", "not an expression"),
        ("", "not an expression"),
        ("yaw > 0\x00", "not an expression"),
        ("(" * 300 + "yaw" + ")" * 300, "not an expression"),
        ("-" * 990 + "yaw", ""),
        ("yaw > " + "1" * 2000, "2006 characters are too many"),
        ("yaw > 1" + "0" * 400, "not an expression"),
        ("yaw", "gives a number, expected a condition"),
        ("yew > 3", "'yew' is unknown; known are yaw"),
        ("roll > 3", "the file has no labels that tell roll; it has row, yaw, pitch, size"),
        ("yaw and size", "combine conditions"),
        ("(yaw > 3) + 1 > 0", "combine conditions"),
        ("not yaw", "combine conditions"),
        ("abs(yaw > 3) > 0", "abs"),
        ("abs(yaw > 3)", "'abs(yaw > 3)' is of a condition; write abs(yaw) > 3"),
        ("__import__('os').system('true')", "isn't allowed"),
        ("(lambda: 1)() > 0", "isn't allowed"),
        ("yaw.tofile('x') > 0", "isn't allowed"),
        ("yaw ** 9 > 0", "isn't allowed"),
        ("[y for y in yaw]", "isn't allowed"),
        ("abs(yaw, out=yaw) > 0", "isn't allowed"),
        ("max(yaw, 3) > 0", "isn't allowed"),
        ("yaw in (1, 2)", "isn't allowed"),
        ("yaw is size", "isn't allowed"),
        ("True", "isn't allowed"),
        ("'a' < 'b'", "isn't allowed"),
        ("yaw[0] > 0", "isn't allowed"),
        ("(yaw := 3) > 0", "isn't allowed"),
        ("~yaw > 0", "isn't allowed"),
        ("yaw if size else 3", "isn't allowed"),
    ],
)
def test_expressions_are_no_programs(expression: str, message: str) -> None:
    with pytest.raises(ConfigError, match=r"^--where") as caught:
        select_where(expression, VALUES, 5)
    assert message in str(caught.value)


def test_rows_come_from_words_or_files(tmp_path: Path) -> None:
    assert parse_rows("0", 1).tolist() == [0]
    assert parse_rows("5, 1-3 ,2", 6).tolist() == [1, 2, 3, 5]
    (tmp_path / "rows.txt").write_text("# bad ones\n4 2-3, 0 # and more\n\n9\n")
    assert parse_rows(str(tmp_path / "rows.txt"), 10).tolist() == [0, 2, 3, 4, 9]
    (tmp_path / "marked.txt").write_text("4, 2\n", encoding="utf-8-sig")
    assert parse_rows(str(tmp_path / "marked.txt"), 10).tolist() == [2, 4]
    with pytest.raises(ConfigError, match=r"--rows: '9{40}' isn't a row"):
        parse_rows("1," + "9" * 5000, 10)
    (tmp_path / "empty.txt").write_text("# none\n")
    assert parse_rows(str(tmp_path / "empty.txt"), 10).tolist() == []
    (tmp_path / "wrong.txt").write_text("3\nfour\n")
    with pytest.raises(ConfigError, match=r"wrong\.txt: 'four' isn't a row"):
        parse_rows(str(tmp_path / "wrong.txt"), 10)
    (tmp_path / "faces.h5").write_bytes(b"\x89HDF")
    with pytest.raises(ConfigError, match=r"--rows .*faces\.h5: isn't text"):
        parse_rows(str(tmp_path / "faces.h5"), 10)
