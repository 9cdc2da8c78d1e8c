"""Numbers as people and spreadsheets write them in their languages: decimal commas, thousands, minus signs.

1,5   1.100,5   1 100,5   1'100.5   1,0E+02   −4   --read_number--> float
                                        1.234.567   --read_whole--> int, exactly

Where a mark could stand before decimals as well as between thousands, nothing is guessed.
"""

import re
from contextlib import suppress
from decimal import Decimal

from trackertraincode.conversion.textfile import finite_number
from trackertraincode.errors import ArchiveError

_MINUS = str.maketrans("\u2212\u2013\u2010\u2011\uff0d", "-----")  # minus sign, dashes and hyphens of word processors
_BLANKS = " \u00a0\u2009\u202f"
_EXPONENT = r"(?:[eE][-+]?\d+)?"
_COMMA = re.compile(rf"[-+]?(?:\d+,\d*|,\d+){_EXPONENT}")
_EITHER = re.compile(r"[-+]?[1-9]\d{0,2}(?:\.\d{3}|,\d{3})")  # of 1.100 and 1,100 nobody knows
_GROUPS = {  # numbers with thousands that can't be taken for something else -> what stands between them
    re.compile(rf"[-+]?[1-9]\d{{0,2}}(?:[{_BLANKS}'\u2019]\d{{3}})+(?:[.,]\d*)?"): f"{_BLANKS}'\u2019",
    re.compile(r"[-+]?[1-9]\d{0,2}(?:\.\d{3})+,\d*"): ".",
    re.compile(r"[-+]?[1-9]\d{0,2}(?:,\d{3})+\.\d*"): ",",
    re.compile(r"[-+]?[1-9]\d{0,2}(?:\.\d{3}){2,}"): ".",
    re.compile(r"[-+]?[1-9]\d{0,2}(?:,\d{3}){2,}"): ",",
}


def decimal_marks(text: str, separator: str) -> str:
    """Which of "." and "," surely stand before decimals in some cell of a table: not followed by three digits."""
    edge = rf'(?:^|{re.escape(separator)})[ "]*'
    end = rf'[ "]*(?:$|{re.escape(separator)})'
    number = r"[-+]?(?:0|\d{4,})MARK\d+|[-+]?\d+MARK(?:\d{1,2}|\d{4,})"
    searched = [mark for mark in ".," if mark != separator or '"' in text]
    return "".join(
        mark
        for mark in searched
        if re.search(f"{edge}(?:{number.replace('MARK', re.escape(mark))}){end}", text, re.MULTILINE)
    )


def read_number(cell: str, where: str, separator: str, marks: str) -> float:
    """separator: of cells. marks: of `decimal_marks`. Raises ArchiveError, which begins with `where`, for no number."""
    if "," not in cell and "," not in marks:
        with suppress(ArchiveError):  # nearly all
            return finite_number(cell, where)
    return finite_number(_as_python(cell, where, separator, marks), where, cell)


def read_whole(cell: str, where: str, separator: str, marks: str) -> int:
    """As `read_number`, with all digits, of which a float keeps 15. Raises ArchiveError also for 0.5."""
    read_number(cell, where, separator, marks)
    exact = Decimal(_as_python(cell, where, separator, marks))
    if exact != exact.to_integral_value():
        raise ArchiveError(f"{where} has '{cell[:40]}', expected a whole number.")
    return int(exact)


def _as_python(cell: str, where: str, separator: str, marks: str) -> str:
    """The cell without thousands and with a decimal point, if it holds a number. Raises ArchiveError where it isn't clear."""
    written = cell.translate(_MINUS)
    for pattern, between in _GROUPS.items():
        if pattern.fullmatch(written):
            written = re.sub(f"[{between}]", "", written)
            break
    else:
        other = "," if "." in written else "."
        unsure = other in marks or ("," in written and (separator == "," or "," not in marks))
        if _EITHER.fullmatch(written) and unsure:
            raise ArchiveError(
                f"{where} has '{cell}' where a number should be: it could be {written.replace(',', '.')} or "
                f"{re.sub('[.,]', '', written)}; write numbers without separators of thousands."
            )
    return written.replace(",", ".") if _COMMA.fullmatch(written) else written


def is_number(cell: str, separator: str) -> bool:
    """Whether a cell holds one."""
    written = cell.strip(' "')
    try:
        read_number(written, "", separator, "")
    except ArchiveError:
        return _EITHER.fullmatch(written) is not None
    return True
