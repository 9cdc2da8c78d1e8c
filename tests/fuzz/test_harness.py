"""The harness tells refusals from faults, and the scripts of this folder find none in a few cases."""

import importlib.util
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

from trackertraincode.errors import UserError

FOLDER = Path(__file__).parent
SCRIPTS = sorted(path.stem for path in FOLDER.glob("fuzz_*.py"))

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")


@pytest.fixture(autouse=True)
def scripts_find_the_harness(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))


def behave(path: Path) -> None:
    """Does what the file's first byte says."""
    kind = path.read_bytes()[0]
    if kind == 1:
        raise UserError("refused")
    if kind == 2:
        raise ValueError("a bug")
    if kind == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    while kind == 5:
        pass


@pytest.mark.parametrize(
    ("kind", "outcome", "reason"),
    [
        (0, "fine", ""),
        (1, "refused", ""),
        (2, "uncaught", "ValueError at test_harness.py"),
        (4, "crash", "SIGKILL"),
        (5, "hang", "no end"),
    ],
)
def test_outcomes_are_counted_and_faults_listed_once(kind: int, outcome: str, reason: str) -> None:
    from harness import SECONDS, fuzz

    limit = 0.2 if outcome == "hang" else SECONDS  # a busy machine may take its time
    counts, found = fuzz("x", lambda rng: bytes([kind]), behave, seed=3, count=2, limit=limit)
    assert counts == {outcome: 2}
    assert len(found) == bool(reason)
    assert all(line.startswith(f"{outcome}: --seed 3 --case 0: {reason}") for line in found)


def test_a_case_depends_on_seed_and_index_alone() -> None:
    from harness import mutated

    seeds = [[1, 2], [1, 2], [1, 3]]
    first, again, other = (mutated(bytes(200), np.random.default_rng(seed)) for seed in seeds)
    assert first == again != other


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_the_scripts_find_nothing_in_their_first_cases(name: str) -> None:
    from harness import fuzz

    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    sys.modules[name] = script
    spec.loader.exec_module(script)
    assert fuzz(script.NAME, script.make, script.read, seed=0, count=100)[1] == []
