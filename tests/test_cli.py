"""What all doors share: how programs end, and what terminals see."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from programs import end_of, python

from conftest import PROJECT
from trackertraincode.cli import run_main
from trackertraincode.errors import UserError

TELLING = "from trackertraincode.cli import run_main; run_main(lambda: print('{text}'))"


def raising(error: BaseException) -> Callable[[], None]:
    def main() -> None:
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (UserError("a.h5: row 3 is wrong."), 1, "error: a.h5: row 3 is wrong.\n"),
        (UserError("a\n\x1b[31mb\x9b.h5: is wrong."), 1, "error: a\\n\\x1b[31mb\\x9b.h5: is wrong.\n"),
        (KeyboardInterrupt(), 130, "interrupted: nothing unfinished was left under its final name.\n"),
        (OSError(errno.ENOSPC, "No space", "a.h5"), 1, "error: a.h5: the disk is full; free some space and run the"),
        (OSError(errno.EFBIG, "File too large", "a.h5"), 1, "error: a.h5: the file is larger than is allowed here"),
        (FileNotFoundError(errno.ENOENT, "No such file", "a.h5"), 1, "error: a.h5: no such file or folder"),
        (MemoryError(), 1, "error: out of memory; try fewer --workers"),
        (ImportError("a.so: failed to map segment from shared object"), 1, "error: out of memory; try fewer --workers"),
        (SystemExit(2), 2, ""),
    ],
)
def test_what_ends_a_program_is_one_line_and_an_exit_code(
    error: BaseException, code: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ended, line = end_of(raising(error), capsys)
    assert ended == code
    assert line.startswith(text)
    assert line.count("\n") == bool(text)


def test_a_line_that_a_name_made_long_is_cut_in_its_middle(capsys: pytest.CaptureFixture[str]) -> None:
    _, line = end_of(raising(UserError(f"{'x' * 10**6}: is wrong.")), capsys)
    assert len(line) < 2020
    assert line.endswith("xxx: is wrong.\n")


def test_a_fault_of_ours_is_one_line_that_says_how_to_report_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/ttc", "info", "my file.h5"])
    fault = raising(RecursionError("too deep\nand more"))
    code, line = end_of(fault, capsys)
    assert (code, line.count("\n")) == (1, 1)
    assert "RecursionError: too deep - a fault of this program" in line
    assert "ttc info 'my file.h5' (--debug shows more)" in line
    monkeypatch.setattr(sys, "argv", ["ttc", "info", "--debug"])
    assert "Traceback" in end_of(fault, capsys)[1]


@pytest.mark.parametrize("encoding", ["cp1251", "cp1253", "cp874", "ascii", "cp437", "cp1252"])
def test_letters_that_an_encoding_lacks_do_not_end_a_program(encoding: str) -> None:
    program = python(TELLING.format(text="Łu × ± …"), PYTHONIOENCODING=encoding)
    output, errors = program.communicate()
    assert (program.returncode, errors) == (0, b"")
    assert b"u" in output


def test_what_a_destructor_raises_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    class Half:
        def __del__(self) -> None:
            raise AttributeError("never begun")

    def main() -> None:
        Half()
        raise UserError("a.h5: is wrong.")

    assert end_of(main, capsys) == (1, "error: a.h5: is wrong.\n")


def test_closed_streams_do_not_end_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    with pytest.raises(SystemExit) as stopped:
        run_main(lambda: print("x"), start=lambda: None)
    assert stopped.value.code is None


@pytest.mark.parametrize("stream", ["out", "err"])
def test_terminals_get_no_control_characters_from_data(stream: str, capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        print("\x1b]0;title\x07\t|\x85\u202e\u2028\u2069", file=sys.stdout if stream == "out" else sys.stderr)

    with pytest.raises(SystemExit):
        run_main(main, start=lambda: None)
    assert getattr(capsys.readouterr(), stream) == "\\x1b]0;title\\x07\t|\\x85\\u202e\\u2028\\u2069\n"


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes of this kind")
@pytest.mark.parametrize("main", ["lambda: [print('x' * 100) for _ in range(10000)] and 0", "lambda: print('x')"])
def test_a_reader_that_leaves_early_ends_a_program_without_a_word(main: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)  # before the program begins
    code = f"from trackertraincode.cli import run_main; run_main({main})"
    program = subprocess.Popen([sys.executable, "-c", code], cwd=PROJECT, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert program.stderr is not None
    assert program.stderr.read() == b""
    assert program.wait() == 141
