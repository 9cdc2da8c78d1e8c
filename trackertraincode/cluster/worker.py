"""What a worker of a scheduler looks at before it works: versions, files, threads, $DATADIR.

Expected, of the program --CheckedTask, before its first item--> WorkerError, or function(item)
"""

import hashlib
import os
import platform
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from time import monotonic, sleep, time
from typing import Generic, TypeVar

from trackertraincode import __version__
from trackertraincode.errors import WorkerError
from trackertraincode.parts import version_of

APPEARS = 5  # seconds until other machines see a file
NEW_APPEARS = 40  # of a file that was just made: NFS remembers for 30 that it isn't there
PACKAGE = Path(__file__).parents[1]
SAME_TIME = 2.0  # seconds by which machines may tell the time of one file differently
SAME = (
    "dask", "distributed", "cloudpickle", "msgpack", "numpy", "opencv-python", "torch", "h5py", "simplejpeg", "anny",
)  # fmt: skip

Item = TypeVar("Item")
Result = TypeVar("Result")
Versions = tuple[tuple[str, str | None], ...]


@dataclass(frozen=True)
class Stamp:
    """What tells whether two machines see the same file."""

    path: Path
    kind: str  # "file", "folder", or "" where nothing is
    size: int = 0  # bytes
    time: float = 0.0  # when it was changed, seconds

    @classmethod
    def of(cls, path: Path) -> "Stamp":
        """As this machine sees it."""
        try:
            status = path.stat()
        except OSError:
            return cls(path, "")
        return cls(path, "folder") if path.is_dir() else cls(path, "file", status.st_size, status.st_mtime)

    def is_like(self, other: "Stamp") -> bool:
        """File systems keep times in units of their own."""
        return (self.kind, self.size) == (other.kind, other.size) and abs(self.time - other.time) <= SAME_TIME


@dataclass(frozen=True)
class Expected:
    """What a worker must find, as it is here."""

    versions: Versions
    stamps: tuple[Stamp, ...]
    data_dir: str | None  # $DATADIR


@dataclass(frozen=True)
class CheckedTask(Generic[Item, Result]):
    """A function whose worker process looks around first, and again after it worked for another program."""

    function: Callable[[Item], Result]
    expected: Expected

    def __call__(self, item: Item) -> Result:
        """Raises WorkerError where something differs here, and what the function raises; of files, with the worker's name."""
        with _BUSY:
            if _found != [self.expected]:
                _forget()
                _check_worker(self.expected)
                _found[:] = [self.expected]
            try:
                return self.function(item)
            except OSError as error:
                what = error.strerror or str(error)
                raise OSError(error.errno, what, f"{error.filename or 'a file'} on {_name()}") from error


_BUSY = Lock()  # open files and $DATADIR are those of a process, which may be several workers
_found: list[Expected] = []  # by this worker process, for the last task


def _forget() -> None:
    """Empty all caches of ours: they may hold open files that have changed since."""
    for name, module in list(sys.modules.items()):
        if name.startswith("trackertraincode."):
            for value in list(vars(module).values()):
                if hasattr(value, "cache_clear"):
                    value.cache_clear()


def _check_worker(expected: Expected) -> None:
    """Take over $DATADIR. Raises WorkerError where this process has other versions or files, or several threads."""
    from distributed import get_worker

    name, threads = _name(), get_worker().state.nthreads
    check_versions(name, versions(), expected.versions)
    if threads > 1:
        raise WorkerError(f"{name}: has {threads} threads; start workers with --nthreads 1.")
    os.environ.pop("DATADIR", None)
    if expected.data_dir is not None:
        os.environ["DATADIR"] = expected.data_dir
    start = monotonic()
    for stamp in expected.stamps:
        patience = NEW_APPEARS if abs(time() - stamp.time) < 2 * NEW_APPEARS else APPEARS
        while not (found := Stamp.of(stamp.path)).is_like(stamp):
            if monotonic() > start + patience:
                what = "isn't the file that is here" if found.kind else "isn't there"
                raise WorkerError(f"{name}: {stamp.path} {what}; workers must see the same files under the same names.")
            sleep(0.2)


def _name() -> str:
    from distributed import get_worker

    return f"worker {get_worker().address} on {socket.gethostname()}"


def check_versions(name: str, there: Versions, here: Versions) -> None:
    """Raises WorkerError where the worker or scheduler of this name has others than this program."""
    for (package, one), (_, other) in zip(there, here):
        if one != other:
            raise WorkerError(
                f"{name}: has {package} {one}, this program {other}; install the same there, and start it again."
            )


def versions() -> Versions:
    """Of what decides over results, and over what workers and clients say to each other."""
    own = (("trackertraincode", f"{__version__}+{_source()}"), ("Python", platform.python_version()))
    return own + tuple((name, version_of(name)) for name in SAME)


def _source() -> str:
    """Digest of this package's modules, as they were when this process first asked: a worker may be older than they are."""
    if not _SOURCE:
        digest = hashlib.sha256()
        for path in sorted(PACKAGE.rglob("*.py")):
            digest.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + path.read_bytes())
        _SOURCE.append(digest.hexdigest()[:8])
    return _SOURCE[0]


_SOURCE: list[str] = []
