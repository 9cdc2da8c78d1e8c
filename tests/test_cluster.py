"""Work by the workers of a dask scheduler: the same results, and one line for what can go wrong."""

import errno
import os
import socket
from collections.abc import Callable, Iterator
from operator import neg
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("distributed")
from distributed import LocalCluster

from conftest import run_script
from trackertraincode import cluster
from trackertraincode.cli import describe
from trackertraincode.cluster import Cluster
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset, PoseWriter
from trackertraincode.errors import ConfigError, UserError, WorkerError
from trackertraincode.evaluation.crops import BATCH, EvaluationCrops, iter_crops
from trackertraincode.evaluation.framing import SQUARE
from trackertraincode.sample.sample import Sample
from trackertraincode.workers import map_in_order


def start() -> LocalCluster:
    return LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=False,
        protocol="tcp",
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
    )


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """Address of a scheduler with two workers, all in this process."""
    with start() as local:
        yield local.scheduler_address


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
    with PoseWriter(tmp_path / "a.h5", source={}, face_model="embedded-v1") as writer:
        for seed in range(BATCH + 6):
            writer.write(make_sample(seed))
    dataset = Hdf5PoseDataset(tmp_path / "a.h5")
    rows = np.arange(len(dataset))[::-1]
    rectangles = SQUARE.rectangles(torch.from_numpy(dataset.labels["face_box"][rows]), 1.1)
    crops = EvaluationCrops(dataset, rows, rectangles, SQUARE, 33, 1)
    pairs = list(zip(iter_crops(crops, 0), iter_crops(crops, Cluster(scheduler)), strict=True))
    assert len(pairs) == 2
    assert all(torch.equal(one, other) for one, other in pairs)


def test_results_come_in_the_order_of_the_items(scheduler: str, tmp_path: Path) -> None:
    assert list(map_in_order(neg, range(30), Cluster(scheduler))) == list(range(0, -30, -1))
    (tmp_path / "s.json").write_text(f'{{"address": "{scheduler}"}}')
    assert list(map_in_order(neg, [1], Cluster(str(tmp_path / "s.json")))) == [-1]


def use(address: str, *sees: Path, items: Any = (1,)) -> str:
    """The line with which it ends."""
    with pytest.raises((UserError, OSError)) as raised:
        list(map_in_order(neg, items, Cluster(address, sees)))
    return describe(raised.value)[1]


def test_an_address_where_no_scheduler_answers_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "ANSWERS", 0.3)
    assert "tcp://127.0.0.1:1: no dask scheduler answers there" in use("tcp://127.0.0.1:1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert "no dask scheduler answers there" in use(f"tcp://127.0.0.1:{silent.getsockname()[1]}")
    assert "expected an address such as tcp://HOST:8786, or the file" in use("nonsense")
    (tmp_path / "letter.txt").write_text("dear")
    assert "isn't a file of `dask scheduler --scheduler-file`" in use(str(tmp_path / "letter.txt"))


@pytest.mark.parametrize(
    ("found", "line"),
    [
        ("__import__('no_such_package')", r": can't use trackertraincode .*No module named 'no_such_package'"),
        ("(('Python', '2.7'),)", r": has Python 2\.7, this program 3\.\d+\.\d+; install the same versions there\."),
    ],
)
def test_workers_without_the_package_or_of_other_versions_are_named(
    scheduler: str, found: str, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_PROBE", found)
    monkeypatch.setattr(cluster, "_versions", lambda: (("Python", cluster.platform.python_version()),))
    with pytest.raises(WorkerError, match=r"worker tcp://127\.0\.0\.1:\d+" + line):
        list(map_in_order(neg, [1], Cluster(scheduler)))


def test_a_file_that_a_worker_does_not_see_is_named(
    scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "APPEARS", 0)

    def after(action: Any) -> Iterator[int]:
        """What this process sees is known when the first item is asked for."""
        action()
        yield 1

    archive = tmp_path / "a.zip"
    archive.write_bytes(b"1")
    other = use(scheduler, archive, items=after(lambda: archive.write_bytes(b"another")))
    assert f"{archive} is another file there; workers must see the same files" in other
    assert f"{archive} isn't there" in use(scheduler, archive, items=after(archive.unlink))


def fill(number: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), f"/scratch/{number}")


def test_a_full_disk_of_a_worker_is_one_line(scheduler: str) -> None:
    with pytest.raises(OSError, match="No space") as raised:
        list(map_in_order(fill, [7], Cluster(scheduler)))
    assert describe(raised.value)[1].startswith("error: /scratch/7: the disk is full")


def test_a_scheduler_that_is_lost_is_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cluster, "ANSWERS", 2)
    local = start()

    def items() -> Iterator[int]:
        yield from range(10)
        local.close()
        yield 10

    assert "doesn't answer any more; start it; the same command with --resume" in use(
        local.scheduler_address, items=items()
    )
    assert not [record for record in caplog.records if record.name.startswith("distributed")]


def test_without_workers_nothing_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "COMES", 0.1)
    with LocalCluster(
        n_workers=0, processes=False, protocol="tcp", host="127.0.0.1", dashboard_address="127.0.0.1:0"
    ) as local:
        assert "has no workers; start some with `dask worker" in use(local.scheduler_address)


def test_the_extra_is_named_where_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cluster.sys.modules, "distributed", None)
    with pytest.raises(ConfigError, match=r"install the extra: pip install 'trackertraincode\[cluster\]'"):
        list(map_in_order(neg, [1], Cluster("tcp://127.0.0.1:1")))
