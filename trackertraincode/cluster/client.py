"""What a program asks of a scheduler: functions of items by its workers, and whether all of them can do that.

Cluster.map_in_order --_client--> scheduler and workers like this program, or one line --in_order--> results
"""

import json
import logging
import os
import sys
import warnings
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from trackertraincode import __version__
from trackertraincode.cluster.worker import CheckedTask, Expected, Stamp, check_versions, versions
from trackertraincode.errors import ConfigError, WorkerError
from trackertraincode.parts import how_to_install, version_of

if TYPE_CHECKING:
    from distributed import Client

AHEAD = 3  # items per worker that are under way or wait to be taken
ANSWERS = 10  # seconds in which a scheduler is reached
COMES = 60  # seconds in which the first worker, or another one after the last, comes
REPLIES = 60  # seconds in which scheduler and workers that were reached answer a question
TALKATIVE = ("distributed", "tornado", "asyncio")  # loggers: what they say of lost connections isn't one line
AGAIN = "; the same command with --resume goes on where it can"
_PROBE = (
    f"__import__('{versions.__module__}', fromlist=['']).versions()"  # no function of ours, which may be missing there
)

Item = TypeVar("Item")
Result = TypeVar("Result")


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
            stamps = tuple(Stamp.of(path.absolute()) for path in self.sees)
            task = CheckedTask(function, Expected(versions(), stamps, folder and str(Path(folder).absolute())))
            workers = now_and_then(lambda: self._count_workers(client))
            yield from in_order(
                partial(self._submit, client, task),
                items,
                lambda: AHEAD * max(1, workers()),
                partial(self._result, client),
            )

    @contextmanager
    def _client(self) -> Iterator["Client"]:
        try:
            from distributed import Client
        except ImportError:
            raise ConfigError(f"--scheduler needs dask.distributed: {how_to_install('cluster')}.") from None
        address = _address(self.scheduler)
        _check_scheduler(self.scheduler, address)
        for name in [name for name in logging.root.manager.loggerDict if name.startswith(TALKATIVE)]:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        warnings.filterwarnings("ignore", module="distributed")  # as of versions that differ
        try:
            client = Client(address, timeout=ANSWERS, set_as_default=False)
        except Exception as error:
            raise _no_scheduler(self.scheduler, error) from None
        with client:
            self._check_all(client, address)
            yield client

    def _check_all(self, client: "Client", address: str) -> None:
        """Raises WorkerError unless there are workers, and they and the scheduler have what is here."""
        if not self._ask(client, client.nthreads):
            print(f"--scheduler {self.scheduler}: waits for workers, {COMES} seconds at most.", file=sys.stderr)
            with suppress(TimeoutError):
                client.wait_for_workers(1, timeout=COMES)
        names = self._ask(client, client.nthreads)
        if not names:
            raise WorkerError(
                f"--scheduler {self.scheduler}: has no workers; start some with `dask worker {address} --nthreads 1`."
            )
        first, *rest = client.sync(_all_of, [partial(_probed, client, name) for name in (None, *names)])
        left = self._ask(client, client.nthreads)  # others have ended meanwhile
        answers = [("--scheduler " + self.scheduler, first)]
        answers += [(f"worker {name}", answer) for name, answer in zip(names, rest) if name in left]
        for name, answer in answers:
            if isinstance(answer, TimeoutError):
                raise WorkerError(f"{name}: hasn't answered for {REPLIES} seconds; end it, or start it again.")
            if isinstance(answer, BaseException):
                raise WorkerError(
                    f"{name}: can't use trackertraincode {__version__} ({answer}); install there what is here."
                )
            check_versions(name, answer, versions())

    def _submit(self, client: "Client", task: Callable[[Item], Result], item: Item) -> Future[Result]:
        """What a worker makes of the item, fetched as soon as it is there.

        `client.get_executor` looks at its future once more after that: where the worker has gone meanwhile, it takes the
        result for an exception.
        """
        import asyncio  # here, since help is quick without it

        async def fetched() -> Result:
            result: Result = await remote
            return result

        try:
            remote = client.submit(task, item, pure=False)
            return asyncio.run_coroutine_threadsafe(fetched(), client.loop.asyncio_loop)  # type: ignore[union-attr]
        except Exception:
            if client.status != "closed":
                raise
            raise self._lost() from None

    def _result(self, client: "Client", future: Future[Result]) -> Result:
        from distributed.comm import CommClosedError
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
            except (CancelledError, CommClosedError):
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
        return len(self._ask(client, client.nthreads))

    def _ask(self, client: "Client", question: Callable[[], Awaitable[Result]]) -> Result:
        """What the scheduler answers. Raises WorkerError where it doesn't."""

        async def ask() -> Result:
            return await question()

        try:
            return client.sync(ask, callback_timeout=REPLIES)
        except Exception:  # one of several that say that there is no answer
            raise self._lost() from None

    def _lost(self) -> WorkerError:
        return WorkerError(f"--scheduler {self.scheduler}: doesn't answer any more; start it{AGAIN}.")


async def _all_of(questions: Iterable[Callable[[], Awaitable[Any]]]) -> list[Any]:
    """What is answered, or the exceptions instead; TimeoutError where nothing is."""
    import asyncio  # here, since help is quick without it

    waited = (asyncio.wait_for(question(), REPLIES) for question in questions)
    return await asyncio.gather(*waited, return_exceptions=True)


async def _probed(client: "Client", worker: str | None) -> Any:
    """What a worker, or None for the scheduler, answers to the probe, or the exception instead."""
    if worker is None:
        return await client.run_on_scheduler(eval, _PROBE)
    return (await client.run(eval, _PROBE, workers=[worker], on_error="return"))[worker]


def now_and_then(function: Callable[[], Result]) -> Callable[[], Result]:
    """The function, called again only when its last result is older than a second."""
    last: list[tuple[float, Result]] = []

    def get() -> Result:
        if not last or monotonic() > last[-1][0] + 1.0:
            last[:] = [(monotonic(), function())]
        return last[-1][1]

    return get


def _address(scheduler: str) -> str:
    """Of a scheduler, or of the file that it wrote. Raises ConfigError."""
    path = Path(scheduler)
    if "://" in scheduler:
        return scheduler
    try:
        if not path.is_file():
            raise FileNotFoundError
        return str(json.loads(path.read_bytes())["address"])
    except FileNotFoundError:  # or a device or a pipe, which may have no end
        raise ConfigError(
            f"--scheduler {scheduler}: expected an address such as tcp://HOST:8786, or the file that `dask scheduler "
            "--scheduler-file` writes."
        ) from None
    except (OSError, ValueError, KeyError, TypeError):
        raise ConfigError(f"--scheduler {scheduler}: isn't a file of `dask scheduler --scheduler-file`.") from None


def _check_scheduler(scheduler: str, address: str) -> None:
    """Raises WorkerError when no scheduler of this version answers."""
    import asyncio

    from distributed import Security
    from distributed.core import rpc

    async def ask() -> Any:
        encryption = Security().get_connection_args("client")
        async with rpc(address, timeout=ANSWERS, connection_args=encryption) as other:
            return (await other.identity())["type"], (await other.versions())["packages"]

    try:
        kind, there = asyncio.run(asyncio.wait_for(ask(), ANSWERS))
    except Exception as error:
        raise _no_scheduler(scheduler, error) from None
    if kind != "Scheduler":
        raise _no_scheduler(scheduler, f"but a {kind}")
    for name in ("dask", "distributed"):
        if there.get(name) != version_of(name):
            raise WorkerError(
                f"--scheduler {scheduler}: runs {name} {there.get(name)}, here is {version_of(name)}; install the same there."
            )


def _no_scheduler(scheduler: str, error: object) -> WorkerError:
    reason = (str(error).splitlines() or ["no answer"])[0]
    return WorkerError(
        f"--scheduler {scheduler}: no dask scheduler answers there ({reason}); check the address, and start one with "
        "`dask scheduler`."
    )
