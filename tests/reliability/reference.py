"""What a command leaves when nothing disturbs it."""

import json
import resource
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from cases import CASES
from left import contents, files
from program import Program


@dataclass
class Reference:
    """Of undisturbed runs."""

    seconds: float  # of processors, of the last one
    bytes: int  # of all files
    digests: dict[str, list[str]]  # by file, one per run
    imports: float = 0.0  # seconds that `seconds` hasn't, since they were done before

    def different(self, found: dict[str, str]) -> list[str]:
        """Names that are missing, more than there should be, or of other content, unless undisturbed runs differ, too."""
        names = set(found) ^ set(self.digests)
        return sorted(names | {n for n, digests in self.digests.items() if n in found and _new(found[n], digests)})


def _new(digest: str, known: list[str]) -> bool:
    return len(set(known)) == 1 and digest != known[0]


def empty(outputs: Path) -> Path:
    """A new folder."""
    shutil.rmtree(outputs, ignore_errors=True)
    outputs.mkdir(parents=True)
    return outputs


def reference(
    name: str,
    folder: Path,
    *,
    again: bool = False,
    program: type[Program] = Program,
    before: Callable[[], object] | None = None,
) -> Reference:
    """Of a case, kept in the folder; again: with one more run, by a program with `before`."""
    kept = folder / "references" / f"{name}.json"
    known = Reference(**json.loads(kept.read_text())) if kept.exists() else Reference(0, 0, {})
    if known.digests and not again:
        return known
    outputs = empty(folder / "out")
    begin = of_children()
    done = program(CASES[name].command(folder / "in", outputs), folder / "in", before).end()
    assert done.code == 0, f"{name}: {done.lines}"
    known.seconds = of_children() - begin
    known.bytes = sum(path.stat().st_size for path in files(outputs).values())
    for file, digest in contents(outputs).items():
        known.digests.setdefault(file, []).append(digest)
    keep(name, folder, known)
    return known


def keep(name: str, folder: Path, known: Reference) -> None:
    """For later runs of a script."""
    kept = folder / "references" / f"{name}.json"
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(asdict(known)))


def of_children() -> float:
    """Seconds of processors that ended children took."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
