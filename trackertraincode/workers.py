"""Worker processes: how many, how they begin, and work done by them in order."""

import ctypes
import logging
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from trackertraincode.cluster.client import AHEAD, Cluster, in_order
from trackertraincode.errors import ConfigError, WorkerError
from trackertraincode.files import files_of

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

PARENT = "TRACKERTRAINCODE_PARENT"  # the process with which a program ends that `run_program` started
PATIENCE = 10.0  # seconds for which a program that is to end may clean up
# Seconds that a worker whom others told to end leaves to its parent. SLURM kills all 30 seconds after SIGTERM (KillWait).
FOR_THE_PARENT = 60.0
MOST_ON_WINDOWS = 61  # processes that a pool can wait for there
MORE_THAN_CORES = ".*suggested max number of worker.*"  # what torch warns of; it is the user's choice
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # glibc's malloc.h

Item = TypeVar("Item")
Result = TypeVar("Result")
Workers = int | Cluster  # processes of this machine, 0 for this one alone, or those of a scheduler


def default_workers(processes: int = 1) -> int:
    """NUM_WORKERS where it is set, else the number of usable cores, 8 at most, shared by `processes` that work here.

    Raises ConfigError when NUM_WORKERS isn't a whole number.
    """
    text = os.environ.get("NUM_WORKERS")
    if text is None:
        return max(1, min(8 * processes, usable_cores()) // processes)
    if not (text.isascii() and text.isdecimal()):
        raise ConfigError(f"NUM_WORKERS={text!r}: expected a whole number of worker processes, such as 2.")
    return int(text)


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def choose_workers(workers: int | None, scheduler: str | None = None, sees: Iterable[Path] = ()) -> Workers:
    """What --workers and --scheduler ask for. sees: files, patterns and folders that a scheduler's workers must see."""
    if scheduler is not None:
        return Cluster(scheduler, tuple(file for path in sees for file in files_of(path)))
    return default_workers() if workers is None else workers


def seeing(workers: Workers, path: Path) -> Workers:
    """The same workers, where those of a scheduler must see a file, or the files of a pattern."""
    return replace(workers, sees=(*workers.sees, *files_of(path))) if isinstance(workers, Cluster) else workers


def start_program() -> None:
    """Begin a program: its processes are its parallelism, so OpenCV has no threads, and torch's wait for a short time."""
    import cv2

    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # which tells users without a home where it keeps its fonts
    if "OMP_WAIT_POLICY" not in os.environ:
        # Torch's threads wait for each other by spinning, which on cores with other work made training steps a hundred
        # times slower. This shorter spin costs a tenth on an idle machine. libgomp reads it when torch is imported.
        os.environ.setdefault("GOMP_SPINCOUNT", "3000")
    cv2.setNumThreads(0)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # of damaged images, we tell in one line
    keep_freed_memory()


def keep_freed_memory() -> None:
    """Let this process use freed memory again instead of giving it back and asking for it anew.

    glibc maps each large array and unmaps it when it is freed, so that images and activations touch new pages all the
    time. On Linux with glibc only (mallopt(3), malloc.h); elsewhere nothing happens.
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)


def start_worker(_index: int = 0) -> None:
    """Begin a worker process. Signals to all processes are the parent's business; it ends with it, or at its SIGTERM."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_by_parent, args=[_socket_folder()], daemon=True).start()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    use_one_thread()


@contextmanager
def sigterm_waits() -> Iterator[None]:
    """Inside, SIGTERM waits, also in threads of processes that are forked here; `start_worker` wants that of all of them.

    Torch's loaders begin threads in their processes before `start_worker` is called. One that takes the signal ends the
    process, and the training with it, while its parent saves the weights.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def use_one_thread() -> None:
    """Let this process work with one thread, also for matrix products: the processes are the parallelism.

    Otherwise the threads of all workers wait for each other, which made conversions three times slower.
    """
    _use_one_thread(os.getpid())  # once per process, of which a forked one is another


@cache
def _use_one_thread(_process: int) -> None:
    import cv2
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    threadpool_limits(1)
    keep_freed_memory()


@contextmanager
def products_in_one_thread() -> Iterator[None]:
    """Matrix products of NumPy in this thread alone: of small ones, others would spin most of the time and after them."""
    with _blas().limit(limits=1):
        yield


@cache
def _blas() -> "ThreadpoolController":
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


def _end_by_parent(inherited: str | None) -> None:
    """End this process when its parent sends SIGTERM. SLURM sends it to all, and the parent may want to save first.

    Linux keeps one of several that wait, so the parent's is lost where another one waits: after any, the end is near.
    The exit code is 0, since torch's loaders raise an error amid what the parent does for others.
    inherited: folder of sockets of the parent, which may need it still.
    """
    told: signal.struct_siginfo | None = signal.sigwaitinfo({signal.SIGTERM})
    end = time.monotonic() + FOR_THE_PARENT
    while told is not None and told.si_pid != os.getppid():
        told = signal.sigtimedwait({signal.SIGTERM}, max(0.0, end - time.monotonic()))
    if (own := _socket_folder()) and own != inherited:
        shutil.rmtree(own, ignore_errors=True)
    os._exit(0)


def _end_with_parent() -> None:
    """End this process when its parent is gone, even killed: it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        if sockets := _socket_folder():  # which nobody else would remove
            shutil.rmtree(sockets, ignore_errors=True)
        os._exit(1)


def _socket_folder() -> str | None:
    """Where this process has sockets through which it sends tensors, if it has any; `get_temp_dir` would make a folder."""
    folder: str | None = multiprocessing.current_process()._config.get("tempdir")  # type: ignore[attr-defined]
    return folder


def map_in_order(function: Callable[[Item], Result], items: Iterable[Item], workers: Workers) -> Iterator[Result]:
    """function(item) of each item in their order, by worker processes, a few ahead; workers=0: by this process.

    Raises WorkerError when a worker process dies, and what the function raises.
    """
    if isinstance(workers, Cluster):
        yield from workers.map_in_order(partial(_with_one_thread, function), items)
        return
    if workers == 0:
        yield from map(function, items)
        return
    workers = min(workers, MOST_ON_WINDOWS) if sys.platform == "win32" else workers
    with ProcessPoolExecutor(workers, initializer=start_worker) as pool:
        try:
            yield from in_order(lambda item: pool.submit(function, item), items, lambda: AHEAD * workers)
        except BrokenProcessPool as error:
            raise WorkerError("a worker process died, perhaps for lack of memory; try fewer --workers.") from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def dead_loader(error: BaseException, more: str = "") -> WorkerError | None:
    """What a user is told where torch says that a worker of a DataLoader died; None for other errors."""
    if not isinstance(error, RuntimeError) or "DataLoader worker" not in str(error):
        return None
    return WorkerError(f"a process that loads data died, perhaps for lack of memory; try fewer --workers{more}.")


def _with_one_thread(function: Callable[[Item], Result], item: Item) -> Result:
    use_one_thread()
    return function(item)


def run_program(
    words: Sequence[object], environment: Mapping[str, str], *, captured: bool = False, limit: float | None = None
) -> tuple[int, bytes]:
    """Run `python -m WORDS`, a module of ours that calls `end_with_parent`. Returns its exit code and captured stdout.

    It finds what this process does, but nothing in the current folder, where anybody's files may lie. However this process
    ends, even killed, the program ends, too. Raises subprocess.TimeoutExpired after `limit` seconds.
    """
    alive, kept = os.pipe()  # at whose end the program sees that nobody is left
    output = subprocess.PIPE if captured else None
    command = [sys.executable, "-P", "-m", *map(str, words)]
    found = [str(Path(__file__).parents[1]), *filter(None, [environment.get("PYTHONPATH")])]
    more = {"PYTHONPATH": os.pathsep.join(found), PARENT: str(os.getpid())}
    try:
        with subprocess.Popen(
            command, env={**environment, **more}, stdin=alive, stdout=output, stderr=output
        ) as program:
            try:
                said = program.communicate(timeout=limit)[0]
            except subprocess.TimeoutExpired:
                program.kill()
                raise
            except BaseException as error:
                _end(program, told=isinstance(error, KeyboardInterrupt))
                raise
    finally:
        os.close(alive)
        os.close(kept)
    return program.returncode, said or b""


def _end(program: subprocess.Popen[bytes], *, told: bool) -> None:
    """End a program, which may clean up. told: whether it knows, as from a terminal's Ctrl-C."""
    for tell in (lambda: None, program.terminate, program.kill)[0 if told else 1 :]:
        tell()
        with suppress(subprocess.TimeoutExpired):
            program.wait(PATIENCE)
            return


def end_with_parent(end: Callable[[], None] = lambda: os.kill(os.getpid(), signal.SIGTERM)) -> None:
    """End this program, as SIGTERM does, when the one that started it by `run_program` is gone."""
    if os.environ.get(PARENT) != str(os.getppid()):
        return  # started by a user, or by a program that such a one started

    def wait() -> None:
        while os.read(0, 1024):
            pass
        end()

    threading.Thread(target=wait, daemon=True).start()
