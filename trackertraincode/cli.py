"""What all doors share: one-line errors, exit codes, signals.

Exit codes: 0 fine, 1 an error of the input or the machine, 2 wrong usage, 128 + number of the signal that ended it.
"""

import contextlib
import errno
import os
import shlex
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

from trackertraincode.errors import UserError
from trackertraincode.parts import how_to_install, part_of
from trackertraincode.workers import PATIENCE, start_program

DEBUG = "--debug"  # shows where an error comes from
ENDING = ("SIGTERM", "SIGHUP")  # signals that end a program, which cleans up before
AGAIN_SECONDS = 0.05
UNCHANGED = "nothing unfinished was left under its final name."
LONGEST = 2000  # characters of a line about an error; names in files can have millions
OUT_OF_MEMORY = "error: out of memory; try fewer --workers, smaller numbers, or a smaller file."
NO_ROOM = ("failed to map segment", "cannot allocate memory")  # what the loader says of libraries that don't fit
_VISIBLE = {c: f"\\x{c:02x}" for c in (*range(32), *range(127, 160)) if chr(c) not in "\t\n\r"} | {
    c: f"\\u{c:04x}" for c in (*range(0x2028, 0x202F), *range(0x2066, 0x206A))
}  # the second ones begin lines and turn the direction of letters


class Ended(BaseException):
    """The program was asked to end by a signal."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number, self.code = number, 128 + number


class Terminal:
    """A text stream that shows control characters, of which terminals are made to do things, and letters that it lacks.

    A terminal that was closed loses the text, and no more.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._may_close = stream.isatty()
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[attr-defined]

    def write(self, text: str) -> int:
        with self._open_or_lost():
            return self._stream.write(text.translate(_VISIBLE))
        return len(text)

    def flush(self) -> None:
        with self._open_or_lost():
            self._stream.flush()

    @contextlib.contextmanager
    def _open_or_lost(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if not self._may_close or error.errno != errno.EIO:
                raise
            lose_output(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def run_main(main: Callable[[], int | None], *, start: Callable[[], None] = start_program) -> None:
    """Run a program's main function and exit with its code; errors become one line on stderr.

    start: prepares the process before.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed, as by >&-
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - it ends with the process
    with contextlib.redirect_stdout(Terminal(sys.stdout)), contextlib.redirect_stderr(Terminal(sys.stderr)):  # type: ignore[type-var]
        code: int | str | None
        try:
            with _ending_by_signals():
                start()
                code = _code_of(main)
                sys.stdout.flush()
        except (Exception, KeyboardInterrupt, Ended) as error:
            if DEBUG in sys.argv:
                traceback.print_exc()
            code, line = describe(error)
            with contextlib.suppress(OSError):
                if len(line) > LONGEST:
                    line = f"{line[: LONGEST // 2]} […] {line[-LONGEST // 2 :]}"
                print(line.replace("\r", "\\r").replace("\n", "\\n"), end="\n" if line else "", file=sys.stderr)
    sys.exit(code)


def _code_of(main: Callable[[], int | None]) -> int | str | None:
    try:
        return main()
    except SystemExit as stopped:  # by argparse, for example
        return stopped.code


@contextlib.contextmanager
def _ending_by_signals() -> Iterator[None]:
    """Inside, Ctrl-C raises KeyboardInterrupt, other signals that end a program Ended. After it, they end this process
    without a word.

    They wait until modules are imported: torch's abort when something is raised in them. Later ones are for those who
    can't wait for the end of the first: they end the process at once where it has cleaned up for too long.
    """
    numbers = [getattr(signal, name) for name in ("SIGINT", *ENDING) if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        numbers = []  # others can't have handlers

    arrived: list[int] = []
    since = 0.0
    process = os.getpid()

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal since
        begins = os.getpid() != process  # a worker that has no handlers of its own yet
        if begins or (arrived and time.monotonic() - since > PATIENCE):
            os._exit(128 + number)
        if arrived:
            return
        if _is_importing(frame):
            _raise_later(number)
            return
        arrived.append(number)
        since = time.monotonic()
        raise _as_error(number)

    def again(lost: "sys.UnraisableHookArgs") -> None:
        """What a signal raises inside of a destructor is lost, so the signal comes again a little later."""
        number = lost.exc_value.number if isinstance(lost.exc_value, Ended) else signal.SIGINT
        if not isinstance(lost.exc_value, (Ended, KeyboardInterrupt)):
            if DEBUG in sys.argv:  # else it says no more than what ends the program
                report(lost)
        else:
            arrived.clear()
            _raise_later(number)

    usual = (signal.SIG_DFL, signal.default_int_handler)
    before = {number: signal.signal(number, end) for number in numbers if signal.getsignal(number) in usual}
    report, sys.unraisablehook = sys.unraisablehook, again
    try:
        yield
    except Exception as error:
        if arrived and (arrived[0] != signal.SIGINT or _is_of_ctrl_c(error)):  # somebody made another error of it
            raise _as_error(arrived[0]) from error
        raise
    finally:
        sys.unraisablehook = report
        for number, handler in before.items():
            signal.signal(number, handler)
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # else a traceback, while Python shuts down


def _as_error(number: int) -> BaseException:
    return KeyboardInterrupt() if number == signal.SIGINT else Ended(number)


def _is_of_ctrl_c(error: BaseException | None) -> bool:
    """Whether an error was made of a KeyboardInterrupt; `ttc track` goes on after one, and may fail later."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _is_importing(frame: FrameType | None) -> bool:
    """Whether the program is importing a module."""
    while frame is not None and frame.f_code is not run_main.__code__:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _raise_later(number: int) -> None:
    """In the main thread, which may be waiting: only a signal of its own wakes it."""
    main, kill = threading.main_thread().ident, getattr(signal, "pthread_kill", lambda _, n: signal.raise_signal(n))
    threading.Timer(AGAIN_SECONDS, kill, [main, number]).start()


def lose_output(stream: TextIO) -> None:
    """Write nowhere from now on, what is still in a buffer included."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def describe(error: BaseException) -> tuple[int, str]:
    """Exit code and line for what ended a program."""
    match error:
        case UserError():
            return 1, " ".join([f"error: {error}", *_kept(error)])
        case KeyboardInterrupt():
            return 130, " ".join(["interrupted:", *(_kept(error) or [UNCHANGED])])
        case Ended():
            return error.code, " ".join([f"ended by {error}:", *(_kept(error) or [UNCHANGED])])
        case BrokenPipeError():  # the reader of stdout left
            lose_output(sys.stdout)
            return 128 + 13, ""  # SIGPIPE, as other programs in a pipe end
        case OSError():
            return 1, f"error: {describe_os_error(error)}"
        case MemoryError():
            return 1, OUT_OF_MEMORY
        case ImportError() if any(text in str(error) for text in NO_ROOM):
            return 1, OUT_OF_MEMORY
        case ModuleNotFoundError() if part := part_of(error.name or ""):
            return 1, f"error: this needs {error.name}, not installed here: {how_to_install(part)}"
    text = (str(error).strip().splitlines() or [""])[0]
    program = Path(sys.argv[0]).name.replace("__main__.py", "ttc")
    command = shlex.join([program, *sys.argv[1:]])
    return 1, (
        f"error: {type(error).__name__}: {text[:300]} - a fault of this program; please report it with this command: "
        f"{command} ({DEBUG} shows more)"
    )


def _kept(error: BaseException) -> list[str]:
    """What commands note of results that are there in spite of an error."""
    return getattr(error, "__notes__", [])


def describe_os_error(error: OSError) -> str:
    """One line for a failure of the file system: which file, what happened, what to do."""
    where = f"{error.filename}: " if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT) or "No space left on device" in str(error):
        return f"{where}the disk is full; free some space and run the same command again."
    if error.errno == errno.EFBIG or "File too large" in str(error):
        return f"{where}the file is larger than is allowed here (see ulimit -f)."
    if isinstance(error, FileNotFoundError):
        return f"{where}no such file or folder; check the path."
    if isinstance(error, PermissionError):
        return f"{where}not permitted to read or write here; check the rights or choose another path."
    return f"{where}{error.strerror or error}"
