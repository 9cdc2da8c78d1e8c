"""Files that are whole or not there at all, and where data lies. Nothing here knows what is in a file."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from trackertraincode.errors import UserError

_LOCK = "trackertraincode.lock"  # in the folder of a temporary file: held by the process that writes it


def data_dir() -> Path | None:
    """$DATADIR as a path, None where it isn't set."""
    text = os.environ.get("DATADIR")
    return Path(text) if text else None


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path to write to, NAME.tmp/NAME beside `path`: the file has its name only when it is complete.

    At the end it is on the disk before it replaces an older one; where nothing was written, nothing is replaced. After
    an exception, Ctrl-C included, nothing is left, and what a killed process left goes with the next one. Raises
    UserError when another process is writing this file, or when NAME.tmp is something else.
    """
    with _claimed(path) as folder:
        temporary = folder / path.name
        yield temporary
        if temporary.is_file():
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(path)


@contextmanager
def _claimed(path: Path) -> Iterator[Path]:
    """The folder NAME.tmp, empty but for its lock and of this process alone; it is removed at the end."""
    folder = path.with_name(path.name + ".tmp")
    try:
        folder.mkdir()
    except FileExistsError:
        if not folder.is_dir() or ({_LOCK} - {p.name for p in folder.iterdir()} and any(folder.iterdir())):
            raise UserError(f"{folder}: is needed for a temporary file; move what is there out of the way.") from None
    except OSError as error:
        error.filename = str(path)
        raise
    with (folder / _LOCK).open("a") as lock:
        if not _locked(lock) or not (folder / _LOCK).is_file():
            raise UserError(f"{path}: another process is writing this file; wait for its end or choose another name.")
        try:
            for left in folder.iterdir():
                if left.name != _LOCK:
                    left.unlink()
            yield folder
        finally:
            if sys.platform == "win32":
                lock.close()  # an open file can't be removed there
            shutil.rmtree(folder, ignore_errors=True)


def _locked(file: IO[str]) -> bool:
    """Lock an open file for this process; False when another one has it. Without support for locks: True."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return True
    return True
