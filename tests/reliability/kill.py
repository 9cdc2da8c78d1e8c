"""Commands ended at random moments: their exit codes, what they leave, and what the next run makes of it.

python tests/reliability/kill.py [CASE ...] --folder FOLDER --moments 10 --others 2 --seed 1
python tests/reliability/kill.py --folder FOLDER --table

Each moment is a line of FOLDER/moments.jsonl, so that a run that was ended goes on where it was. --table prints them.
Moments are in seconds of processors, since work of others makes commands slower. Those after a command's end are drawn again.
Nine of ten begin as a copy of a process that has imported what the command needs (`forked.py`), as all next runs do.
Exits with 1 unless nothing was found. Needs Linux.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from cases import CASES, make_inputs
from forked import Forked, Undisturbed, import_kept, keep_modules
from moments import SIGNALS, Moment, try_once
from program import PROJECT
from reference import Reference, empty, keep, reference

NAMED = (  # tried most
    "join", "filter", "convert aflw2k", "track to .mp4", "evaluate to tables", "render few", "train without drawings",
    "export",
)  # fmt: skip
FRESH = 10  # each tenth is a new process
DRAWS = 4  # per moment that is wanted
COLUMNS = {  # of the table -> what of `Moment.found` is counted in it
    "wrong exit code": ("exit code",),
    "left": ("not whole", "temporary"),
    "another result": ("result",),
    "orphans": ("orphans",),
    "more than a line": ("traceback", "lines"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of: {', '.join(CASES)} (default: all)")
    parser.add_argument("--folder", type=Path, required=True, help="for inputs, outputs and what was found")
    parser.add_argument(
        "--moments", type=int, default=10, help=f"per signal, of {', '.join(NAMED)} and cases that are given"
    )
    parser.add_argument("--others", type=int, default=2, help="per signal, of all other cases")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--signals", nargs="+", default=("KILL", "TERM", "INT", "HUP"), choices=SIGNALS)
    parser.add_argument("--table", action="store_true", help="print what was found, without running anything")
    options = parser.parse_args()
    found = options.folder / "moments.jsonl"
    names = options.cases or [*NAMED, *(name for name in CASES if name not in NAMED)]
    if not options.table:
        sys.path.insert(0, str(PROJECT))
        make_inputs(options.folder / "in", names)
        wanted = {name: options.moments if options.cases or name in NAMED else options.others for name in names}
        for round_ in range(max(wanted.values())):
            for name in names:
                if round_ < wanted[name]:
                    for which in options.signals:
                        draw(name, which, round_ + 1, options.folder, options.seed)
    known = read(found)
    sys.stdout.writelines(f"{line}\n" for line in table(known, options.signals))
    faults = [f"{m.case} {m.signal} {m.number}: {column}: {text}" for m in known for column, text in m.found]
    print("", *faults, sep="\n")
    sys.exit(1 if faults else 0)


def draw(name: str, which: str, wanted: int, folder: Path, seed: int) -> None:
    """Try moments until `wanted` of them were before the command's end."""
    kept = folder / "moments.jsonl"
    tried = [m for m in read(kept) if (m.case, m.signal) == (name, which)]
    while sum(not m.late for m in tried) < wanted and len(tried) < DRAWS * wanted:
        undisturbed = prepared(name, folder)
        number = len(tried)
        rng = Random(f"{seed} {name} {which} {number}")
        fresh = number % FRESH == 0
        whole = undisturbed.seconds + (undisturbed.imports if fresh else 0)
        moment = try_once(Moment(name, which, number, fresh, whole * rng.random(), rng.random()), folder, undisturbed)
        with kept.open("a") as file:
            file.write(json.dumps(vars(moment)) + "\n")
        print(moment, file=sys.stderr, flush=True)
        tried.append(moment)


def prepared(name: str, folder: Path) -> Reference:
    """Of a case that is undisturbed, after which this process has imported what it needs."""
    modules = folder / "references" / f"{name}.modules"
    known = reference(name, folder)
    if not modules.exists():
        Forked(CASES[name].command(folder / "in", empty(folder / "out")), folder / "in", keep_modules(modules)).end()
        import_kept(modules)
        forked = reference(name, folder, again=True, program=Undisturbed)
        keep(name, folder, replace(forked, imports=max(0.0, known.seconds - forked.seconds)))
    if name not in _imported:
        import_kept(modules)
        _imported.add(name)
    return reference(name, folder)


_imported: set[str] = set()


def read(path: Path) -> list[Moment]:
    """What was found so far."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [Moment(**json.loads(line)) for line in lines]


def table(known: Iterable[Moment], signals: Sequence[str]) -> list[str]:
    """Of Markdown: how many moments before a command's end, and in how many of them something was wrong."""
    rows: dict[str, dict[str, int]] = {}
    columns = [f"SIG{which}" for which in signals] + list(COLUMNS)
    for moment in known:
        for name in (moment.case, "**all**"):
            row = rows.setdefault(name, dict.fromkeys(columns, 0))
            if not moment.late and moment.signal in signals:
                row[f"SIG{moment.signal}"] += 1
                wrong = {column for column, _ in moment.found}
                for column, counted in COLUMNS.items():
                    row[column] += not wrong.isdisjoint(counted)
    rows["**all**"] = rows.pop("**all**", dict.fromkeys(columns, 0))  # last
    cells: list[Sequence[Any]] = [
        ["command", *columns],
        ["---", *["---:"] * len(columns)],
        *([f"`{name}`" if name in CASES else name, *row.values()] for name, row in rows.items()),
    ]
    return [f"| {' | '.join(map(str, row))} |" for row in cells]


if __name__ == "__main__":
    main()
