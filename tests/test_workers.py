"""Worker processes, of all who start some."""

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


def test_the_number_of_workers_is_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUM_WORKERS", "3")
    assert default_workers() == 3
    monkeypatch.setenv("NUM_WORKERS", "many")
    with pytest.raises(ConfigError, match="NUM_WORKERS='many'"):
        default_workers()
