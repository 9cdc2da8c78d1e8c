"""Worker processes, of all who start some."""

import platform
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from trackertraincode.cli import default_workers, start_worker
from trackertraincode.errors import ConfigError


def _threads() -> list[int]:
    np.ones((64, 64)) @ np.ones((64, 64))
    return [torch.get_num_threads(), *(pool["num_threads"] for pool in threadpool_info())]


def test_a_worker_has_one_thread() -> None:
    with threadpool_limits(2), ProcessPoolExecutor(1, initializer=start_worker) as pool:
        assert set(pool.submit(_threads).result()) == {1}


def _new_pages(rounds: int) -> int:
    """How many pages the system handed out while large arrays came and went, after the first time."""
    import resource

    def churn() -> None:
        for edge in (1000, 2000, 4000):
            np.ones(edge * edge)

    churn()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(rounds):
        churn()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator can be told")
def test_a_worker_uses_freed_memory_again() -> None:
    with ProcessPoolExecutor(1, initializer=start_worker) as pool:
        assert pool.submit(_new_pages, 10).result() < 1000  # 128 MB have 31,250


def test_the_number_of_workers_is_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUM_WORKERS", "3")
    assert default_workers() == 3
    monkeypatch.setenv("NUM_WORKERS", "many")
    with pytest.raises(ConfigError, match="NUM_WORKERS='many'"):
        default_workers()
