"""Runs with `--consistency`: faces have two views, whose disagreement is recorded."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    "options", [{}, {"augmentation": "kornia"}, {"cache": "device"}, {"precision": "bf16"}], ids=str
)
def test_disagreement_is_trained_wherever_batches_come_from(run: Callable[..., Path], options: dict) -> None:
    folder = run(consistency=1.0, epochs=4, **options)
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert 0 < float(rows[-1]["train/consistency"]) < 1
    assert "val/consistency" not in rows[-1]


def test_without_the_option_there_is_no_second_view(run: Callable[..., Path]) -> None:
    assert "consistency" not in (run(epochs=1) / "metrics.csv").read_text()
