"""Schedulers that can't be asked for, without one."""

import re
from dataclasses import replace
from operator import neg
from pathlib import Path

import pytest

from trackertraincode.cluster import client, worker
from trackertraincode.cluster.client import Cluster
from trackertraincode.errors import ConfigError
from trackertraincode.localizer.options import LocalizerRun
from trackertraincode.parts import how_to_install
from trackertraincode.training.data import DataOptions
from trackertraincode.workers import map_in_order


def test_times_of_one_file_may_differ_by_the_units_of_file_systems(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    archive.write_bytes(b"1")
    here = worker.Stamp.of(archive)
    assert here.is_like(replace(here, time=float(int(here.time))))
    assert not here.is_like(replace(here, time=here.time + 60))


def test_a_scheduler_that_would_have_nothing_to_do_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"scheduler=tcp://x:1: its workers keep crops; add --cache disk, ram or device"
    ):
        DataOptions(scheduler="tcp://x:1")
    with pytest.raises(ConfigError, match=r"its workers render scenes, which data=a\.h5 replaces"):
        LocalizerRun(outdir=tmp_path, data=Path("a.h5"), scheduler="tcp://x:1")


def test_the_extra_is_named_where_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(client.sys.modules, "distributed", None)
    with pytest.raises(ConfigError, match=rf"needs dask\.distributed: {re.escape(how_to_install('cluster'))}\."):
        list(map_in_order(neg, [1], Cluster("tcp://127.0.0.1:1")))
