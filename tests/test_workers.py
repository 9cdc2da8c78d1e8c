"""Worker processes, of all who start some."""

import itertools
import os
import platform
import signal
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from conftest import PROJECT
from trackertraincode import workers
from trackertraincode.errors import ConfigError, WorkerError
from trackertraincode.workers import (
    default_workers,
    map_in_order,
    products_in_one_thread,
    run_program,
    start_worker,
    use_one_thread,
)


def _threads() -> list[int]:
    np.ones((64, 64)) @ np.ones((64, 64))
    return [torch.get_num_threads(), *(pool["num_threads"] for pool in threadpool_info())]


def test_a_worker_has_one_thread() -> None:
    """Also where it is forked from a process that had one, as the caller's own program may be."""
    use_one_thread()
    with threadpool_limits(2), ProcessPoolExecutor(1, initializer=start_worker) as pool:
        assert set(pool.submit(_threads).result()) == {1}


def test_products_are_in_one_thread_for_a_while() -> None:
    def of_products() -> set[int]:
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    with threadpool_limits(2, "blas"):
        with products_in_one_thread():
            assert of_products() == {1}
        assert of_products() == {2}


def _new_pages(rounds: int) -> int:
    """How many pages the system handed out while large arrays came and went, after the first time; in the round with the
    fewest, since other things of the process touch some, too."""
    import resource

    def churn() -> None:
        for edge in (1000, 2000, 4000):
            np.ones(edge * edge)

    churn()
    counts = [resource.getrusage(resource.RUSAGE_SELF).ru_minflt]
    for _ in range(rounds):
        churn()
        counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
    return min(after - before for before, after in itertools.pairwise(counts))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator can be told")
def test_a_worker_uses_freed_memory_again() -> None:
    with ProcessPoolExecutor(1, initializer=start_worker) as pool:
        assert pool.submit(_new_pages, 10).result() < 100  # 128 MB have 31,250


def _die(number: int) -> int:
    if number == 5:
        os._exit(1)
    return number


@pytest.mark.parametrize("workers", [0, 2])
def test_results_come_in_the_order_of_the_items(workers: int) -> None:
    assert list(map_in_order(abs, range(0, -50, -1), workers)) == list(range(50))


def test_windows_has_at_most_61_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    class Pool(ThreadPoolExecutor):
        def __init__(self, count: int, **_: object) -> None:
            asked.append(count)
            super().__init__(1)

    monkeypatch.setattr(workers, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(workers.sys, "platform", "win32")
    assert list(map_in_order(abs, [-1, -2], 100)) == [1, 2]
    assert asked == [61]


def test_a_worker_that_dies_is_named() -> None:
    with pytest.raises(WorkerError, match="a worker process died"):
        list(map_in_order(_die, range(20), 2))


def test_the_number_of_workers_is_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUM_WORKERS", "3")
    assert default_workers() == 3
    for text in ("many", "\u00b2"):
        monkeypatch.setenv("NUM_WORKERS", text)
        with pytest.raises(ConfigError, match=f"NUM_WORKERS='{text}'"):
            default_workers()


def test_processes_of_one_machine_share_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NUM_WORKERS", raising=False)
    monkeypatch.setattr(workers, "usable_cores", lambda: 12)
    assert [default_workers(processes) for processes in (1, 2, 4, 40)] == [8, 6, 3, 1]


WITH_WORKERS = """
import os, time
from multiprocessing.util import get_temp_dir
from torch.utils.data import DataLoader
from trackertraincode.workers import map_in_order, start_worker

def work(number):
    get_temp_dir()  # as sockets do through which tensors are sent
    os.write(1, b"begun\\n")  # whole, whoever else writes
    time.sleep(600)

class Slow:
    def __len__(self):
        return 4
    __getitem__ = staticmethod(work)

if __name__ == "__main__":
    {start}
"""
POOL = "list(map_in_order(work, range(4), 2))"
LOADER = "list(DataLoader(Slow(), num_workers=2, worker_init_fn=start_worker))"


@pytest.mark.skipif(sys.platform == "win32", reason="kills by a signal")
@pytest.mark.parametrize("start", [POOL, LOADER])
def test_workers_end_when_their_parent_is_killed(start: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(WITH_WORKERS.format(start=start))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    program = subprocess.Popen(
        [sys.executable, str(tmp_path / "program.py")],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(PROJECT), "TMPDIR": str(scratch)},
    )
    assert program.stdout is not None
    assert [program.stdout.readline() for _ in range(2)] == [b"begun\n"] * 2
    program.kill()
    program.communicate(timeout=300)  # ends when nobody has this pipe any more
    assert list(scratch.iterdir()) == []


def _ask_another_to_end(process: int) -> None:
    subprocess.run(["kill", "-TERM", str(process)], check=True)


@pytest.mark.skipif(not hasattr(signal, "sigwaitinfo"), reason="can't tell who sent a signal")
def test_sigterm_to_all_processes_is_the_parents_business() -> None:
    """As SLURM sends it: a training saves its weights first, for which it ends its step."""
    with ProcessPoolExecutor(1, initializer=start_worker) as pool:
        worker = pool.submit(os.getpid).result()
        _ask_another_to_end(worker)
        while pool.submit(signal.sigpending).result():  # of two that wait, one would be lost
            pass
        os.kill(worker, signal.SIGTERM)
        with pytest.raises(BrokenProcessPool):
            pool.submit(signal.pause).result()


@pytest.mark.skipif(not hasattr(signal, "sigwaitinfo"), reason="can't tell who sent a signal")
def test_a_worker_whose_parents_sigterm_was_lost_behind_another_one_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux keeps one of several that wait."""
    monkeypatch.setattr(workers, "FOR_THE_PARENT", 0.0)
    here, there = get_context("fork").Pipe()

    def begin() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        there.send("blocked")
        there.recv()
        start_worker()
        signal.pause()

    worker = get_context("fork").Process(target=begin)
    worker.start()
    assert here.recv() == "blocked"
    _ask_another_to_end(worker.pid or 0)
    worker.terminate()
    here.send("both wait")
    worker.join(300)
    ended = worker.exitcode
    worker.kill()
    assert ended == 0


def _wait_for_the_end(_item: int) -> None:
    _ask_another_to_end(os.getpid())
    signal.pause()


@pytest.mark.skipif(not hasattr(signal, "sigwaitinfo"), reason="can't tell who sent a signal")
def test_a_worker_that_others_end_is_missed_by_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "FOR_THE_PARENT", 0.0)
    with pytest.raises(WorkerError, match="a worker process died"):
        list(map_in_order(_wait_for_the_end, range(2), 1))


@pytest.mark.skipif(not hasattr(signal, "sigwaitinfo"), reason="can't tell who sent a signal")
def test_workers_whom_their_parent_ends_leave_no_folder_of_sockets(tmp_path: Path) -> None:
    """As workers that a training keeps from epoch to epoch are ended."""
    code = (
        "import os, time; from multiprocessing import get_context; from multiprocessing.util import get_temp_dir\n"
        "from trackertraincode.workers import start_worker\n"
        "def begin():\n    start_worker(); get_temp_dir(); os.write(there, b'begun'); time.sleep(600)\n"
        "here, there = os.pipe(); worker = get_context('fork').Process(target=begin); worker.start()\n"
        "os.read(here, 5)\n"
        "worker.terminate(); worker.join()"
    )
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=300)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, *([signal.SIGKILL] if hasattr(signal, "SIGKILL") else [])])
def test_a_program_ends_with_the_one_that_runs_it(number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "waiting.py").write_text(
        "import threading\n"
        "from trackertraincode.workers import end_with_parent\n"
        "end_with_parent()\n"
        "print('begun', flush=True)\n"
        "threading.Event().wait()\n"
    )
    found = os.pathsep.join([str(PROJECT), str(tmp_path)])
    code = "import os; from trackertraincode.workers import run_program; run_program(['waiting'], os.environ)"
    with subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": found}, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "begun\n"
        parent.send_signal(number)
        assert parent.communicate(timeout=300)[0] == ""  # which is the program's, too


def test_a_program_runs_no_file_that_lies_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as one beside a downloaded model that is checked."""
    (tmp_path / "platform.py").write_text("raise SystemExit(7)")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "of_the_user.py").touch()
    monkeypatch.chdir(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "more")}
    assert run_program(["platform"], environment, captured=True)[0] == 0
    assert run_program(["of_the_user"], environment, captured=True)[0] == 0, "what PYTHONPATH names is found"


def test_a_program_that_is_run_knows_its_end() -> None:
    code, said = run_program(["platform"], os.environ, captured=True)
    assert (code, bool(said)) == (0, True)
    assert run_program(["no_such_module"], os.environ, captured=True)[0] == 1
    with pytest.raises(subprocess.TimeoutExpired):
        run_program(["http.server", "--bind", "127.0.0.1", "0"], os.environ, captured=True, limit=0.1)
