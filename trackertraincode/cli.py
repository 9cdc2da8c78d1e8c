"""What all command-line doors share: one-line errors, exit codes and common options.

Exit codes: 0 fine, 1 an error of the input or the machine, 2 wrong usage (argparse), 130 Ctrl-C.
"""

import argparse
import errno
import sys
from collections.abc import Callable
from pathlib import Path

from trackertraincode.errors import UserError
from trackertraincode.workers import keep_freed_memory


def run_main(main: Callable[[], int | None]) -> None:
    """Run a script's main function and exit with its code; what a user can cause becomes one line on stderr."""
    keep_freed_memory()
    try:
        code = main()
    except UserError as error:
        code = _complain(f"error: {error}")
    except KeyboardInterrupt:
        code = _complain("interrupted: nothing unfinished was left under its final name.", 130)
    except OSError as error:
        code = _complain(f"error: {describe_os_error(error)}")
    sys.exit(code)


def _complain(message: str, code: int = 1) -> int:
    print(message, file=sys.stderr)
    return code


def describe_os_error(error: OSError) -> str:
    """One line for a failure of the file system: which file, what happened, what to do."""
    where = f"{error.filename}: " if error.filename else ""
    if error.errno == errno.ENOSPC or "No space left on device" in str(error):
        return f"{where}the disk is full; free some space and run the same command again."
    if isinstance(error, FileNotFoundError):
        return f"{where}no such file or folder; check the path."
    if isinstance(error, PermissionError):
        return f"{where}not permitted to read or write here; check the rights or choose another path."
    return f"{where}{error.strerror or error}"


def add_workers_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--workers",
        type=non_negative_int,
        default=None,
        metavar="N",
        help="worker processes; 0 works in this process (default: NUM_WORKERS, else the cores, 8 at most)",
    )


def add_face_model_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--face-model",
        type=Path,
        metavar="FILE",
        help="bfm_noneck_v3.pkl (default: $DATADIR/bfm_noneck_v3.pkl where it exists, else the embedded head)",
    )


def add_device_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto", help="where to compute")


def non_negative_int(text: str) -> int:
    """argparse type: a whole number >= 0."""
    value = int(text)
    if value < 0:
        raise ValueError(text)
    return value


def positive_int(text: str) -> int:
    """argparse type: a whole number > 0."""
    value = int(text)
    if value <= 0:
        raise ValueError(text)
    return value
