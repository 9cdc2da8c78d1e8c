"""Every writer twice at once on the same destination: the second is refused in one line, the first one's work is whole.

python tests/reliability/twice.py [CASE ...] --folder FOLDER

The first is stopped when it has made something, and goes on after the second has ended. Where the first was faster, the
second does the same again.
Prints a row per command, and exits with 1 unless all but the first two columns are zero. Needs Linux.
"""

import argparse
import contextlib
import os
import signal
import sys
from pathlib import Path

from cases import CASES, Table, make_inputs
from left import contents, not_whole, temporary
from program import Ended, Program
from reference import Reference, empty, reference

COLUMNS = ("refused", "both", "exit code", "not whole", "temporary", "result", "orphans", "traceback", "lines")
LOOKS = 0.05  # seconds between two


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of: {', '.join(CASES)} (default: all)")
    parser.add_argument("--folder", type=Path, required=True, help="for inputs and outputs")
    options = parser.parse_args()
    names = options.cases or list(CASES)
    make_inputs(options.folder / "in", names)
    table, details = Table(COLUMNS), []
    for name in names:
        counts = dict.fromkeys(COLUMNS, 0)
        for column, text in try_once(name, options.folder, reference(name, options.folder)):
            counts[column] += 1
            details += [f"{name}: {column}: {text}"] if text else []
        table.add(name, counts)
    table.end()
    print(*details, sep="\n")
    sys.exit(1 if details else 0)


def try_once(name: str, folder: Path, undisturbed: Reference) -> list[tuple[str, str]]:
    """Columns in which something is to be counted, with what was found there."""
    outputs, inputs = empty(folder / "out"), folder / "in"
    words = CASES[name].command(inputs, outputs)
    first = Program(words, inputs)
    while not any(outputs.iterdir()) and not first.ends_within(LOOKS):
        pass
    with contextlib.suppress(ProcessLookupError):
        os.killpg(first.process.pid, signal.SIGSTOP)
    second = Program(words, inputs).end()
    running = not first.ends_within(0)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(first.process.pid, signal.SIGCONT)
    ended = [first.end(), second]
    codes, right = [end.code for end in ended], [0, 1 if running else 0]
    found = [("refused" if running else "both", "")]
    found += [("exit code", f"{codes}: {_lines(ended)}")] if codes != right else []
    found += [("lines", _lines([end])) for end in ended if len(end.lines) != (end.code != 0)]
    found += [("orphans", f"{end.orphans} processes") for end in ended if end.orphans]
    found += [("traceback", end.traceback) for end in ended if end.traceback]
    found += [("temporary", ", ".join(kept))] if (kept := temporary(outputs)) else []
    found += [("not whole", text) for text in not_whole(outputs)]
    if not any(column == "not whole" for column, _ in found):
        found_now = contents(outputs)
        different = undisturbed.different(found_now)
        if different:  # perhaps they differ when nothing disturbs them, too
            different = reference(name, folder, again=True).different(found_now)
        found += [("result", f"{', '.join(different)}")] if different else []
    return found


def _lines(ended: list[Ended]) -> str:
    return " | ".join(line for end in ended for line in end.lines)[-300:]


if __name__ == "__main__":
    main()
