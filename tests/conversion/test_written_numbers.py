"""Numbers of all languages are read where they can mean one thing only."""

import pytest

from trackertraincode.conversion.written_numbers import decimal_marks, is_number, read_number, read_whole
from trackertraincode.errors import ArchiveError


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("1,5", 1.5),
        ("-,5", -0.5),
        ("100,", 100),
        ("1,0E+02", 100),
        ("1e3", 1000),
        ("\u22124,25", -4.25),
        ("\u20134", -4),
        ("1.100,5", 1100.5),
        ("1,100.5", 1100.5),
        ("1.234.567", 1234567),
        ("1\u202f100,5", 1100.5),
        ("1\u00a0100", 1100),
        ("1'100.5", 1100.5),
        ("1,1000", 1.1),
        ("0,125", 0.125),
        ("1.100", 1.1),
        ("1.5", 1.5),
    ],
)
def test_what_can_mean_one_thing_only_is_read(cell: str, value: float) -> None:
    assert read_number(cell, "x", ";", "") == value


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("1234567890123456789", 1234567890123456789),
        ("1.234.567.890.123.456.789", 1234567890123456789),
        ("1'234\u202f567,0", 1234567),
        ("12.0", 12),
        ("1,2E+02", 120),
        ("\u22124", -4),
        ("9" * 40, int("9" * 40)),
    ],
)
def test_whole_numbers_keep_all_digits(cell: str, value: int) -> None:
    assert read_whole(cell, "x", ";", "") == value


@pytest.mark.parametrize("cell", ["0.5", "1234567890123456789,5", "1e-400"])
def test_fractions_are_no_whole_numbers(cell: str) -> None:
    with pytest.raises(ArchiveError, match=f"^x has '{cell}', expected a whole number"):
        read_whole(cell, "x", ";", "")


@pytest.mark.parametrize("cell", ["", "seven", "1e999999999", "nan", "1_5", "9" * 400])
def test_what_is_no_number_is_no_whole_number(cell: str) -> None:
    with pytest.raises(ArchiveError, match=f"^x has '{cell[:40]}' where a number should be"):
        read_whole(cell, "x", ";", "")


@pytest.mark.parametrize(
    ("cell", "separator", "marks"),
    [("1.100", ";", ","), ("1,100", "\t", "."), ("1,100", ",", ""), ("1,100", ";", ".,"), ("1,100", "\t", "")],
)
def test_what_could_be_thousands_is_not_guessed(cell: str, separator: str, marks: str) -> None:
    with pytest.raises(
        ArchiveError, match=r"^x has '1.100' where .*: it could be 1\.100 or 1100; write numbers without"
    ):
        read_number(cell, "x", separator, marks)


def test_what_other_cells_write_decides() -> None:
    assert read_number("1,100", "x", ";", ",") == 1.1
    assert read_number("1.100", "x", ";", ".") == 1.1
    assert all(is_number(cell, ";") for cell in ("1,100", ' "1.5"', "-3"))
    assert not is_number("x0", ";")


@pytest.mark.parametrize(
    "cell", ["", "1 00", "12.34.56", "1,2,3", "01.02.2023", "1\u00b0", "nan", "1e999", "--4", "1_5"]
)
def test_what_is_no_number_is_shown_as_it_is_written(cell: str) -> None:
    with pytest.raises(ArchiveError, match=f"^x has '{cell}' where a number should be"):
        read_number(cell, "x", ";", "")


@pytest.mark.parametrize(
    ("text", "separator", "marks"),
    [
        ("a;1,5;2", ";", ","),
        ("a;1.100;2.345", ";", ""),
        ("a;0.125;2", ";", "."),
        ("a;1000.125\nb;1,25", ";", ".,"),
        ("a,1,5,70", ",", ""),
        ('a,"1,5",70.25', ",", ".,"),
        ("1,5.jpg;2", ";", ""),
    ],
)
def test_marks_before_decimals_are_found(text: str, separator: str, marks: str) -> None:
    assert decimal_marks(text, separator) == marks
