"""What all command-line doors share: one-line errors, exit codes and common options.

Exit codes: 0 fine, 1 an error of the input or the machine, 2 wrong usage (argparse), 130 Ctrl-C.
"""

import argparse
import ctypes
import errno
import os
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path

from trackertraincode.errors import ConfigError, UserError

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # glibc's malloc.h


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


def closest_first(word: str, known: Sequence[str]) -> list[str]:
    """The known words, those most like `word` first."""
    close = get_close_matches(word, known, n=len(known), cutoff=0.5)
    return close + [k for k in known if k not in close]


def default_workers() -> int:
    """NUM_WORKERS where it is set, else the number of usable cores, 8 at most.

    Raises ConfigError when NUM_WORKERS is no whole number.
    """
    text = os.environ.get("NUM_WORKERS")
    if text is None:
        return min(8, usable_cores())
    if not text.isdigit():
        raise ConfigError(f"NUM_WORKERS={text!r}: expected a whole number of worker processes, such as 2.")
    return int(text)


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def keep_freed_memory() -> None:
    """Let this process use freed memory again instead of giving it back and asking for it anew.

    glibc maps each large array and unmaps it when it is freed, so that pictures and activations touch new pages all the
    time. On Linux with glibc only (mallopt(3), malloc.h); elsewhere nothing happens.
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)


def start_worker(_index: int = 0) -> None:
    """Begin a worker process with one thread, also for matrix products: the processes are the parallelism.

    Otherwise the threads of all workers wait for each other, which made conversions three times slower.
    """
    import cv2
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    threadpool_limits(1)
    keep_freed_memory()


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


def data_dir() -> Path | None:
    """$DATADIR as a path, None where it isn't set."""
    text = os.environ.get("DATADIR")
    return Path(text) if text else None
