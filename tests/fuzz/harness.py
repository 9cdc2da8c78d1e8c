"""Damaged inputs by the thousand, read in processes that they may end: what isn't refused in one line is counted.

(seed, index) --make--> bytes --> x.ext --read, in a forked child with limits--> fine, refused, uncaught, crash, hang, memory

A script of this folder has a NAME, a `make` and a `read`, and ends with `main(__doc__, NAME, make, read)`:

    python tests/fuzz/fuzz_pickle.py --seconds 90 --seed 1
    python tests/fuzz/fuzz_pickle.py --seed 1 --case 4711         one case again, with its traceback
"""

import argparse
import io
import os
import signal
import sys
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from trackertraincode.errors import UserError

Make = Callable[[np.random.Generator], bytes]
Read = Callable[[Path], None]

SECONDS, GIGABYTES = 20, 4  # that a case may take: of processor time, since a busy machine makes everything slow
PATIENCE = 20  # times the seconds that it may wait
TOGETHER = 25  # cases of one child
FAULTS = ("uncaught", "crash", "hang", "memory")
NUMBERS = (0, 1, 2, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**64 - 1)


def main(doc: str | None, name: str, make: Make, read: Read) -> None:
    """Command line of a fuzzing script; exits with 1 when anything but a refusal happened."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=90.0, help="how long (default 90)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int, help="do this one again, in this process")
    parser.add_argument("--keep", type=Path, help="folder for inputs that were not refused")
    options = parser.parse_args()
    if options.case is not None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            path.write_bytes(make(np.random.default_rng([options.seed, options.case])))
            read(path)
        return
    counts, found = fuzz(name, make, read, options.seed, seconds=options.seconds, keep=options.keep)
    print(f"{sum(counts.values())} cases: " + ", ".join(f"{counts[k]} {k}" for k in ("fine", "refused", *FAULTS)))
    print("\n".join(found))
    sys.exit(1 if found else 0)


def fuzz(
    name: str, make: Make, read: Read, seed: int, *, seconds: float = 1e9, count: int = sys.maxsize, keep: Path | None = None,
    limit: float = SECONDS,
) -> tuple[Counter[str], list[str]]:  # fmt: skip
    """Cases 0, 1, … of a seed until time or count is up. Returns counts by outcome, and a line for each kind of fault."""
    counts: Counter[str] = Counter()
    found: dict[str, str] = {}
    end, index = time.monotonic() + seconds, 0
    while index < count and time.monotonic() < end:
        for outcome, reason in _run_some(name, make, read, seed, range(index, min(index + TOGETHER, count)), limit):
            counts[outcome] += 1
            if outcome in FAULTS and reason not in found:
                found[reason] = f"{outcome}: --seed {seed} --case {index}: {reason}"
                if keep is not None:
                    keep.mkdir(parents=True, exist_ok=True)
                    (keep / f"{seed}-{index}-{name}").write_bytes(make(np.random.default_rng([seed, index])))
            index += 1
    return counts, list(found.values())


def _run_some(name: str, make: Make, read: Read, seed: int, cases: range, limit: float) -> list[tuple[str, str]]:
    """Outcomes and reasons of cases in one child, up to the one that ends it."""
    reading, writing = os.pipe()
    with tempfile.TemporaryDirectory() as folder:
        child = os.fork()
        if child == 0:
            try:
                _be_child(Path(folder) / name, make, read, seed, cases, limit, writing)
            except BaseException:
                os.write(writing, b"crash\tthe script: " + " ".join(traceback.format_exc().split()).encode() + b"\n")
            finally:
                os._exit(0)
        os.close(writing)
        with os.fdopen(reading, encoding="utf-8", errors="replace") as file:
            said = [line.rstrip("\n").split("\t", 1) for line in file]
        _, status = os.waitpid(child, 0)
    outcomes = [(outcome, reason) for outcome, reason in said]
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        late = number in (signal.SIGALRM, signal.SIGPROF)
        outcomes.append(("hang", "no end") if late else ("crash", signal.Signals(number).name))
    return outcomes


def _be_child(path: Path, make: Make, read: Read, seed: int, cases: range, limit: float, said: int) -> None:
    import resource

    _limit_memory()
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    timers = {signal.ITIMER_PROF: limit, signal.ITIMER_REAL: limit * PATIENCE}
    for number in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    unit = 1 if sys.platform == "darwin" else 1024
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # with what the parent had
    for index in cases:
        path.write_bytes(make(np.random.default_rng([seed, index])))
        for timer, seconds in timers.items():
            signal.setitimer(timer, seconds)
        outcome, reason = _outcome(read, path)
        for timer in timers:
            signal.setitimer(timer, 0)
        used = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit / 2**30
        if used > GIGABYTES:
            outcome, reason = "memory", f"{used:.0f} GB"
        os.write(said, f"{outcome}\t{' '.join(reason.split())}\n".encode("utf-8", "replace"))
        if outcome == "memory":
            return


def _outcome(read: Read, path: Path) -> tuple[str, str]:
    try:
        read(path)
    except UserError:
        return "refused", ""
    except BaseException as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = [f for f in frames if "trackertraincode" in f.filename] or frames
        place = f"{Path(own[-1].filename).name}:{own[-1].lineno}"
        return "uncaught", f"{type(error).__name__} at {place}: {str(error)[:150]}"
    return "fine", ""


def _limit_memory() -> None:
    """Of this process, where the system can; what is used already doesn't count."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    status = Path("/proc/self/status")
    if status.exists():
        used = next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmData"))
        most = used * 1024 + 2 * GIGABYTES * 2**30
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def mutated(data: bytes, rng: np.random.Generator, others: Sequence[bytes] = ()) -> bytes:
    """With one to eight changes: of bits, bytes, numbers, lengths; a part of another input; an early end."""
    values = bytearray(data)
    for _ in range(int(rng.integers(1, 9))):
        place, length = int(rng.integers(len(values) + 1)), int(rng.integers(1, 17))
        kind = int(rng.integers(9))
        if kind == 0 and place < len(values):
            values[place] ^= 1 << int(rng.integers(8))
        elif kind == 1 and place < len(values):
            values[place] = int(rng.integers(256))
        elif kind in (2, 3):
            size = int(rng.choice([1, 2, 4, 8]))
            number = int(NUMBERS[rng.integers(len(NUMBERS))]) % 2 ** (8 * size)
            values[place : place + size] = number.to_bytes(size, "little" if kind == 2 else "big")
        elif kind == 4:
            del values[place : place + length]
        elif kind == 5:
            values[place:place] = rng.bytes(length)
        elif kind == 6:
            values[place:place] = values[place : place + length * 4]
        elif kind == 7 and others:
            other = others[int(rng.integers(len(others)))]
            start = int(rng.integers(len(other) + 1))
            values[place : place + length * 4] = other[start : start + length * 4]
        elif kind == 8 and rng.random() < 0.2:
            del values[place:]
    return bytes(values)


def mutated_member(data: bytes, rng: np.random.Generator, names: Callable[[str], bool] = lambda name: True) -> bytes:
    """A zip archive with one member mutated and everything else in order, so that damage gets behind the archive."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    chosen = str(rng.choice([name for name in members if names(name)]))
    members[chosen] = mutated(members[chosen], rng)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


NASTY: tuple = (
    None, True, -1, 0, 2**40, 10**400, float("nan"), float("inf"), 1e308, "", "x", "\x00", "ü" * 40, b"\xff",
    [], [[]], {}, {"a": 1}, (),
)  # fmt: skip


def nasty(rng: np.random.Generator, depth: int = 2) -> object:
    """A value of any plain type."""
    if depth and rng.random() < 0.3:
        values = [nasty(rng, depth - 1) for _ in range(int(rng.integers(4)))]
        return values if rng.random() < 0.5 else {str(i): value for i, value in enumerate(values)}
    return NASTY[rng.integers(len(NASTY))]
