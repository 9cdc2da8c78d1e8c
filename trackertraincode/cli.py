"""What all doors share: one-line errors, exit codes, signals, common options and types of values.

Exit codes: 0 fine, 1 an error of the input or the machine, 2 wrong usage, 128 + number of the signal that ended it.
"""

import argparse
import contextlib
import errno
import math
import os
import shlex
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from trackertraincode.errors import UserError
from trackertraincode.workers import start_program

DEBUG = "--debug"  # shows where an error comes from
IMAGES, CHARTS = (".png", ".jpg", ".jpeg"), (".png", ".pdf", ".svg", ".jpg", ".jpeg")  # suffixes of what is drawn
SAMPLES, LISTS = (".h5", ".hdf5"), (".txt", ".csv")
KINDS = {  # suffixes of files that are no other kind of file's
    *IMAGES, *CHARTS, *SAMPLES, *LISTS, ".zip", ".tar", ".tgz", ".npz", ".mat", ".pkl", ".ckpt", ".pth", ".onnx", ".toml",
    ".avi", ".mp4", ".mkv", ".mov", ".json", ".html",
}  # fmt: skip
ENDING = ("SIGTERM", "SIGHUP")  # signals that end a program, which cleans up before
LARGEST = 2**31 - 1  # of whole numbers on the command line
UNCHANGED = "nothing unfinished was left under its final name."
_VISIBLE = {c: f"\\x{c:02x}" for c in (*range(32), *range(127, 160)) if chr(c) not in "\t\n\r"}


class Ended(BaseException):
    """The program was asked to end by a signal."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number


class Terminal:
    """A text stream that shows control characters, of which terminals are made to do things, and letters that it lacks."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[attr-defined]

    def write(self, text: str) -> int:
        return self._stream.write(text.translate(_VISIBLE))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def run_main(main: Callable[[], int | None], *, start: Callable[[], None] = start_program) -> None:
    """Run a program's main function and exit with its code; errors become one line on stderr.

    start: prepares the process before.
    """
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
            with contextlib.suppress(BrokenPipeError):
                print(line.replace("\r", "\\r").replace("\n", "\\n"), end="\n" if line else "", file=sys.stderr)
    sys.exit(code)


def _code_of(main: Callable[[], int | None]) -> int | str | None:
    try:
        return main()
    except SystemExit as stopped:  # by argparse, for example
        return stopped.code


@contextlib.contextmanager
def _ending_by_signals() -> Iterator[None]:
    """Inside, signals that end a program raise Ended, once."""
    numbers = [getattr(signal, name) for name in ENDING if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        numbers = []  # others can't have handlers

    def end(number: int, _: object) -> None:
        for other in numbers:
            signal.signal(other, signal.SIG_IGN)
        raise Ended(number)

    before = {number: signal.signal(number, end) for number in numbers if signal.getsignal(number) == signal.SIG_DFL}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def describe(error: BaseException) -> tuple[int, str]:
    """Exit code and line for what ended a program."""
    match error:
        case UserError():
            return 1, f"error: {error}"
        case KeyboardInterrupt():
            return 130, f"interrupted: {UNCHANGED}"
        case Ended():
            return error.code, f"ended by {error}: {UNCHANGED}"
        case BrokenPipeError():  # the reader of stdout left
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is still in a buffer
            return 128 + 13, ""  # SIGPIPE, as other programs in a pipe end
        case OSError():
            return 1, f"error: {describe_os_error(error)}"
        case MemoryError():
            return 1, "error: out of memory; try fewer --workers, smaller numbers, or a smaller file."
    text = (str(error).strip().splitlines() or [""])[0]
    program = Path(sys.argv[0]).name.replace("__main__.py", "ttc")
    command = shlex.join([program, *sys.argv[1:]])
    return 1, (
        f"error: {type(error).__name__}: {text[:300]} - a fault of this program; please report it with this command: "
        f"{command} ({DEBUG} shows more)"
    )


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


def add_workers_option(parser: argparse.ArgumentParser) -> None:
    """--workers or --scheduler, of commands that work through `workers.map_in_order`."""
    who = parser.add_mutually_exclusive_group()
    who.add_argument(
        "--workers",
        type=worker_count,
        default=None,
        metavar="N",
        help="worker processes; 0 works in this process (default: NUM_WORKERS, else the cores, 8 at most)",
    )
    who.add_argument(
        "--scheduler",
        metavar="ADDRESS|FILE",
        help="work by the dask workers of tcp://HOST:8786, or of the file that the scheduler wrote",
    )


FACE_MODEL: dict[str, Any] = {
    "type": Path,
    "metavar": "FILE",
    "help": "bfm_noneck_v3.pkl (default: $DATADIR/bfm_noneck_v3.pkl where it exists, else the embedded head)",
}


def add_face_model_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--face-model", **FACE_MODEL)


def add_device_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto", help="where to compute")


def add_overwrite_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--overwrite", action="store_true", help="replace a file that isn't what its name says")


def add_shards_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted run of the same command")
    parser.add_argument(
        "--shards",
        type=shard_count,
        metavar="N",
        help="write N files NAME-00000-of-0000N.h5 at once instead of one; a sequence or person is in one of them",
    )


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Of all commands that make a sample file item by item: the fields of `conversion.run.ConvertOptions`."""
    parser.add_argument("-n", "--count", type=positive_int, metavar="N", help="only the first N samples")
    add_workers_option(parser)
    add_shards_options(parser)
    parser.add_argument("--strict", action="store_true", help="stop at the first sample that can't be used")
    parser.add_argument("--skipped", type=OutputFile(*LISTS), metavar="FILE", help="list all that is skipped, and why")
    add_overwrite_option(parser)


class OutputFile:
    """argparse type: a file that is written. Raises ArgumentTypeError for a name like that of another kind of file."""

    def __init__(self, *suffixes: str) -> None:
        """suffixes: of names that it may have, the usual one first. Others that no file of ours has are fine, too."""
        self.suffixes = suffixes

    def __call__(self, text: str) -> Path:
        path = Path(text)
        if path.suffix.lower() in KINDS and path.suffix.lower() not in self.suffixes:
            raise argparse.ArgumentTypeError(
                f"{text}: isn't a {path.suffix.lower()} file when it is written here; end its name with "
                f"{' or '.join(self.suffixes)}"
            )
        return path


def output_folder(text: str) -> Path:
    """argparse type: a folder that is written to."""
    return Path(text)


def non_negative_int(text: str) -> int:
    """argparse type: a whole number >= 0."""
    return _whole_number(text, 0)


def positive_int(text: str) -> int:
    """argparse type: a whole number > 0."""
    return _whole_number(text, 1)


def worker_count(text: str) -> int:
    """argparse type: a number of processes."""
    return _whole_number(text, 0, 1024)


def shard_count(text: str) -> int:
    """argparse type: a number of files."""
    return _whole_number(text, 1, 99_999)


def edge_length(text: str) -> int:
    """argparse type: pixels of an image that is drawn."""
    return _whole_number(text, 1, 16384)


def port_number(text: str) -> int:
    """argparse type: a port of a server."""
    return _whole_number(text, 1, 65535)


def whole_number(text: str) -> int:
    """argparse type: a whole number of a usual size."""
    return _whole_number(text, -LARGEST)


def _whole_number(text: str, least: int, most: int = LARGEST) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"{text[:20]!r}: expected a whole number from {least} to {most}")
    return value


def finite_number(text: str) -> float:
    """argparse type: neither NaN nor infinite."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text[:20]!r}: expected a number")
    return value


def number_where(text: str, holds: Callable[[float], bool], expected: str) -> float:
    """A number for which something holds, for argparse types; raises as they do where it doesn't, saying what is expected."""
    value = float(text)
    if not holds(value):
        raise argparse.ArgumentTypeError(f"{text}: expected {expected}")
    return value


def share(text: str) -> float:
    """argparse type: 0 or more, less than 1."""
    return number_where(text, lambda value: 0.0 <= value < 1.0, "0 or more and less than 1")


def probability(text: str) -> float:
    """argparse type: from 0 to 1."""
    return number_where(text, lambda value: 0.0 <= value <= 1.0, "a number from 0 to 1")


def degrees(text: str) -> float:
    """argparse type: an angle, at least a tenth of a degree, at most 90."""
    return number_where(text, lambda value: 0.1 <= value <= 90.0, "degrees from 0.1 to 90")


def crop_factor(text: str) -> float:
    """argparse type: edge of a crop / longer side of the face box."""
    return number_where(text, lambda value: 0.1 <= value <= 10.0, "a factor from 0.1 to 10")


def field_of_view(text: str) -> float:
    """argparse type: degrees that a camera can have."""
    return number_where(text, lambda value: 0.0 < value < 180.0, "degrees, more than 0 and less than 180")
