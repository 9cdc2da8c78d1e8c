"""One command, ended at one moment: what is wrong with what it says and leaves, and with what the next run makes of it."""

import os
import signal
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from cases import CASES
from forked import Forked, Undisturbed
from left import contents, final, not_whole, temporary
from program import Ended, Program
from reference import Reference, empty, reference

SIGNALS = {  # name -> what is sent: INT and HUP to all processes, as from a terminal, others to the command alone
    "KILL": ("KILL",),
    "TERM": ("TERM",),
    "INT": ("INT",),
    "HUP": ("HUP",),
    "TERM all": ("TERM all",),  # as SLURM sends it
    "INT INT": ("INT", "INT"),
    "TERM INT": ("TERM", "INT"),
    "INT TERM": ("INT", "TERM"),
    "KILL, KILL": ("KILL",),
}
NEXT_TOO = "KILL, KILL"  # the next run is ended as well, and the one after it is looked at
TICK = os.sysconf("SC_CLK_TCK")
LOOKS = 0.02  # seconds between two
APART = 0.3  # seconds between two signals, at most


@dataclass(frozen=True)
class Moment:
    """Where a command was ended, and what was wrong."""

    case: str
    signal: str
    number: int  # among all of this case and signal
    fresh: bool  # a new process, not a copy of one with all modules
    seconds: float  # of processors, after which it was ended
    jitter: float  # in [0, 1): share of the longest time between two signals, and between two looks
    late: bool = False  # it had done its work
    code: int | str | None = None
    lines: list[str] = field(default_factory=list)
    refused: str = ""  # what was said to --resume, before it was given again without
    found: list[list[str]] = field(default_factory=list)  # what is wrong: column, text


def try_once(moment: Moment, folder: Path, undisturbed: Reference) -> Moment:
    """The same moment with what was found."""
    outputs, inputs = empty(folder / "out"), folder / "in"
    scratch = empty(folder / "tmp")
    os.environ["TMPDIR"] = str(scratch)
    program = (Program if moment.fresh else Forked)(CASES[moment.case].command(inputs, outputs), inputs)
    pid = program.process.pid
    _wait(program, moment.seconds)
    if program.ends_within(moment.jitter * LOOKS):
        program.end()
        return replace(moment, late=True)
    complete = set(undisturbed.digests) == set(final(outputs))
    sent = SIGNALS[moment.signal]
    for place, which in enumerate(sent):
        if place:
            program.ends_within(moment.jitter * APART)
        with suppress(ProcessLookupError):
            (os.kill if which in ("KILL", "TERM") else os.killpg)(pid, _number(which))
    ended = program.end()
    if ended.code == 0 and complete:
        return replace(moment, late=True, code=0)
    numbers = [_number(which) for which in sent]
    kept = [] if "KILL" in sent else temporary(outputs)  # nobody was left to remove it; the next run does
    if "--resume" in ended.stdout:
        kept = [path for path in kept if ".parts" not in path]
    found = [["exit code", str(ended.code)]] if ended.code not in {c for n in numbers for c in (-n, 128 + n)} else []
    found += [["temporary", ", ".join(kept)]] if kept else []
    if "KILL" not in sent and (elsewhere := sorted(path.name for path in scratch.iterdir())):
        found += [["temporary", f"in TMPDIR: {', '.join(elsewhere)}"]]
    found += [["lines", ""]] if len(ended.lines) > 1 else []
    found += _judged(ended, outputs)
    if moment.signal == NEXT_TOO:
        words = CASES[moment.case].command(inputs, outputs, resume=True)
        following = Forked(words, inputs)
        _wait(following, moment.jitter * undisturbed.seconds)
        following.process.send_signal(signal.SIGKILL)
        following.end()
    refused, more = _go_on(moment.case, folder, undisturbed)
    return replace(
        moment, code=ended.code, lines=[line[-300:] for line in ended.lines[-8:]], refused=refused, found=found + more
    )


def _wait(program: Program, seconds: float) -> None:
    """Until it has used so many seconds of processors, or has ended."""
    while not program.ends_within(0) and used(program.process.pid) < seconds:
        program.ends_within(LOOKS)


def _number(which: str) -> signal.Signals:
    return signal.Signals[f"SIG{which.split()[0]}"]


def used(pid: int) -> float:
    """Seconds of processors of a process and its children, those that have ended included."""
    total, todo = 0, [pid]
    while todo:
        process = todo.pop()
        with suppress(OSError):
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            total += sum(map(int, fields[11:15]))
            for thread in Path(f"/proc/{process}/task").iterdir():
                todo += map(int, (thread / "children").read_text().split())
    return total / TICK


def _go_on(name: str, folder: Path, undisturbed: Reference) -> tuple[str, list[list[str]]]:
    """What --resume refuses, and what is wrong after the next run of the command."""
    inputs, outputs = folder / "in", folder / "out"
    before = ", ".join(final(outputs))
    refused = ""
    for resume in (True, False) if CASES[name].resume else (False,):
        ended = Undisturbed(CASES[name].command(inputs, outputs, resume=resume), inputs).end()
        if ended.code == 0:
            break
        refused = " | ".join(ended.lines)[-300:]
        if len(ended.lines) > 1 or not resume:
            return refused, [["result", f"with {before}: {refused}"], *_judged(ended, outputs)]
    found = _judged(ended, outputs)
    found += [["temporary", f"after the next run {', '.join(kept)}"]] if (kept := temporary(outputs)) else []
    if not any(column == "not whole" for column, _ in found):
        now = contents(outputs)
        different = undisturbed.different(now)
        if different:  # perhaps they differ without a disturbance, too
            different = reference(name, folder, again=True, program=Undisturbed).different(now)
        found += [["result", f"after the next run: {', '.join(different)}"]] if different else []
    return refused, found


def _judged(ended: Ended, outputs: Path) -> list[list[str]]:
    return [
        *(["not whole", text] for text in not_whole(outputs)),
        *([["orphans", f"{ended.orphans} processes"]] if ended.orphans else []),
        *([["traceback", ended.traceback]] if ended.traceback else []),
    ]
