"""Python code as a program of its own, for tests of how programs end."""

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from conftest import PROJECT
from trackertraincode.cli import run_main


def python(code: str, *words: object, **variables: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)], cwd=PROJECT, env=os.environ | variables,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def end_of(main: Callable[[], object], capsys: pytest.CaptureFixture[str]) -> tuple[object, str]:
    """Exit code and stderr of a program."""
    with pytest.raises(SystemExit) as stopped:
        run_main(main, start=lambda: None)  # type: ignore[arg-type]
    return stopped.value.code, capsys.readouterr().err
