"""What all doors share: how programs end, and what terminals see."""

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import pytest

from conftest import PROJECT
from trackertraincode import cli
from trackertraincode.cli import Ended, describe, run_main
from trackertraincode.errors import UserError

WAITING = """
import signal, sys, time
from pathlib import Path
from trackertraincode.cli import run_main
from trackertraincode.files import whole_file

def main():
    with whole_file(Path(sys.argv[1])) as temporary:
        temporary.write_text("half")
        print("ready", flush=True)
        time.sleep(60)

signal.signal(signal.SIGINT, signal.default_int_handler)  # programs in the background ignore it and SIGHUP
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
run_main(main)
"""
TELLING = "from trackertraincode.cli import run_main; run_main(lambda: print('{text}'))"


def end_of(main: Callable[[], object], capsys: pytest.CaptureFixture[str]) -> tuple[object, str]:
    """Exit code and stderr of a program."""
    with pytest.raises(SystemExit) as stopped:
        run_main(main, start=lambda: None)  # type: ignore[arg-type]
    return stopped.value.code, capsys.readouterr().err


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


def python(code: str, *words: object, **variables: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)], cwd=PROJECT, env=os.environ | variables,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.parametrize("encoding", ["cp1251", "cp1253", "cp874", "ascii", "cp437", "cp1252"])
def test_letters_that_an_encoding_lacks_do_not_end_a_program(encoding: str) -> None:
    program = python(TELLING.format(text="Łu × ± …"), PYTHONIOENCODING=encoding)
    output, errors = program.communicate()
    assert (program.returncode, errors) == (0, b"")
    assert b"u" in output


@pytest.mark.parametrize("stream", ["out", "err"])
def test_terminals_get_no_control_characters_from_data(stream: str, capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        print("\x1b]0;title\x07\t|\x85", file=sys.stdout if stream == "out" else sys.stderr)

    with pytest.raises(SystemExit):
        run_main(main, start=lambda: None)
    assert getattr(capsys.readouterr(), stream) == "\\x1b]0;title\\x07\t|\\x85\n"


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes of this kind")
@pytest.mark.parametrize("main", ["lambda: [print('x' * 100) for _ in range(10000)] and 0", "lambda: print('x')"])
def test_a_reader_that_leaves_early_ends_a_program_without_a_word(main: str) -> None:
    program = python(f"from trackertraincode.cli import run_main; run_main({main})")
    assert program.stdout is not None
    program.stdout.close()
    assert program.stderr is not None
    assert program.stderr.read() == b""
    assert program.wait() == 141


@pytest.mark.skipif(sys.platform == "win32", reason="has no such signals")
@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129), ("SIGINT", 130)])
def test_signals_clean_up_and_have_their_exit_code(tmp_path: Path, name: str, code: int) -> None:
    program = python(WAITING, tmp_path / "a.csv")
    assert program.stdout is not None
    assert program.stdout.readline() == b"ready\n"
    program.send_signal(getattr(signal, name))
    _, errors = program.communicate()
    assert program.returncode == code
    assert errors.count(b"\n") == 1
    assert b"nothing unfinished was left" in errors
    assert list(tmp_path.iterdir()) == []


IN_A_DESTRUCTOR = """
import signal
from threading import Event
from trackertraincode import cli
from trackertraincode.cli import Ended, describe, run_main

class Dying:
    def __del__(self):
        signal.raise_signal(signal.{name})

def main():
    Dying()
    Event().wait()
    print("went on")

run_main(main)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no such signals")
@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_signal_in_a_destructor_ends_the_program_too(name: str, code: int) -> None:
    """Python drops what is raised there; destructors of loaders wait for their processes, where signals often arrive."""
    program = python(IN_A_DESTRUCTOR.format(name=name))
    output, errors = program.communicate()
    assert (program.returncode, output) == (code, b"")
    assert errors.count(b"\n") == 1


@pytest.fixture
def hears_ctrl_c() -> Iterator[None]:
    """Also where the tests run in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("hears_ctrl_c")
def test_signals_wait_until_a_module_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Torch's modules abort the process where something is raised in them."""
    (tmp_path / "interrupted.py").write_text("import signal\nsignal.raise_signal(signal.SIGINT)\nwhole = True\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    def main() -> None:
        assert import_module("interrupted").whole
        threading.Event().wait()

    assert end_of(main, capsys) == (130, describe(KeyboardInterrupt())[1] + "\n")


@pytest.mark.usefixtures("hears_ctrl_c")
@pytest.mark.skipif(os.name == "nt", reason="there is no SIGTERM to catch")
@pytest.mark.parametrize(("first", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_second_signal_does_not_disturb_the_end_of_the_first(
    first: signal.Signals, code: int, capsys: pytest.CaptureFixture
) -> None:
    done = []

    def main() -> None:
        try:
            signal.raise_signal(first)
        finally:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGTERM)
            done.append("the end")

    assert end_of(main, capsys)[0] == code
    assert done == ["the end"]


@pytest.mark.usefixtures("hears_ctrl_c")
def test_what_fails_after_a_heeded_ctrl_c_is_told(capsys: pytest.CaptureFixture) -> None:
    """A camera's recording ends so, and its file is written then."""

    def main() -> None:
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        raise OSError(errno.ENOSPC, "No space left on device", "drawn.mp4")

    code, said = end_of(main, capsys)
    assert (code, "drawn.mp4: the disk is full" in said) == (1, True)


@pytest.mark.usefixtures("hears_ctrl_c")
def test_a_second_ctrl_c_ends_a_program_that_does_not_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(cli, "PATIENCE", -1)
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)

    def main() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            signal.raise_signal(signal.SIGINT)

    end_of(main, capsys)
    assert codes == [130]


@pytest.mark.skipif(os.name == "nt", reason="has no such terminals")
def test_a_program_whose_terminal_is_closed_ends_as_by_sighup(tmp_path: Path) -> None:
    """It can't tell anybody."""
    import fcntl
    import pty
    import termios

    terminal, end = pty.openpty()
    program = subprocess.Popen(
        [sys.executable, "-c", WAITING, str(tmp_path / "a.txt")],
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        stdin=end,
        stdout=end,
        stderr=end,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(end)
    assert os.read(terminal, 100).startswith(b"ready")
    os.close(terminal)
    assert program.wait(60) == 129
    assert list(tmp_path.iterdir()) == []


SHUTTING_DOWN = """
import signal, threading
from trackertraincode.cli import run_main

def wait():
    threading.main_thread().join()
    print("ready", flush=True)
    threading.Event().wait(60)

signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
run_main(lambda: threading.Thread(target=wait).start())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no such signals")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_signals_end_a_program_that_shuts_down_without_a_word(name: str) -> None:
    number = getattr(signal, name)
    program = python(SHUTTING_DOWN)
    assert program.stdout is not None
    assert program.stdout.readline() == b"ready\n"
    program.send_signal(number)
    _, errors = program.communicate()
    assert (program.returncode, errors) == (-number, b"")


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGTERM to catch")
def test_a_signal_of_which_a_library_makes_another_error_has_its_exit_code(capsys: pytest.CaptureFixture) -> None:
    def load() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        except BaseException as error:
            raise ImportError("a compiled module could not be loaded") from error

    with pytest.raises(SystemExit) as stopped:
        run_main(load, start=lambda: None)
    assert stopped.value.code == 143
    assert capsys.readouterr().err == describe(Ended(signal.SIGTERM))[1] + "\n"
