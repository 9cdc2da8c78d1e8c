"""Tables as spreadsheets write them: their encodings, separators, comments, cells with line breaks.

bytes --read_table--> header, rows --Table.cells--> cells by column --Table.numbers--> numbers
"""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from trackertraincode.conversion.written_numbers import decimal_marks, is_number, read_number, read_whole
from trackertraincode.errors import ArchiveError
from trackertraincode.signatures import begins

SEPARATORS = ",;\t|"
MAX_LINES = 32  # of one row, whose cells may hold line breaks
UNKNOWN = ("", "nan", "-nan", "na", "n/a", "#n/a", "#na", "<na>", "null", "none")  # of programs, for unknown labels
COMMENT = "#"
_MARKS = {b"\xff\xfe\0\0": "utf-32", b"\0\0\xfe\xff": "utf-32", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_NOT_TEXT = {  # kind of what is renamed to .csv instead of saved as such -> what it is
    "zip": "a workbook or another zip file",
    "office": "a workbook of old Excel (.xls)",
    "rtf": "rich text (.rtf)",
    "pdf": "a PDF file",
}


@dataclass(frozen=True)
class Row:
    """One row of the file."""

    number: int  # of its first line, from 1
    text: str

    def __str__(self) -> str:
        return f"line {self.number}"


@dataclass(frozen=True)
class Table:
    """How a file's rows are read."""

    name: str  # of the file, for messages
    separator: str
    header: tuple[str, ...]  # in small letters, without empty ones at the end
    marks: str = ""  # that surely stand before decimals somewhere in the file: "." or ",", or both

    def where(self, row: Row) -> str:
        """The row, for messages."""
        return f"{self.name}: line {row.number}"

    def cells(self, row: Row) -> dict[str, str]:
        """Cells of a row by column. Raises ArchiveError when it has another number of them than the header."""
        cells = split(row.text, self.separator, self.where(row))
        while len(cells) > len(self.header) and not cells[-1]:
            cells.pop()
        if len(cells) != len(self.header):
            raise ArchiveError(
                f"{self.where(row)} has {len(cells)} cells, expected {len(self.header)} as in the header."
            )
        return dict(zip(self.header, cells))

    def cell(self, row: Row, column: str) -> str:
        """One of them, in a fraction of the time. Raises ArchiveError where the row can't be split, or is too short."""
        place = self.header.index(column)
        parts = row.text.split(self.separator, place + 1)
        return parts[place].strip() if place < len(parts) and '"' not in row.text else self.cells(row)[column]

    def numbers(self, cells: Mapping[str, str], columns: Sequence[str], where: str) -> list[float]:
        """Numbers of some columns. Raises ArchiveError, which begins with `where`, naming the column of a wrong one."""
        return [read_number(cells[name], f"{where}, column '{name}'", self.separator, self.marks) for name in columns]

    def whole(self, cells: Mapping[str, str], column: str, where: str) -> int:
        """The whole number of a column, exactly. Raises ArchiveError, as `numbers`."""
        return read_whole(cells[column], f"{where}, column '{column}'", self.separator, self.marks)


def read_table(data: bytes, name: str) -> tuple[Table, list[Row], tuple[str, ...]]:
    """How rows are read, the rows below the header, and notes. Raises ArchiveError when there is no header or no row."""
    text, notes = _decode(data, name)
    lines = [Row(number, line) for number, line in enumerate(re.split("\r\n|\r|\n", text), 1)]
    filled = [place for place, line in enumerate(lines) if not _is_blank(line)]
    separator = None
    if filled and (match := re.fullmatch(r'"?sep=(.)"?', lines[filled[0]].text.strip(" "), re.IGNORECASE)):
        separator = match[1]
        filled = filled[1:]
    remarks, filled = _comments(lines, filled, separator)
    if len(filled) < 2:
        count = "1 line" if filled else "no lines"
        raise ArchiveError(f"{name}: {count}, expected a header and a line per face (see --help).")
    first = lines[filled[0]]
    separator = separator or _separator(first)
    header = [
        cell.lower() for cell in split(first.text.lstrip(f"{COMMENT} "), separator, f"{name}: line {first.number}")
    ]
    while header and not header[-1]:
        header.pop()
    if len(header) == 1:
        raise ArchiveError(
            f"{name}: line {first.number} names one column, '{header[0][:60]}'; the first line names the columns, "
            "separated by , ; | or tabs."
        )
    table = Table(name, separator, tuple(header), decimal_marks(text, separator))
    rows = [row for row in _rows(table, lines[filled[0] + 1 :]) if not _is_blank(row)]
    faces = [row for row in rows if not row.text.startswith(COMMENT)]
    if remarks := remarks + len(rows) - len(faces):
        notes = (*notes, f"{remarks} lines that begin with {COMMENT} are comments")
    return table, faces, notes


def _separator(line: Row) -> str:
    return max(SEPARATORS, key=line.text.count)


def _comments(lines: Sequence[Row], filled: list[int], separator: str | None) -> tuple[int, list[int]]:
    """How many comments come before the header, and the places of the other lines.

    NumPy writes the header as a comment, too: it is the last one, where the line behind it has as many cells and numbers
    among them.
    """
    count = next((i for i, place in enumerate(filled) if not lines[place].text.startswith(COMMENT)), 0)
    if count:
        last, first = (lines[filled[i]].text for i in (count - 1, count))
        used = separator or _separator(lines[filled[count]])
        cells = first.split(used)
        if last.count(used) == len(cells) - 1 > 0 and any(is_number(cell, used) for cell in cells):
            count -= 1
    return count, filled[count:]


def _decode(data: bytes, name: str) -> tuple[str, tuple[str, ...]]:
    """UTF-16 and UTF-32 begin with a mark or have zero bytes, what isn't UTF-8 is cp1252, which a note says."""
    kind = next((kind for kind in _NOT_TEXT if begins(data, kind)), None)
    if kind:
        raise ArchiveError(f"{name}: is {_NOT_TEXT[kind]}, no CSV file: save the table as CSV.")
    encoding = next((encoding for mark, encoding in _MARKS.items() if data.startswith(mark)), "utf-8-sig")
    if encoding == "utf-8-sig" and b"\0" in data[:2]:
        encoding = "utf-16-be" if data.startswith(b"\0") else "utf-16-le"
    for candidate in (encoding, "cp1252"):
        try:
            text = data.decode(candidate)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            told = f"{name}: isn't UTF-8, read as cp1252: save it as UTF-8 if names or letters come out wrong"
            notes = (told,) if candidate == "cp1252" else ()
            return text.lstrip("\ufeff").rstrip("\x1a"), notes  # some put a mark before a mark
    if b"\0" in data:
        raise ArchiveError(f"{name}: not a text file.")
    raise ArchiveError(f"{name}: not a text file in UTF-8, UTF-16 or cp1252: save it as UTF-8.")


def _is_blank(row: Row) -> bool:
    return not row.text.strip(f' "{SEPARATORS}')


def _rows(table: Table, lines: Sequence[Row]) -> Iterator[Row]:
    """Lines are rows, but those that only together have as many cells as the header, a line break in one of them."""
    place = 0
    while place < len(lines):
        row, taken = lines[place], 1
        if row.text.count('"') % 2:
            for count in range(2, MAX_LINES + 1):
                joined = Row(row.number, "\n".join(line.text for line in lines[place : place + count]))
                if joined.text.count('"') % 2 == 0 and _fits(table, joined):
                    row, taken = joined, count
                    break
        yield row
        place += taken


def _fits(table: Table, row: Row) -> bool:
    try:
        table.cells(row)
    except ArchiveError:
        return False
    return True


def split(line: str, separator: str, where: str) -> list[str]:
    """Cells without blanks around them, those between a quoted cell and a separator included."""
    tidy = re.sub(rf'"[ \t]+(?={re.escape(separator)}|$)', '"', line) if separator != "\t" else line
    try:
        cells = next(csv.reader([tidy], delimiter=separator, strict=True, skipinitialspace=True), [])
    except csv.Error as error:
        raise ArchiveError(f"{where} can't be split into cells ({error}).") from error
    return [cell.strip() for cell in cells]
