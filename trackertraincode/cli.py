"""What all doors share: one-line errors, exit codes, common options and types of values.

Exit codes: 0 fine, 1 an error of the input or the machine, 2 wrong usage, 130 Ctrl-C.
"""

import argparse
import errno
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


def share(text: str) -> float:
    """argparse type: 0 to 1, without 1."""
    value = float(text)
    if not 0.0 <= value < 1.0:
        raise argparse.ArgumentTypeError(f"{text}: expected 0 to 1, without 1")
    return value


def field_of_view(text: str) -> float:
    """argparse type: degrees that a camera can have."""
    value = float(text)
    if not 0.0 < value < 180.0:
        raise argparse.ArgumentTypeError(f"{text}: expected degrees, more than 0 and less than 180")
    return value
