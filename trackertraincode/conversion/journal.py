"""What an interrupted conversion keeps: the outcome of each task in a file, complete or not there at all.

    DESTINATION.parts/run.json, 000000.part, 000001.part, ...

A part: CRC-32 of the rest, length of a JSON header, the header, then the bytes of its arrays and images in order. NumPy's
.npz would be half as much code, but takes 0.5 ms per sample instead of 0.1: a third of what some samples take in all.
"""

import json
import shutil
import stat
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from itertools import chain
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from trackertraincode.conversion.archive import files_below, is_junk
from trackertraincode.errors import ConfigError, UserError, WorkerError
from trackertraincode.files import files_of, locked, resolved
from trackertraincode.sample.sample import Sample

_LOCK, _STAMP = "lock", "run.json"
_PREFIX = struct.Struct("<II")  # checksum, header length


@dataclass(frozen=True)
class Skip:
    """An item that gave no sample."""

    name: str
    reason: str


@dataclass(frozen=True)
class Outcome:
    """What a task's items gave."""

    samples: list[Sample]
    skips: list[Skip]


@dataclass(frozen=True)
class Journal:
    """The folder of parts."""

    folder: Path
    fingerprint: str  # of source and options: a resumed run must have the same
    read: Callable[[], Iterable[Path]] = tuple  # files of the source

    @staticmethod
    def of(
        destination: Path,
        settings: Any,
        inputs: Sequence[Path],
        outputs: Iterable[Path | None],
        items: Iterable[Any],
        beside: Callable[[], Iterable[Path]] = tuple,
    ) -> "Journal":
        """Of a run with such settings. outputs: besides the destination. beside: files that are read besides the inputs."""
        files = files_read(inputs, [destination, *outputs])

        def read() -> Iterable[Path]:
            return chain(files, beside())

        return Journal(destination.with_name(destination.name + ".parts"), fingerprint(settings, read(), items), read)

    @contextmanager
    def started(self, resume: bool, overwrite: bool, *, shared: bool = False) -> Iterator[None]:
        """Make the folder, or with resume accept the earlier run's; no other process has it at the same time.

        shared: with workers of other users, who may write here if they may beside the destination. Raises ConfigError
        when the earlier run had another source, of which it names a file that is newer, or other options; UserError when
        another process is at work or, without overwrite, when the folder is somebody else's.
        """
        stamp, lock = self.stamp, self.folder / _LOCK
        begun = stamp.is_file() or lock.is_file() or not self.folder.exists()
        foreign = not begun and not (self.folder.is_dir() and all(map(_is_left_over, self.folder.iterdir())))
        if foreign and not overwrite:
            raise UserError(f"{self.folder}: is needed for what is done; move what is there away, or use --overwrite.")
        if self.folder.is_file():
            self.folder.unlink()
        self.folder.mkdir(parents=True, exist_ok=True)
        if shared:
            with suppress(OSError):  # it is somebody else's
                self.folder.chmod(stat.S_IMODE(self.folder.parent.stat().st_mode))
        try:
            with locked(lock, f"{self.folder}: another process is converting to this file; wait for it."):
                if not resume or not stamp.is_file():
                    if resume:
                        print(f"{self.folder}: keeps nothing of an earlier run; this one begins at the start")
                    self.remove()
                    unfinished = stamp.with_suffix(".unfinished")
                    unfinished.write_text(self.fingerprint, encoding="utf-8")
                    unfinished.replace(stamp)
                elif stamp.read_text(encoding="utf-8") != self.fingerprint:
                    begun_at = stamp.stat().st_mtime_ns
                    newer = (f" ({path} is newer)" for path in self.read() if _size_and_time(path)[1] > begun_at)
                    raise ConfigError(
                        f"{self.folder}: begun with another archive, image, model or version, or with other options"
                        f"{next(newer, '')}; run without --resume."
                    )
                yield
        finally:
            with suppress(OSError):
                self.folder.rmdir()  # fails where something is kept, or another process is at work

    @property
    def stamp(self) -> Path:
        """The file with the fingerprint."""
        return self.folder / _STAMP

    def part(self, task: int) -> Path:
        """Where the outcome of a task is kept; a worker that still works for an earlier run has another name for it."""
        return self.folder / f"{task:06d}-{zlib.crc32(self.fingerprint.encode()):08x}.part"

    def is_empty(self) -> bool:
        """Whether no task is done."""
        return next(self.folder.glob("*.part"), None) is None

    def remove(self) -> None:
        """Delete all that is kept."""
        for path in self.folder.iterdir():
            if path.name != _LOCK:
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _is_left_over(path: Path) -> bool:
    """Whether a worker that still worked when the run had ended may have written this."""
    return path.suffix in (".part", ".unfinished")


def files_read(inputs: Sequence[Path], outputs: Iterable[Path | None]) -> list[Path]:
    """All files of a run's inputs: themselves, those of patterns, and what archives have that are folders.

    outputs: what the run writes, perhaps in such a folder, with what is kept beside it until then; None isn't written.
    """
    own = tuple(f"{resolved(path)}." for path in outputs if path is not None)
    found = [file for path in inputs for file in files_of(path) if file.is_file()]
    for folder in filter(Path.is_dir, inputs):
        there = resolved(folder)
        for path in sorted(files_below(folder)):
            name = path.relative_to(folder)
            if not is_junk(name.as_posix()) and not f"{there / name}.".startswith(own) and path.is_file():
                found.append(path)
    return found


def fingerprint(settings: Any, files: Iterable[Path], items: Iterable[Any]) -> str:
    """What tells cheaply that a run is the interrupted one: settings, its items, size and time of the files it reads."""
    checksum = 0
    for item in chain(map(_size_and_time, files), [items] if isinstance(items, range) else items):
        checksum = zlib.crc32(str(item).encode(errors="surrogatepass"), checksum)
    return json.dumps([settings, checksum], sort_keys=True)


def _size_and_time(path: Path) -> tuple[int, int]:
    """Bytes and nanoseconds; zeros of a file that isn't there, or is in a place that can't be looked at."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return 0, 0
    return found.st_size, found.st_mtime_ns


def save_part(path: Path, outcome: Outcome) -> None:
    """Write a part under its name when it is complete."""
    contents: list[bytes] = []
    samples = [
        {f.name: _described(value, contents) for f in fields(Sample) if (value := getattr(sample, f.name)) is not None}
        for sample in outcome.samples
    ]
    header = json.dumps({"samples": samples, "skips": [[s.name, s.reason] for s in outcome.skips]}).encode()
    checksum = 0
    for data in (header, *contents):
        checksum = zlib.crc32(data, checksum)
    # Its own name: another worker may do the same task, where a scheduler took this one for dead. A plain file, which
    # the user can read whose command this is, where workers belong to another one.
    own = path.with_name(f"{path.stem}-{uuid4().hex}.unfinished")
    try:
        with own.open("xb") as file:
            file.writelines([_PREFIX.pack(checksum, len(header)), header, *contents])
        own.replace(path)
    except BaseException as error:
        with suppress(OSError):
            own.unlink()
        if isinstance(error, OSError):
            error.filename, error.filename2 = str(path), None
        raise


def load_part(path: Path) -> Outcome | None:
    """The outcome of a task; None when it isn't there or is damaged."""
    if not path.is_file():
        return None
    data = memoryview(path.read_bytes())
    if len(data) < _PREFIX.size:
        return None
    checksum, length = _PREFIX.unpack(data[: _PREFIX.size])
    rest = data[_PREFIX.size :]
    if zlib.crc32(rest) != checksum:
        return None
    header = json.loads(bytes(rest[:length]))
    contents = _Contents(rest[length:])
    samples = [Sample(**{name: contents.take(value) for name, value in s.items()}) for s in header["samples"]]
    return Outcome(samples, [Skip(*pair) for pair in header["skips"]])


def _described(value: Any, contents: list[bytes]) -> Any:
    """What the header says of a value; bytes and arrays are appended to the contents."""
    if isinstance(value, bytes):
        contents.append(value)
        return {"bytes": len(value)}
    if isinstance(value, np.ndarray):
        contents.append(value.tobytes())
        return {"bytes": value.nbytes, "dtype": value.dtype.str, "shape": value.shape}
    return value.item() if isinstance(value, np.generic) else value


def need_part(path: Path) -> Outcome:
    """The outcome of a task that was done. Raises WorkerError where it is gone."""
    outcome = load_part(path)
    if outcome is None:
        raise WorkerError(f"{path}: was removed or damaged before it was used; is the disk all right?")
    return outcome


class _Contents:
    """Values from the bytes behind a header, in order."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._position = 0

    def take(self, described: Any) -> Any:
        """The next value, as `_described` describes it."""
        if not isinstance(described, dict):
            return described
        piece = self._data[self._position : self._position + described["bytes"]]
        self._position += described["bytes"]
        if "dtype" not in described:
            return bytes(piece)
        return np.frombuffer(piece, described["dtype"]).reshape(described["shape"])
