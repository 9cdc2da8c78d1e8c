"""Commands ended at random moments: their exit codes, what they leave, and what the next run makes of it.

python tests/reliability/kill.py [CASE ...] --folder FOLDER --moments 10 --seed 1

Prints a row per command and signal, and exits with 1 unless all but the first two columns are zero. Needs Linux.
"""

import argparse
import os
import signal
import sys
from pathlib import Path
from random import Random

from cases import CASES, Ended, Program, Table, contents, final, make_inputs, not_whole, temporary
from reference import Reference, empty, reference

SIGNALS = ("KILL", "TERM", "INT", "HUP")
COLUMNS = (
    "in time",
    "done all the same",
    "exit code",
    "not whole",
    "temporary",
    "result",
    "orphans",
    "traceback",
    "lines",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of: {', '.join(CASES)} (default: all)")
    parser.add_argument("--folder", type=Path, required=True, help="for inputs and outputs")
    parser.add_argument("--moments", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--signals", nargs="+", default=SIGNALS, choices=SIGNALS)
    options = parser.parse_args()
    names = options.cases or list(CASES)
    make_inputs(options.folder / "in", names)
    table, details = Table(COLUMNS), []
    for name in names:
        undisturbed = reference(name, options.folder)
        for which in options.signals:
            rng = Random(f"{options.seed} {name} {which}")
            counts = dict.fromkeys(COLUMNS, 0)
            for _ in range(options.moments):
                moment = rng.uniform(0.1, 1.0) * undisturbed.seconds
                for column, text in try_once(name, which, moment, options.folder, undisturbed):
                    counts[column] += 1
                    details += [f"{name}, SIG{which} after {moment:.1f} s: {column}: {text}"] if text else []
                    print(details[-1] if text else ".", file=sys.stderr, flush=True)
            table.add(f"{name} SIG{which}", counts)
    table.end()
    print(*details, sep="\n")
    sys.exit(1 if details else 0)


def try_once(name: str, which: str, moment: float, folder: Path, undisturbed: Reference) -> list[tuple[str, str]]:
    """Columns in which something is to be counted, with what was found there.

    SIGINT and SIGHUP go to all processes, as from a terminal, the others to the command alone.
    """
    number = signal.Signals[f"SIG{which}"]
    outputs, inputs = empty(folder / "out"), folder / "in"
    program = Program(CASES[name].command(inputs, outputs), inputs)
    if program.ends_within(moment):
        program.end()
        return []  # was faster
    if which in ("INT", "HUP"):
        os.killpg(program.process.pid, number)
    else:
        program.process.send_signal(number)
    ended = program.end()
    finished = ended.code == 0 and set(undisturbed.digests) == set(final(outputs))  # the signal came after its work
    wrong = ended.code not in (-number, 128 + number) and not finished
    kept = temporary(outputs)
    if which == "KILL":
        kept = []  # nobody was left to remove it; the next run does
    elif "--resume" in ended.stdout:
        kept = [path for path in kept if ".parts" not in path]
    return [
        ("in time", ""),
        *([("done all the same", "")] if finished else []),
        *([("exit code", f"{ended.code}: {' | '.join(ended.lines)[-200:]}")] if wrong else []),
        *([("temporary", ", ".join(kept))] if kept else []),
        *([("lines", " | ".join(ended.lines)[-300:])] if len(ended.lines) > 1 else []),
        *_judge(ended, outputs),
        *_go_on(name, folder, undisturbed),
    ]


def _go_on(name: str, folder: Path, undisturbed: Reference) -> list[tuple[str, str]]:
    """What is wrong after the next run of the command."""
    inputs, outputs = folder / "in", folder / "out"
    before = ", ".join(final(outputs))
    for resume in (True, False):  # where nothing can be resumed, the command is simply given again
        ended = Program(CASES[name].command(inputs, outputs, resume=resume), inputs).end()
        if ended.code == 0:
            break
    else:
        return [("result", f"with {before}: {' | '.join(ended.lines)[-300:]}"), *_judge(ended, outputs)]
    found = _judge(ended, outputs)
    found += [("temporary", f"after the next run {', '.join(kept)}")] if (kept := temporary(outputs)) else []
    if not any(column == "not whole" for column, _ in found):
        now = contents(outputs)
        different = undisturbed.different(now)
        if different:  # perhaps they differ without a disturbance, too
            different = reference(name, folder, again=True).different(now)
        found += [("result", f"after the next run: {', '.join(different)}")] if different else []
    return found


def _judge(ended: Ended, outputs: Path) -> list[tuple[str, str]]:
    return [
        *[("not whole", text) for text in not_whole(outputs)],
        *([("orphans", f"{ended.orphans} processes")] if ended.orphans else []),
        *([("traceback", ended.traceback)] if ended.traceback else []),
    ]


if __name__ == "__main__":
    main()
