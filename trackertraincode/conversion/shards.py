"""A data set in several files: which samples each gets, and how workers write them from the parts of the journal.

sequences, persons --plan_shards--> rows of each --ShardTask.run, in worker processes--> faces-00000-of-00016.h5, …
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from trackertraincode.conversion.journal import need_part
from trackertraincode.datasets.dshdf5pose import PoseWriter
from trackertraincode.datasets.groups import connected
from trackertraincode.datasets.sample_file import SampleFile
from trackertraincode.errors import ConfigError, SampleFormatError
from trackertraincode.files import shard_path


def shard_pattern(destination: Path, count: int) -> Path:
    """faces.h5 -> faces-*-of-00016.h5, which stands for all shards."""
    return destination.with_name(shard_path(destination, 0, count).name.replace("-00000-of-", "-*-of-"))


class Groups:
    """Sequence and person of each sample, as they come: 16 bytes of each."""

    def __init__(self) -> None:
        self._sequences: dict[str, int] = {}
        self._persons: dict[int, int] = {}
        self._pairs = array("q")  # number of the sequence, number of the person, -1 for none

    def __len__(self) -> int:
        return len(self._pairs) // 2

    def add(self, sequence: str | None, person: int | None) -> None:
        """Of one more sample."""
        self._pairs.append(-1 if sequence is None else self._sequences.setdefault(sequence, len(self._sequences)))
        self._pairs.append(-1 if person is None else self._persons.setdefault(person, len(self._persons)))

    def connected(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Sizes (G,) and first rows (G,) of the groups that must stay together, and the group of each sample (N,)."""
        group = connected(*np.frombuffer(self._pairs, np.int64).reshape(-1, 2).T)
        _, first, group, sizes = np.unique(group, return_index=True, return_inverse=True, return_counts=True)
        return sizes, first, group


def plan_shards(groups: Groups, count: int) -> list[np.ndarray]:
    """Rows (n,) of each of `count` shards, rising.

    Shards are as even as can be without a sequence or person in two of them; where these lie one after the other, shards
    do, too. Raises ConfigError where there are fewer groups than shards.
    """
    sizes, first, group = groups.connected()
    if len(sizes) < count:
        raise ConfigError(
            f"--shards {count}: sequences and persons aren't cut, and there {'is' if len(sizes) == 1 else 'are'} only "
            f"{len(sizes)} of them; ask for fewer shards."
        )
    order = np.argsort(first)
    middles = np.cumsum(sizes[order]) - sizes[order] / 2
    number = np.arange(len(sizes))
    wanted = np.maximum((middles * count / len(groups)).astype(np.int64), number - (len(sizes) - count))
    shard = np.empty(len(sizes), np.int64)
    shard[order] = number + np.minimum(np.minimum.accumulate(wanted - number), 0)  # none is left out
    rows = np.argsort(shard[group], kind="stable")
    return np.split(rows, np.cumsum(np.bincount(shard[group], minlength=count))[:-1])


@dataclass(frozen=True)
class ShardTask:
    """One file, for one worker."""

    path: Path  # to write: in the journal, until all are there
    pieces: list[tuple[Path, list[int]]]  # parts, and which of their samples
    provenance: dict[str, Any]
    face_model: str | None
    optional: tuple[str, ...]

    def run(self) -> tuple[str, ...]:
        """Write the file, unless an earlier run did; the fields that it has. Raises WorkerError, SampleFormatError."""
        if self.path.is_file():
            with SampleFile(self.path) as file:
                if file.source == self.provenance and len(file) == sum(len(places) for _, places in self.pieces):
                    return file.fields
        own = self.path.with_name(f"{self.path.stem}-{uuid4().hex}{self.path.suffix}")  # as the journal's parts
        with PoseWriter(own, source=self.provenance, face_model=self.face_model, optional=self.optional) as writer:
            for part, places in self.pieces:
                outcome = need_part(part)
                for place in places:
                    writer.write(outcome.samples[place])
        with SampleFile(own) as file:
            fields = file.fields
        own.replace(self.path)
        return fields


def shard_tasks(
    folder: Path, destination: Path, parts: Sequence[tuple[Path, int]], rows: Sequence[np.ndarray],
    provenance: dict[str, Any], face_model: str | None, optional: tuple[str, ...],
) -> list[ShardTask]:  # fmt: skip
    """One per shard.

    folder: of the journal. parts: in the order of rows, each with its number of samples. rows: (n,) of each shard.
    """
    offsets = np.cumsum([0, *(count for _, count in parts)])
    tasks = []
    for number, wanted in enumerate(rows):
        homes = np.searchsorted(offsets, wanted, side="right") - 1
        starts = np.flatnonzero(np.diff(homes, prepend=-1))
        pieces = [
            (parts[homes[piece[0]]][0], (wanted[piece] - offsets[homes[piece[0]]]).tolist())
            for piece in np.split(np.arange(len(wanted)), starts[1:])
        ]
        about = provenance | {"shard": [number, len(rows)]}
        path = folder / shard_path(destination, number, len(rows)).name
        tasks.append(ShardTask(path, pieces, about, face_model, optional))
    return tasks


def check_fields(tasks: Sequence[ShardTask], fields: Sequence[tuple[str, ...]]) -> None:
    """Raises SampleFormatError where shards don't have the same fields."""
    for task, found in zip(tasks, fields):
        different = set(found) ^ set(fields[0])
        if different:
            raise SampleFormatError(
                f"{task.path.name}: its first sample and that of {tasks[0].path.name} aren't alike: only one has "
                f"{sorted(different)[0]}; a label that only some samples have must be named as optional."
            )
