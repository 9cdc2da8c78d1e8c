"""Commands that begin as a copy of this process, which has imported what they need.

Most of a small command's time is imports; in a copy, all of its time is work that can be disturbed. Needs Linux.
"""

import atexit
import gc
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import cv2
from program import PROJECT, Process, Program, environment

LOOKS = 0.01  # seconds between two
WITH_THREADS = ("onnxruntime",)  # that start some when they are imported


class Child:
    """A `Process` that was forked."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, negative for signals. Raises subprocess.TimeoutExpired."""
        end = float("inf") if timeout is None else time.monotonic() + timeout
        while self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > end:
                raise subprocess.TimeoutExpired("ttc", timeout or 0)
            else:
                time.sleep(LOOKS)
        return self.returncode

    def send_signal(self, sig: int) -> None:
        """Unless it has ended."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, sig)


class Forked(Program):
    """A command in a copy of this process."""

    whole = True  # until the interpreter has ended, which takes long with so many modules

    def _start(self, words: list[str], inputs: Path, before: Callable[[], object]) -> Process:
        cv2.setNumThreads(0)
        threads = len(list(Path("/proc/self/task").iterdir()))
        assert threads == 1, f"{threads} threads: a copy would have one of them, and wait for the others"
        gc.freeze()  # what is never looked at stays shared
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid:
            while os.getsid(pid) != pid:
                time.sleep(LOOKS / 10)
            return Child(pid)
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDONLY)
        for number, file in enumerate([nothing, *(said.fileno() for said in self._said)]):
            os.dup2(file, number)
        for ending in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(ending, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ.update(environment(inputs))
        os.chdir(inputs)
        sys.argv = [str(PROJECT / "trackertraincode" / "__main__.py"), *words]
        atexit.register(gc.unfreeze)  # else what is never freed is told as leaks
        before()
        try:
            runpy.run_module("trackertraincode", run_name="__main__", alter_sys=True)
        except SystemExit as stopped:  # goes up to the interpreter, which ends as that of a new process
            if self.whole:
                raise
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(int(stopped.code or 0))
        raise AssertionError("commands end by SystemExit")


class Undisturbed(Forked):
    """The same, without the interpreter's end."""

    whole = False


def keep_modules(path: Path) -> Callable[[], object]:
    """For `before`: names of all modules that the process has imported are in this file at its end."""
    return lambda: atexit.register(lambda: path.write_text("\n".join(sys.modules)))


def import_kept(path: Path) -> None:
    """Import the modules of such a file, where they can be and start no thread."""
    for name in path.read_text().split():
        if name not in sys.modules and "__main__" not in name and not name.startswith(WITH_THREADS):
            with suppress(Exception):
                import_module(name)
