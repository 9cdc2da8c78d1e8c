"""The scripts of this folder know all commands, and their shortest case finds nothing."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from conftest import PROJECT
from trackertraincode.arguments import OutputFile, output_folder
from trackertraincode.commands import COMMANDS, parse

FOLDER = Path(__file__).parent


@pytest.fixture(autouse=True)
def scripts_find_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))


def test_every_command_has_a_case() -> None:
    from cases import CASES, OF_OTHERS, WITHOUT_OUTPUTS

    assert {case.words.split()[0] for case in CASES.values()} | {*WITHOUT_OUTPUTS, *OF_OTHERS} == set(COMMANDS)


def test_every_output_has_a_case() -> None:
    from cases import CASES

    given: dict[tuple[str, str], bool] = {}
    for case in CASES.values():
        words = case.command(Path("in"), Path("out"))
        _, options, parser = parse(words)
        for action in parser._actions:
            if isinstance(action.type, OutputFile) or action.type is output_folder:
                key = words[0], action.dest
                given[key] = given.get(key, False) or str(getattr(options, action.dest, "")).startswith("out")
    assert [key for key, is_given in given.items() if not is_given] == []


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_table_counts_moments_before_the_end_and_what_was_wrong_with_them() -> None:
    from kill import table
    from moments import Moment

    moment = Moment("join", "KILL", 0, fresh=True, seconds=1.0, jitter=0.5)
    wrong = [["temporary", "x.h5.tmp"], ["not whole", "x.h5"]]  # one moment, one column
    rows = table([moment, replace(moment, number=1, late=True), replace(moment, number=2, found=wrong)], ["KILL"])
    assert rows[0] == "| command | SIGKILL | wrong exit code | left | another result | orphans | more than a line |"
    assert rows[2:] == [f"| {name} | 2 | 0 | 1 | 0 | 0 | 0 |" for name in ("`join`", "**all**")]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_the_scripts_find_nothing_when_a_file_is_filtered(tmp_path: Path) -> None:
    for words in (
        ["kill.py", "--moments", "1", "--signals", "TERM"],
        ["disk.py", "--ulimit", "--sizes", "50%"],
    ):
        script, *options = words
        done = subprocess.run(
            [sys.executable, str(FOLDER / script), "filter", "--folder", str(tmp_path), *options],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
