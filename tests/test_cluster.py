"""Work by the workers of a dask scheduler: the same results, and one line for what can go wrong."""

import asyncio
import errno
import logging
import os
import re
import shutil
import socket
import subprocess
import warnings
from collections.abc import Callable, Coroutine, Iterator
from operator import neg
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch

pytest.importorskip("distributed")
import dask
from distributed import Client, LocalCluster
from distributed.core import Status
from distributed.scheduler import KilledWorker, WorkerState
from distributed.security import Security

from conftest import run_script, write_samples
from trackertraincode.augmentation.cache_files import build
from trackertraincode.augmentation.crop_cache import Kept
from trackertraincode.augmentation.presets import AugmentationOptions
from trackertraincode.cli import describe
from trackertraincode.cluster import client, worker
from trackertraincode.cluster.client import Cluster
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.errors import UserError, WorkerError
from trackertraincode.evaluation.crops import BATCH, iter_crops
from trackertraincode.evaluation.framing import SQUARE
from trackertraincode.localizer.scenes import SCENES_PER_TASK, write_scenes
from trackertraincode.sample.sample import Sample
from trackertraincode.workers import Workers, map_in_order


def start(folder: Path, **changes: Any) -> LocalCluster:
    """A scheduler with two workers, all in this process, of whose memory they don't decide. folder: for their files."""
    options: dict[str, Any] = {"n_workers": 2, "threads_per_worker": 1, "processes": False, "memory_limit": 0}
    options |= {"protocol": "tcp", "host": "127.0.0.1", "local_directory": str(folder)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a machine that is slow at the moment
        return LocalCluster(**(options | changes), dashboard_address="127.0.0.1:0")


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a scheduler."""
    with start(tmp_path_factory.mktemp("workers")) as local:
        yield local.scheduler_address


@pytest.fixture(autouse=True)
def a_busy_machine_may_take_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANSWERS", "COMES", "REPLIES"):
        monkeypatch.setattr(client, name, 300)


def test_conversion_by_a_scheduler_gives_the_same_bytes(scheduler: str, tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    run_script("make_synthetic_data.py", archive, "-n", 48, "--size", 64, "--format", "aflw2k", "--workers", 0)
    run_script("dsprocess_aflw2k.py", archive, tmp_path / "local.h5", "--workers", 0)
    run_script("dsprocess_aflw2k.py", archive, tmp_path / "remote.h5", "--scheduler", scheduler)
    assert (tmp_path / "remote.h5").read_bytes() == (tmp_path / "local.h5").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "local.h5", "remote.h5"]


def test_rendering_by_a_scheduler_gives_the_same_bytes(scheduler: str, tmp_path: Path) -> None:
    for name, who in (("a", ("--workers", 0)), ("b", ("--scheduler", scheduler))):
        run_script("make_synthetic_data.py", tmp_path / f"{name}.h5", "-n", 20, "--size", 48, *who)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_crops_to_evaluate_are_cut_by_a_scheduler(
    scheduler: str, tmp_path: Path, make_sample: Callable[..., Sample]
) -> None:
    write_samples(tmp_path / "a.h5", (make_sample(seed) for seed in range(BATCH + 6)))
    dataset = Hdf5PoseDataset(tmp_path / "a.h5")
    rows = np.arange(len(dataset))[::-1]
    rectangles = SQUARE.rectangles(torch.from_numpy(dataset.labels["face_box"][rows]), 1.1)
    one, other = (
        iter_crops(dataset.path, rows, rectangles, SQUARE, size=33, channels=1, workers=workers)
        for workers in (0, Cluster(scheduler))
    )
    pairs = list(zip(one, other, strict=True))
    assert len(pairs) == 2
    assert all(torch.equal(one, other) for one, other in pairs)


def test_checks_by_a_scheduler_say_the_same(scheduler: str, tmp_path: Path, make_sample: Callable[..., Sample]) -> None:
    turns = [np.array([0, 0, 0, 1 + (seed == 68)], np.float32) for seed in range(70)]
    write_samples(tmp_path / "a.h5", (make_sample(seed % 40, rotation=turn) for seed, turn in enumerate(turns)))
    said = [
        run_script("dscheck.py", tmp_path / "a.h5", *who, expect=1)
        for who in (("--workers", 0), ("--workers", 1), ("--scheduler", scheduler))
    ]
    assert "row 68: quats: norm 2" in said[0]
    assert "30 rows repeat the image of an earlier row" in said[0]
    lines = [[line for line in text.splitlines() if "a.h5: " in line and "samples" not in line] for text in said]
    assert lines[0] == lines[1] == lines[2]


def test_scenes_and_kept_crops_by_a_scheduler_have_the_same_bytes(
    scheduler: str, tmp_path: Path, make_sample: Callable[..., Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of a data set that is named by a relative path."""
    monkeypatch.chdir(tmp_path)
    kept = Kept.of(AugmentationOptions().training_preset(size=65), "small")
    workers: Workers
    for name, workers in (("a", 0), ("b", Cluster(scheduler))):
        write_scenes(tmp_path / f"{name}.h5", SCENES_PER_TASK + 2, 7, workers)
        build(Path("a.h5"), kept, tmp_path / f"{name}.crops", {}, workers)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    assert (tmp_path / "a.crops").read_bytes() == (tmp_path / "b.crops").read_bytes()
    assert (tmp_path / "a.crops").stat().st_size > 10_000


def test_results_come_in_the_order_of_the_items(scheduler: str, tmp_path: Path) -> None:
    assert list(map_in_order(neg, range(30), Cluster(scheduler))) == list(range(0, -30, -1))
    (tmp_path / "s.json").write_text(f'{{"address": "{scheduler}"}}')
    assert list(map_in_order(neg, [1], Cluster(str(tmp_path / "s.json")))) == [-1]


def test_a_result_counts_also_when_its_worker_goes_as_it_arrives(
    scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gather = Client._gather

    async def gathered_and_lost(self: Client, futures: list[Any], *words: Any, **named: Any) -> Any:
        results = await gather(self, futures, *words, **named)
        for future in futures:
            future._state.lose()
        return results

    monkeypatch.setattr(Client, "_gather", gathered_and_lost)
    assert list(map_in_order(neg, range(8), Cluster(scheduler))) == list(range(0, -8, -1))


def use(address: str, *sees: Path, items: Any = (1,)) -> str:
    """The line with which it ends."""
    with pytest.raises((UserError, OSError)) as raised:
        list(map_in_order(neg, items, Cluster(address, sees)))
    return describe(raised.value)[1]


def test_an_address_where_no_scheduler_answers_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "ANSWERS", 0.3)
    assert "tcp://127.0.0.1:1: no dask scheduler answers there" in use("tcp://127.0.0.1:1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert "no dask scheduler answers there" in use(f"tcp://127.0.0.1:{silent.getsockname()[1]}")
    assert "expected an address such as tcp://HOST:8786, or the file" in use("nonsense")
    assert "expected an address such as tcp://HOST:8786, or the file" in use(os.devnull)  # as others without an end
    (tmp_path / "letter.txt").write_text("dear")
    assert "isn't a file of `dask scheduler --scheduler-file`" in use(str(tmp_path / "letter.txt"))


@pytest.mark.parametrize("who", ["scheduler", "worker"])
@pytest.mark.parametrize(
    ("probe", "line"),
    [
        ("__import__('no_such_package')", r": can't use trackertraincode .*No module named 'no_such_package'"),
        (
            "(('Python', '2.7'),)",
            r": has Python 2\.7, this program 3\.\d+\.\d+; install the same there",
        ),
    ],
)
def test_who_lacks_the_package_or_has_other_versions_is_named(
    scheduler: str, who: str, probe: str, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Schedulers unpickle tasks, too."""
    here = (("Python", worker.platform.python_version()),)
    ask = client._probed

    async def probed(asked: Client, name: str | None) -> Any:
        monkeypatch.setattr(client, "_PROBE", probe if (who == "worker") == (name is not None) else repr(here))
        return await ask(asked, name)

    monkeypatch.setattr(client, "_probed", probed)
    monkeypatch.setattr(client, "versions", lambda: here)
    with pytest.raises(WorkerError, match=rf"{who} tcp://127\.0\.0\.1:\d+{line}"):
        list(map_in_order(neg, [1], Cluster(scheduler)))


def test_a_worker_that_began_before_the_package_was_changed_is_another_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "PACKAGE", tmp_path)
    found = []
    for text in ("a = 1", "a = 2"):
        (tmp_path / "a.py").write_text(text)
        monkeypatch.setattr(worker, "_SOURCE", [])
        found.append(worker.versions())
        (tmp_path / "a.py").write_text("a = 3")
        assert worker.versions() == found[-1]  # what this process may have imported by then
    with pytest.raises(
        WorkerError, match=r"has trackertraincode 1\S+\+\w{8}, this program 1\S+\+\w{8}; install the same"
    ):
        worker.check_versions("worker", *found)


def test_a_file_that_a_worker_does_not_see_is_named(
    scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "APPEARS", 0)
    monkeypatch.setattr(worker, "NEW_APPEARS", 0)

    def after(action: Any) -> Iterator[int]:
        """What this process sees is known when the first item is asked for."""
        action()
        yield 1

    archive = tmp_path / "a.zip"
    archive.write_bytes(b"1")
    other = use(scheduler, archive, items=after(lambda: archive.write_bytes(b"another")))
    assert f"{archive} isn't the file that is here; workers must see the same files" in other
    assert f"{archive} isn't there" in use(scheduler, archive, items=after(archive.unlink))


def fail(error: OSError) -> None:
    raise error


FULL = errno.ENOSPC, os.strerror(errno.ENOSPC)


@pytest.mark.parametrize(
    ("error", "file", "what"),
    [
        (OSError(*FULL, "/scratch/7"), "/scratch/7", "the disk is full; free some space"),
        (OSError(*FULL), "a file", "the disk is full; free some space"),
        (OSError("Can't write data (No space left on device)"), "a file", "the disk is full; free some space"),
        (PermissionError(errno.EACCES, "x", "/home/you"), "/home/you", "not permitted to read or write here"),
    ],
    ids=str,
)
def test_a_disk_that_fails_is_named_with_its_worker(scheduler: str, error: OSError, file: str, what: str) -> None:
    with pytest.raises(OSError, match="on worker") as raised:
        list(map_in_order(fail, [error], Cluster(scheduler)))
    line = rf"error: {file} on worker tcp://127\.0\.0\.1:\d+ on {re.escape(socket.gethostname())}: {what}"
    assert re.match(line, describe(raised.value)[1])


def die(number: int) -> None:
    raise KilledWorker("task", WorkerState(address=f"tcp://10.0.0.1:{number}", **STATE), 3)


STATE: dict[str, Any] = {"status": Status.running, "pid": 1, "name": "w", "memory_limit": 1, "local_directory": "",
                         "nanny": "", "server_id": "x", "scheduler": None}  # fmt: skip


def test_workers_that_die_at_one_task_are_one_line(scheduler: str) -> None:
    with pytest.raises(WorkerError, match=r"died 4 times at the same task, the last at tcp://10\.0\.0\.1:7.* --resume"):
        list(map_in_order(die, [7], Cluster(scheduler)))


def test_a_worker_that_does_not_answer_is_named(scheduler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connection stands, as that of a process that is stopped does."""
    ask = client._probed

    async def silence() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            monkeypatch.setattr(client, "REPLIES", 300)

    def probed(asked: Client, name: str | None) -> Coroutine[Any, Any, Any]:
        if name is None:
            return ask(asked, name)
        monkeypatch.setattr(client, "REPLIES", 0.1)  # for this question only
        return silence()

    monkeypatch.setattr(client, "_probed", probed)
    assert re.search(r"worker tcp://127\.0\.0\.1:\d+: hasn't answered for 300 seconds; end it", use(scheduler))


def test_the_address_of_a_worker_is_not_that_of_a_scheduler(scheduler: str) -> None:
    with Client(scheduler, set_as_default=False) as asked:
        address = next(iter(asked.nthreads()))
    assert f"{address}: no dask scheduler answers there (but a Worker)" in use(address)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl")
def test_a_scheduler_with_certificates(tmp_path: Path) -> None:
    """As dask's own configuration says; others aren't let in."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    command = ["openssl", *words.split(), "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    tls = "distributed.comm.tls."
    files = {f"{tls}{role}.{name}": str(file) for role in ("client", "scheduler", "worker")
             for name, file in (("cert", certificate), ("key", key))}  # fmt: skip
    with (
        dask.config.set({tls + "ca-file": str(certificate), **files}),
        start(tmp_path, protocol="tls", security=Security()) as local,
    ):
        assert local.scheduler_address.startswith("tls://")
        assert list(map_in_order(neg, [1], Cluster(local.scheduler_address))) == [-1]
        with dask.config.set({f"{tls}ca-file": None, f"{tls}client.cert": None, f"{tls}client.key": None}):
            assert "TLS configuration" in use(local.scheduler_address)


def test_a_scheduler_that_is_lost_is_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    reconnect = Client._reconnect

    async def soon_given_up(self: Client) -> None:
        with patch.object(self, "_timeout", 0.1):
            await reconnect(self)

    monkeypatch.setattr(Client, "_reconnect", soon_given_up)
    local = start(tmp_path)

    def items() -> Iterator[int]:
        yield from range(10)
        local.close()
        yield 10

    assert "doesn't answer any more; start it; the same command with --resume" in use(
        local.scheduler_address, items=items()
    )
    assert caplog.records == []
    for name in ("distributed.client", "tornado.application", "asyncio"):  # tracebacks of answers that don't come
        assert not logging.getLogger(name).isEnabledFor(logging.ERROR)


def test_without_workers_nothing_is_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(client, "COMES", 0.1)
    with start(tmp_path, n_workers=0) as local:
        assert "has no workers; start some with `dask worker" in use(local.scheduler_address)
