"""How often a run validates and writes checkpoints."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from trackertraincode.errors import ConfigError
from trackertraincode.training import data as data_module
from trackertraincode.training import pace as pace_module
from trackertraincode.training.callbacks.checkpoints import RunCheckpoints
from trackertraincode.training.callbacks.records import read_metrics
from trackertraincode.training.config import TrainConfig
from trackertraincode.training.data import Remembered
from trackertraincode.training.outdir import RESUME_FILE
from trackertraincode.training.pace import Pace, validation_pace


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(pace_module, "time", clock)
    return clock


def epochs(pace: Pace, clock: Clock, count: int, *, epoch: float, work: float = 0.0) -> list[int]:
    """Those of `count` in which something is due; seconds of each epoch, and of the work where it is due."""
    found = []
    for number in range(count):
        clock.now += epoch
        trainer: Any = SimpleNamespace(current_epoch=number, max_epochs=count, world_size=1)
        if pace.due(trainer):
            clock.now += work
            pace.done(work)
            found.append(number + 1)
    return found


def test_every_so_many_epochs_and_at_the_last_one(clock: Clock) -> None:
    assert epochs(Pace("3", 0.02), clock, 10, epoch=1.0) == [3, 6, 9, 10]


def test_every_so_many_minutes_and_at_the_last_epoch(clock: Clock) -> None:
    assert epochs(Pace("1.5m", 0.02), clock, 10, epoch=40.0) == [3, 6, 9, 10]


@pytest.mark.parametrize(("epoch", "work"), [(0.4, 0.5), (0.4, 2.0), (3.0, 1.0)])
def test_auto_keeps_its_share_of_the_time(clock: Clock, epoch: float, work: float) -> None:
    due = epochs(Pace("auto", 0.02), clock, 2000, epoch=epoch, work=work)
    assert 0.015 < work * (len(due) - 2) / clock.now <= 0.02  # the first and the last come on top
    assert due[-1] == 2000


def test_auto_costs_long_epochs_nothing(clock: Clock) -> None:
    assert epochs(Pace("auto", 0.02), clock, 4, epoch=60.0, work=1.0) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("rows", "samples", "expected"), [(0, 10240, "1"), (512, 10240, "1"), (2400, 10240, "2"), (2400, 256, "63")]
)
def test_validation_takes_a_twentieth_on_any_machine(rows: int, samples: int, expected: str) -> None:
    assert validation_pace("auto", rows, samples) == expected
    assert validation_pace("7", rows, samples) == "7"


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "m", "5 m", "often", ""])
@pytest.mark.parametrize("key", ["validate_every", "save_every"])
def test_what_is_no_pace_is_one_line(key: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"{key}={value!r}: give a number of epochs, such as 10, or of minutes"):
        TrainConfig.of(**{key: value})


def test_a_run_validates_and_saves_at_its_pace(run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    saved = []
    save = RunCheckpoints.on_train_epoch_end

    def note(self: RunCheckpoints, trainer: Any, module: Any) -> None:
        before = (self.outdir / RESUME_FILE).stat().st_mtime_ns if (self.outdir / RESUME_FILE).is_file() else 0
        save(self, trainer, module)
        if (self.outdir / RESUME_FILE).is_file() and (self.outdir / RESUME_FILE).stat().st_mtime_ns > before:
            saved.append(trainer.current_epoch + 1)

    monkeypatch.setattr(RunCheckpoints, "on_train_epoch_end", note)
    out = run(epochs=5, validate_every="2", save_every="3")
    rows = read_metrics(out / "metrics.csv")
    assert [int(row["epoch"]) for row in rows if "val/loss" in row] == [2, 4, 5]
    assert all(row["samples_per_s"] > 0 for row in rows)
    assert saved == [3, 5]


class Loader:
    def __init__(self, batches: list[Any]) -> None:
        self.batches, self.used = batches, 0

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:
        self.used += 1
        yield from self.batches


def test_validation_batches_are_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loader = Loader([object(), object()])
    batches = Remembered(loader)  # type: ignore[arg-type]
    assert list(batches) == list(batches) == list(batches) == loader.batches
    assert (len(batches), loader.used) == (2, 1)


def test_validation_batches_that_were_not_all_read_are_made_again() -> None:
    loader = Loader([object(), object()])
    batches = Remembered(loader)  # type: ignore[arg-type]
    next(iter(batches))
    assert list(batches) == loader.batches
    assert loader.used == 2


def test_validation_batches_that_do_not_fit_are_made_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_module, "REMEMBERED", -1)
    loader = Loader([object(), object()])
    batches = Remembered(loader)  # type: ignore[arg-type]
    assert list(batches) == list(batches) == loader.batches
    assert loader.used == 2
