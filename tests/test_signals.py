"""Signals end programs with a line and an exit code, whatever they are doing."""

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import pytest
from programs import end_of, python

from conftest import PROJECT
from trackertraincode import cli
from trackertraincode.cli import Ended, describe, run_main

WAITING = """
import signal, sys, time
from pathlib import Path
from trackertraincode.cli import run_main
from trackertraincode.files import whole_file

def main():
    with whole_file(Path(sys.argv[1])) as temporary:
        temporary.write_text("half")
        print("ready", flush=True)
        for _ in range(6000):  # one long sleep isn't woken by a signal that comes just before it
            time.sleep(0.1)

signal.signal(signal.SIGINT, signal.default_int_handler)  # programs in the background ignore it and SIGHUP
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
run_main(main)
"""


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


INTERRUPTED_IMPORT = """
import runpy, signal, sys

class Interrupted:
    def find_spec(self, name, *_):
        if name == "trackertraincode.commands":
            signal.raise_signal(signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Interrupted())
runpy.run_path(sys.argv[1], run_name="__main__")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no such signals")
@pytest.mark.parametrize("door", ["trackertraincode/__main__.py", "scripts/dsinfo.py"])
def test_ctrl_c_ends_a_program_that_begins_without_a_word(door: str) -> None:
    program = python(INTERRUPTED_IMPORT, PROJECT / door)
    assert program.communicate() == (b"", b"")
    assert program.returncode == -signal.SIGINT


def test_all_doors_begin_alike() -> None:
    for script in (PROJECT / "scripts").glob("*.py"):
        assert "\nfrom trackertraincode.__main__ import main\n" in script.read_text(encoding="utf-8"), script


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

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored by programs in the background
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
    assert program.wait(300) == 129
    assert list(tmp_path.iterdir()) == []


SHUTTING_DOWN = """
import signal, threading
from trackertraincode.cli import run_main

def wait():
    threading.main_thread().join()
    print("ready", flush=True)
    threading.Event().wait(600)

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
