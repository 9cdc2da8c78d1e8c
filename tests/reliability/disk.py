"""Every writer on disks that are too small: exit codes, what stays under a final name, and what the user is told.

python tests/reliability/disk.py [CASE ...] --folder FOLDER --sizes 300000 1000000 3000000 30% 70% 95%
python tests/reliability/disk.py [CASE ...] --folder FOLDER --ulimit      limits the sizes of files instead; needs no root

Sizes are bytes, or shares of what the command writes. Prints a row per command, and exits with 1 unless all but the first
column is zero. Needs Linux, and root or user namespaces for the disks, which are mounted where nobody else sees them.
"""

import argparse
import os
import resource
import subprocess
import sys
from pathlib import Path

from cases import CASES, Table, make_inputs
from left import final, not_whole, temporary
from program import Program
from reference import Reference, empty, reference

SIZES = ("300000", "1000000", "3000000", "30%", "70%", "95%")
COLUMNS = ("full", "crash", "exit code", "not whole", "temporary", "lines", "message", "traceback", "hang")
PAGE = 4096  # bytes
INSIDE = "TRACKERTRAINCODE_INSIDE"  # set where disks can be mounted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of: {', '.join(CASES)} (default: all)")
    parser.add_argument("--folder", type=Path, required=True, help="for inputs and outputs")
    parser.add_argument("--sizes", nargs="+", default=SIZES)
    parser.add_argument("--ulimit", action="store_true")
    options = parser.parse_args()
    if not options.ulimit and INSIDE not in os.environ:
        alone = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
        if subprocess.run([*alone, "true"], check=False).returncode:
            sys.exit("disks can't be mounted here; --ulimit needs no rights")
        os.execvpe("unshare", [*alone, sys.executable, *sys.argv], os.environ | {INSIDE: "1"})
    names = options.cases or list(CASES)
    make_inputs(options.folder / "in", names)
    table, details = Table(COLUMNS), []
    for name in names:
        counts = dict.fromkeys(COLUMNS, 0)
        undisturbed = reference(name, options.folder)
        sizes = {size_of(text, undisturbed.bytes): text for text in options.sizes}  # each once
        for size, text in sorted(sizes.items()):
            for column, what in try_once(name, size, options.folder, undisturbed, limit_files=options.ulimit):
                counts[column] += 1
                details += [f"{name}, {text} ({size} bytes): {column}: {what}"] if what else []
                print(details[-1] if what else ".", file=sys.stderr, flush=True)
        table.add(name, counts)
    table.end()
    print(*details, sep="\n")
    sys.exit(1 if details else 0)


def size_of(text: str, whole: int) -> int:
    """Bytes, in whole pages."""
    size = whole * float(text[:-1]) / 100 if text.endswith("%") else int(text)
    return max(PAGE, int(size) // PAGE * PAGE)


def try_once(name: str, size: int, folder: Path, undisturbed: Reference, *, limit_files: bool) -> list[tuple[str, str]]:
    """Columns in which something is to be counted, with what was found there."""
    outputs, inputs = empty(folder / "out"), folder / "in"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    if not limit_files:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", outputs], check=True)
    try:
        words = CASES[name].command(inputs, outputs)
        ended = Program(words, inputs, limit if limit_files else None).end()
        missing = sorted(set(undisturbed.digests) - set(final(outputs)))
        lines = ended.lines
        kept = [path for path in temporary(outputs) if not (".parts" in path and "--resume" in ended.stdout)]
        found = [("not whole", text) for text in not_whole(outputs)]
    finally:
        if not limit_files:
            subprocess.run(["umount", outputs], check=True)
    if ended.code == 0:
        found += [("exit code", f"0 without {', '.join(missing)}")] if missing else []
    else:
        found.append(("full", ""))
        crashed = isinstance(ended.code, int) and (ended.code < 0 or ended.code > 128)
        found += [("crash", f"{ended.code}: {lines[-1:]}")] if crashed else []
        found += [("exit code", f"{ended.code}")] if ended.code not in (1, "hangs") and not crashed else []
        found += [("message", lines[-1][-300:] if lines else "none")] if not is_clear(lines, outputs) else []
    found += [("hang", "")] if ended.code == "hangs" else []
    found += [("temporary", ", ".join(kept))] if kept else []
    found += [("lines", " | ".join(lines)[-400:])] if len(lines) > 1 else []
    found += [("traceback", ended.traceback)] if ended.traceback else []
    return found


def is_clear(lines: list[str], outputs: Path) -> bool:
    """Whether the last line names an output, not a temporary file, and says what happened."""
    line = lines[-1] if lines else ""
    return str(outputs) in line and ".tmp" not in line and ("full" in line or "larger than is allowed" in line)


if __name__ == "__main__":
    main()
