"""Commands in processes of their own."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

PROJECT = Path(__file__).resolve().parents[2]
PROGRESS = re.compile(r"%\||^\d+ \w+ \[\d\d:\d\d")  # a bar, or a count where no end is known


def environment(inputs: Path) -> dict[str, str]:
    """What commands are given beside this process's own."""
    names = {"PYTHONPATH": PROJECT, "OMP_NUM_THREADS": 1, "DATADIR": inputs, "TQDM_DISABLE": 1}
    return {name: str(value) for name, value in names.items()}


class Process(Protocol):
    """A child of this process, as `subprocess.Popen` has it."""

    pid: int
    returncode: Any

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, negative for signals. Raises subprocess.TimeoutExpired."""

    def send_signal(self, sig: int) -> None:
        """Unless it has ended."""


class Program:
    """A command that runs in a session of its own."""

    def __init__(self, words: list[str], inputs: Path, before: Callable[[], object] | None = None) -> None:
        """before: called in the new process, which hears all signals, also where this one runs in the background."""
        self._said = [tempfile.TemporaryFile("w+", errors="replace") for _ in range(2)]  # noqa: SIM115 - end with it
        self.process = self._start(words, inputs, before or (lambda: None))

    def _start(self, words: list[str], inputs: Path, before: Callable[[], object]) -> Process:
        def begin() -> None:
            for number in (signal.SIGINT, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            before()

        return subprocess.Popen(
            [sys.executable, "-m", "trackertraincode", *words],
            stdin=subprocess.DEVNULL,
            stdout=self._said[0],
            stderr=self._said[1],
            env=os.environ | environment(inputs),
            cwd=inputs,
            start_new_session=True,
            preexec_fn=begin,
        )

    def ends_within(self, seconds: float) -> bool:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        return self.process.returncode is not None

    def end(self, limit: float = 1800.0, patience: float = 5.0) -> "Ended":
        """Wait for it, also on a busy machine, and a few seconds for its workers. What is there after that is killed."""
        hangs = not self.ends_within(limit)
        end = time.monotonic() + patience
        while (left := still_there(self.process.pid)) and not hangs and time.monotonic() < end:
            time.sleep(0.1)
        for process in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        code = self.process.wait()
        stdout, stderr = map(_read, self._said)
        lines = [line for line in stderr.splitlines() if line.strip() and not PROGRESS.search(line)]
        return Ended("hangs" if hangs else code, stdout, lines, len(left))


def _read(file: IO[str]) -> str:
    file.seek(0)
    return file.read()


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int | str
    stdout: str
    lines: list[str]  # of stderr, without progress bars
    orphans: int

    @property
    def traceback(self) -> str | None:
        return self.lines[-1] if any("Traceback (most" in line for line in self.lines) else None


def still_there(session: int) -> list[int]:
    """Living processes of a session."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = status.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] not in "ZX":
                found.append(int(status.parent.name))
    return found
