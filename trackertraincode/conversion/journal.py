"""What an interrupted conversion keeps: samples in part files, each complete or not there at all.

    DESTINATION.parts/000000.npz, 000001.npz, ...      plain arrays; nothing in them can run

A part holds some samples, the skipped items with their reasons, and how many work items are done after it.
"""

import json
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from trackertraincode.errors import ConfigError
from trackertraincode.sample.fields import LABELS
from trackertraincode.sample.sample import Sample

SAMPLES_PER_PART = 512
BYTES_PER_PART = 64 * 2**20


@dataclass(frozen=True)
class Skip:
    """An item that gave no sample."""

    name: str
    reason: str


@dataclass
class Journal:
    """Append-only list of samples and skips that survives a crash at any moment."""

    folder: Path
    fingerprint: str  # of source and options: a resumed run must have the same
    done_items: int = 0
    _samples: list[Sample] = field(default_factory=list)
    _skips: list[Skip] = field(default_factory=list)
    _bytes: int = 0

    def start(self, resume: bool) -> None:
        """Make the folder, or with resume find out how far the earlier run came.

        Raises ConfigError when the earlier run had another source or other options.
        """
        stamp = self.folder / "run.json"
        if not resume or not stamp.is_file():
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            stamp.write_text(self.fingerprint, encoding="utf-8")
            return
        if stamp.read_text(encoding="utf-8") != self.fingerprint:
            raise ConfigError(f"{self.folder}: begun from another archive or with other options; run without --resume.")
        parts = self._parts()
        if parts:
            with np.load(parts[-1]) as part:
                self.done_items = int(part["done_items"])

    def add(self, samples: list[Sample], skips: list[Skip], done_items: int) -> None:
        """Append the outcome of the next work item(s)."""
        self._samples += samples
        self._skips += skips
        self.done_items = done_items
        self._bytes += sum(len(s.image) for s in samples)
        if len(self._samples) >= SAMPLES_PER_PART or self._bytes >= BYTES_PER_PART:
            self.flush()

    def flush(self) -> None:
        """Write what is in memory as one part."""
        if not self._samples and not self._skips:
            return
        files = {a: [getattr(s, a) or b"" for s in self._samples] for a in ("image", "segmentation")}
        arrays: dict[str, np.ndarray] = {
            f"{name}_ends": np.cumsum([len(data) for data in contents], dtype=np.int64)
            for name, contents in files.items()
        }
        arrays |= {
            "done_items": np.array(self.done_items),
            "skips": np.array(json.dumps([[s.name, s.reason] for s in self._skips])),
            "names": np.array([s.name for s in self._samples], dtype=np.str_),
            "sequences": np.array([json.dumps(s.sequence) for s in self._samples], dtype=np.str_),
        }
        for attribute, label in LABELS.items():
            values = [getattr(s, attribute) for s in self._samples]
            present = np.array([v is not None for v in values], dtype=bool)
            arrays[f"{attribute}_present"] = present
            if present.any():
                arrays[attribute] = np.stack([np.asarray(v, dtype=label.dtype) for v in values if v is not None])
        path = self.folder / f"{len(self._parts()):06d}.npz"
        temporary = path.with_suffix(".unfinished")
        with zipfile.ZipFile(temporary, "w") as part:
            for name, array in arrays.items():
                with part.open(f"{name}.npy", "w") as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)
            for name, contents in files.items():
                with part.open(name, "w") as member:  # bytes, one file after the other
                    member.writelines(contents)
        temporary.replace(path)
        self._samples, self._skips, self._bytes = [], [], 0

    def replay(self) -> Iterator[Sample]:
        """The samples of the parts that there are when it begins, in order."""
        for path in self._parts():
            with np.load(path) as part:
                yield from _samples_of(dict(part))

    def skips(self) -> list[Skip]:
        """All skipped items."""
        found = []
        for path in self._parts():
            with np.load(path) as part:
                found += [Skip(*pair) for pair in json.loads(str(part["skips"]))]
        return found + self._skips

    def remove(self) -> None:
        """Delete the parts."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _parts(self) -> list[Path]:
        """Complete parts. A last one that a crash cut short never got this name; one damaged later ends the list."""
        parts = sorted(self.folder.glob("*.npz"))
        while parts and not zipfile.is_zipfile(parts[-1]):
            parts.pop().unlink()
        return parts


def _samples_of(part: dict[str, Any]) -> Iterator[Sample]:
    count = len(part["names"])
    labels: list[dict[str, object]] = [{} for _ in range(count)]
    for attribute in LABELS:
        for place, row in enumerate(np.flatnonzero(part[f"{attribute}_present"]).tolist()):
            labels[row][attribute] = part[attribute][place]
    for row in range(count):
        image, segmentation = (_file(part, name, row) for name in ("image", "segmentation"))
        yield Sample(
            image=image,
            segmentation=segmentation or None,
            name=str(part["names"][row]),
            sequence=json.loads(str(part["sequences"][row])),
            **labels[row],  # type: ignore[arg-type]
        )


def _file(part: dict[str, Any], name: str, row: int) -> bytes:
    ends = part[f"{name}_ends"]
    data: bytes = part[name]
    return data[ends[row - 1] if row else 0 : ends[row]]
