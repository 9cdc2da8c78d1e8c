"""What a command leaves when nothing disturbs it."""

import json
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from cases import CASES, Program, contents, files


@dataclass
class Reference:
    """Of undisturbed runs."""

    seconds: float
    bytes: int  # of all files
    digests: dict[str, list[str]]  # by file, one per run

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


def reference(name: str, folder: Path, *, again: bool = False) -> Reference:
    """Of a case, kept in the folder; again: with one more run."""
    kept = folder / "references" / f"{name}.json"
    known = Reference(**json.loads(kept.read_text())) if kept.exists() else Reference(0, 0, {})
    if known.digests and not again:
        return known
    outputs = empty(folder / "out")
    begin = time.monotonic()
    done = Program(CASES[name].command(folder / "in", outputs), folder / "in").end()
    assert done.code == 0, f"{name}: {done.lines}"
    known.seconds = time.monotonic() - begin
    known.bytes = sum(path.stat().st_size for path in files(outputs).values())
    for file, digest in contents(outputs).items():
        known.digests.setdefault(file, []).append(digest)
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(asdict(known)))
    return known
