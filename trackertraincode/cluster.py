"""Worker processes of a dask scheduler, on this machine or others that see the same files.

    items --submit, a few ahead--> scheduler --> workers --results, in the order of the items--> this process

dask.distributed is pure Python, has launchers for SLURM, Kubernetes and clouds, moves tasks of a worker that died to
another one, and gives a `concurrent.futures` executor: nothing here schedules, tries again or moves files.
"""

import json
import logging
import os
import platform
import socket
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from trackertraincode import __version__
from trackertraincode.errors import ConfigError, WorkerError

if TYPE_CHECKING:
    from distributed import Client

AHEAD = 3  # items per worker that are under way or wait to be taken
ANSWERS = 10  # seconds in which a scheduler answers
COMES = 60  # seconds in which the first worker, or another one after the last, comes
APPEARS = 5  # seconds in which a file that was just made is seen on other machines
AGAIN = "; the same command with --resume goes on where it can"
_PROBE = f"__import__('{__name__}', fromlist=[''])._versions()"
SAME = (
    "dask",
    "distributed",
    "cloudpickle",
    "msgpack",
    "numpy",
    "opencv-python",
    "torch",
    "h5py",
    "simplejpeg",
    "anny",
)

Item = TypeVar("Item")
Result = TypeVar("Result")
Versions = tuple[tuple[str, str | None], ...]


def in_order(
    submit: Callable[[Item], Future[Result]],
    items: Iterable[Item],
    ahead: Callable[[], int],
    result: Callable[[Future[Result]], Result] = Future.result,
) -> Iterator[Result]:
    """What is submitted for each item, in their order, with so many under way or waiting to be taken."""
    waiting: deque[Future[Result]] = deque()
    queue = iter(items)
    while True:
        waiting.extend(submit(item) for item in islice(queue, max(0, ahead() - len(waiting))))
        if not waiting:
            return
        yield result(waiting.popleft())


@dataclass(frozen=True)
class Cluster:
    """The workers of a scheduler."""

    scheduler: str  # tcp://HOST:8786, or a file that `dask scheduler --scheduler-file` wrote
    sees: tuple[Path, ...] = ()  # files and folders that each worker must see as this process does

    def map_in_order(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """function(item) of each item in their order, by the workers, a few ahead.

        Raises WorkerError or ConfigError where scheduler or workers can't be used or are lost, and what the function raises.
        """
        with self._client() as client:
            folder = os.environ.get("DATADIR")
            expected = _Expected(
                _versions(), tuple(_stamp(p.absolute()) for p in self.sees), folder and str(Path(folder).absolute())
            )
            task = _Task(function, expected)
            pool = client.get_executor(pure=False)
            workers = now_and_then(lambda: self._count_workers(client))

            def submit(item: Item) -> Future[Result]:
                try:
                    return pool.submit(task, item)
                except Exception:
                    if client.status != "closed":
                        raise
                    raise self._lost() from None

            try:
                yield from in_order(
                    submit,
                    items,
                    lambda: AHEAD * max(1, workers()),
                    lambda future: self._result(client, future),
                )
            finally:
                pool.shutdown(wait=False)

    @contextmanager
    def _client(self) -> Iterator["Client"]:
        try:
            from distributed import Client
        except ImportError:
            raise ConfigError(
                "--scheduler needs dask.distributed; install the extra: pip install 'trackertraincode[cluster]'."
            ) from None
        address = _address(self.scheduler)
        _check_scheduler(self.scheduler, address)
        for name in [name for name in logging.root.manager.loggerDict if name.startswith("distributed")]:
            logging.getLogger(name).setLevel(logging.CRITICAL)  # what it says of lost connections isn't one line
        warnings.filterwarnings("ignore", module="distributed")  # as of versions that differ
        with Client(address, timeout=ANSWERS, set_as_default=False) as client:
            if not client.nthreads():
                with suppress(TimeoutError):
                    client.wait_for_workers(1, timeout=COMES)
            if not client.nthreads():
                raise WorkerError(
                    f"--scheduler {self.scheduler}: has no workers; start some with `dask worker {address} --nthreads 1`."
                )
            for worker, found in client.run(eval, _PROBE, on_error="return").items():  # not by a function of ours
                if isinstance(found, Exception):
                    raise WorkerError(
                        f"worker {worker}: can't use trackertraincode {__version__} ({found}); install there what is here."
                    )
                _check_versions(f"worker {worker}", found, _versions())
            yield client

    def _result(self, client: "Client", future: Future[Result]) -> Result:
        from distributed.scheduler import KilledWorker

        since = monotonic()
        while True:
            try:
                return future.result(timeout=1)
            except TimeoutError:
                if future.done():
                    raise
                if self._count_workers(client):
                    since = monotonic()
                elif monotonic() > since + COMES:
                    raise WorkerError(
                        f"--scheduler {self.scheduler}: all workers are gone; start some{AGAIN}."
                    ) from None
            except CancelledError:
                raise self._lost() from None
            except KilledWorker as error:
                raise WorkerError(
                    f"workers died {error.allowed_failures + 1} times at the same task, the last at "
                    f"{error.last_worker.address}, perhaps for lack of memory; start fewer per machine{AGAIN}."
                ) from None
            except ImportError as error:
                raise WorkerError(
                    f"a worker of {self.scheduler} can't import what it needs ({error}); install there what is here."
                ) from error

    def _count_workers(self, client: "Client") -> int:
        try:
            return len(client.nthreads())
        except Exception:  # one of several that say that there is no answer
            raise self._lost() from None

    def _lost(self) -> WorkerError:
        return WorkerError(f"--scheduler {self.scheduler}: doesn't answer any more; start it{AGAIN}.")


def now_and_then(function: Callable[[], Result], seconds: float = 1.0) -> Callable[[], Result]:
    """The function, called again only when its last result is older."""
    last: list[tuple[float, Result]] = []

    def get() -> Result:
        if not last or monotonic() > last[-1][0] + seconds:
            last[:] = [(monotonic(), function())]
        return last[-1][1]

    return get


def _address(scheduler: str) -> str:
    """Of a scheduler, or of the file that it wrote. Raises ConfigError."""
    path = Path(scheduler)
    if "://" in scheduler:
        return scheduler
    try:
        return str(json.loads(path.read_bytes())["address"])
    except FileNotFoundError:
        raise ConfigError(
            f"--scheduler {scheduler}: expected an address such as tcp://HOST:8786, or the file that `dask scheduler "
            "--scheduler-file` writes."
        ) from None
    except (OSError, ValueError, KeyError, TypeError):
        raise ConfigError(f"--scheduler {scheduler}: isn't a file of `dask scheduler --scheduler-file`.") from None


def _check_scheduler(scheduler: str, address: str) -> None:
    """Raises WorkerError when no scheduler of this version answers."""
    import asyncio

    from distributed.core import rpc

    async def ask() -> Any:
        async with rpc(address, timeout=ANSWERS) as other:
            return await other.versions()

    try:
        there = asyncio.run(asyncio.wait_for(ask(), ANSWERS))["packages"]
    except Exception as error:
        reason = (str(error).splitlines() or ["no answer"])[0]
        raise WorkerError(
            f"--scheduler {scheduler}: no dask scheduler answers there ({reason}); check the address, and start one with "
            "`dask scheduler`."
        ) from None
    for name in ("dask", "distributed"):
        if there.get(name) != _version(name):
            raise WorkerError(
                f"--scheduler {scheduler}: runs {name} {there.get(name)}, here is {_version(name)}; install the same there."
            )


@dataclass(frozen=True)
class _Expected:
    """What a worker must find, as it is here."""

    versions: Versions
    stamps: tuple[tuple[Path, Any], ...]
    data_dir: str | None  # $DATADIR


@dataclass(frozen=True)
class _Task(Generic[Item, Result]):
    """A function whose worker process looks around first, and again after it worked for another program."""

    function: Callable[[Item], Result]
    expected: _Expected

    def __call__(self, item: Item) -> Result:
        if _found != [self.expected]:
            _forget()
            _check_worker(self.expected)
            _found[:] = [self.expected]
        return self.function(item)


_found: list[_Expected] = []  # by this worker process, for the last task


def _forget() -> None:
    """Empty all caches of ours: they may hold open files that have changed since."""
    for name, module in list(sys.modules.items()):
        if name.startswith("trackertraincode."):
            for value in list(vars(module).values()):
                if hasattr(value, "cache_clear"):
                    value.cache_clear()


def _check_worker(expected: _Expected) -> None:
    """Take over $DATADIR. Raises WorkerError where this process has other versions or files, or several threads."""
    from distributed import get_worker

    worker = get_worker()
    name = f"worker {worker.address} on {socket.gethostname()}"
    _check_versions(name, _versions(), expected.versions)
    if worker.state.nthreads > 1:
        raise WorkerError(f"{name}: has {worker.state.nthreads} threads; start workers with --nthreads 1.")
    os.environ.pop("DATADIR", None)
    if expected.data_dir is not None:
        os.environ["DATADIR"] = expected.data_dir
    for path, stamp in expected.stamps:
        end = monotonic() + APPEARS
        while _stamp(path) != (path, stamp):
            if monotonic() > end:
                found = "isn't there" if _stamp(path)[1] is None else "is another file there"
                raise WorkerError(f"{name}: {path} {found}; workers must see the same files under the same names.")
            sleep(0.2)


def _check_versions(name: str, there: Versions, here: Versions) -> None:
    """Raises WorkerError where the worker of this name has others than this program."""
    for (package, one), (_, other) in zip(there, here):
        if one != other:
            raise WorkerError(f"{name}: has {package} {one}, this program {other}; install the same versions there.")


def _stamp(path: Path) -> tuple[Path, Any]:
    """What tells whether two machines see the same file: size and time, whether it is a folder, None where nothing is."""
    try:
        status = path.stat()
    except OSError:
        return path, None
    return path, "folder" if path.is_dir() else (status.st_size, status.st_mtime_ns)


def _versions() -> Versions:
    """Of what decides over results, and over what workers and clients say to each other."""
    own = (("trackertraincode", __version__), ("Python", platform.python_version()))
    return own + tuple((name, _version(name)) for name in SAME)


@cache
def _version(name: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return None
