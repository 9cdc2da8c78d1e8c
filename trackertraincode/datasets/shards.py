"""Several files as one data set: the rows of one file after those of another, without joining them.

faces-*.h5 --files_of--> faces-00000-of-00016.h5, … --ShardedFile--> what a SampleFile gives, for all rows
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from trackertraincode.datasets.sample_file import NO_INDEX, Rows, SampleFile
from trackertraincode.errors import SampleFormatError
from trackertraincode.files import files_of

OPEN_SHARDS = 64  # at once; systems allow some hundreds of open files per process


class ShardedFile:
    """A context manager like SampleFile, for files that have the same fields. Rows count over all of them."""

    def __init__(self, path: Path, files: list[Path]) -> None:
        """path: the pattern, for messages. Raises SampleFormatError when a file can't be opened or has other fields."""
        self.path = path
        self._files = files
        self._open: OrderedDict[int, SampleFile] = OrderedDict()
        try:
            first = self._shard(0)
            self.fields, self.face_model, self.source = first.fields, first.face_model, first.source
            self._offsets = np.zeros(len(files) + 1, np.int64)  # first row of each file, the number of rows last
            unknown: dict[str, None] = {}
            for number in range(len(files)):
                shard = self._shard(number)
                self._check_like_first(shard)
                self._offsets[number + 1] = self._offsets[number] + len(shard)
                unknown |= dict.fromkeys(shard.unknown)
            self.unknown = tuple(unknown)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "ShardedFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return int(self._offsets[-1])

    def close(self) -> None:
        """Close all files."""
        while self._open:
            self._open.popitem()[1].close()

    def _shard(self, number: int) -> SampleFile:
        """One file, open; the one that was asked for longest ago is closed where there are many."""
        if number not in self._open:
            if len(self._open) == OPEN_SHARDS:
                self._open.popitem(last=False)[1].close()
            self._open[number] = SampleFile(self._files[number])
        self._open.move_to_end(number)
        return self._open[number]

    def _check_like_first(self, shard: SampleFile) -> None:
        different = set(shard.fields) ^ set(self.fields)
        if different:
            first = self._files[0]
            has, lacks = (shard.path, first) if different & set(shard.fields) else (first, shard.path)
            raise SampleFormatError(
                f"{self.path}: {has.name} has {sorted(different)[0]}, which {lacks.name} lacks; files of one data set have "
                "the same fields: convert them again, or join them with `ttc join`."
            )
        sources = [
            {k: v for k, v in file.source.items() if k != "shard"}
            for file in (shard, self._shard(0))
            if "shard" in file.source
        ]
        if len(sources) == 2 and sources[0] != sources[1]:
            raise SampleFormatError(
                f"{self.path}: {shard.path.name} and {self._files[0].name} are shards of different runs, by what they say of "
                "themselves; write all of them again, or copy all of one run here."
            )
        if "shape" in self.fields and shard.face_model != self.face_model:
            raise SampleFormatError(
                f"{self.path}: {shard.path.name} has coefficients of {shard.face_model}, {self._files[0].name} of "
                f"{self.face_model}; convert them with the same --face-model."
            )

    @property
    def labels(self) -> tuple[str, ...]:
        """Attributes that are arrays of numbers."""
        return self._shard(0).labels

    @cached_property
    def starts(self) -> np.ndarray | None:
        """(S + 1,) int64 as that of one file; no sequence crosses a border. Raises SampleFormatError."""
        found = [self._shard(number).starts for number in range(len(self._files))]
        known = [starts for starts in found if starts is not None]
        if not known:
            return None
        if len(known) < len(found):
            lacks = self._files[next(i for i, starts in enumerate(found) if starts is None)]
            raise SampleFormatError(
                f"{self.path}: {lacks.name} has no sequences, unlike others of these files; convert them again, or join "
                "them with `ttc join`."
            )
        shifted = [starts[:-1] + offset for starts, offset in zip(known, self._offsets)]
        return np.concatenate([*shifted, self._offsets[-1:]])

    def name(self, attribute: str) -> str:
        """HDF5 name of a field in the first file."""
        return self._shard(0).name(attribute)

    def layout(self, attribute: str) -> str:
        """In words, of the first file."""
        return self._shard(0).layout(attribute)

    def check(self, attribute: str) -> None:
        """Raises SampleFormatError when a field's shape or type isn't that of the format in one of the files."""
        for number in range(len(self._files)):
            self._shard(number).check(attribute)

    def shares(self, attribute: str) -> bool:
        """As SampleFile's; persons are looked at all together."""
        return attribute != "individual" and all(self._shard(n).shares(attribute) for n in range(len(self._files)))

    def check_rotations(self) -> None:
        """As SampleFile's."""
        for number in range(len(self._files)):
            self._shard(number).check_rotations()

    def raw(self, attribute: str, rows: Rows | None = None, exact: bool = False) -> np.ndarray:
        """(n, ...) as SampleFile's."""
        return self._gathered(lambda shard, rows: shard.raw(attribute, rows, exact), rows)

    def label(self, attribute: str, rows: Rows | None = None, exact: bool = False) -> np.ndarray:
        """(n, ...) as SampleFile's. All rows at once: raises SampleFormatError when a person is in two files."""
        values = self._gathered(lambda shard, rows: shard.label(attribute, rows, exact), rows)
        if attribute == "individual" and rows is None:
            self._check_persons(values)
        return values

    def images(self, rows: Rows, attribute: str = "image") -> list[bytes]:
        """As SampleFile's: of the given rows, in their order."""
        images: list[bytes] = [b""] * len(rows)
        for shard, places, local in self._parts(rows):
            for place, image in zip(places, shard.images(local, attribute)):
                images[place] = image
        return images

    def image_files(self) -> list[Path]:
        """As SampleFile's."""
        return [file for number in range(len(self._files)) for file in self._shard(number).image_files()]

    def _gathered(self, read: Callable[[SampleFile, Rows], np.ndarray], rows: Rows | None) -> np.ndarray:
        """What `read` gives of each file, in the order of the rows; copied once, so that memory is that of one file."""
        rows = range(len(self)) if rows is None else rows
        result: np.ndarray | None = None
        for shard, places, local in self._parts(rows):
            values = read(shard, local)
            if result is None:
                result = np.empty((len(rows), *values.shape[1:]), values.dtype)
            result[places] = values
        return read(self._shard(0), range(0)) if result is None else result

    def _parts(self, rows: Rows) -> Iterator[tuple[SampleFile, Any, Rows]]:
        """Of each file that is needed: the file, places among `rows`, and rows of the file, ranges where they are one."""
        if isinstance(rows, range) and rows.step == 1:
            for number, (low, high) in enumerate(zip(self._offsets[:-1].tolist(), self._offsets[1:].tolist())):
                first, last = max(low, rows.start), min(high, rows.stop)
                if first < last:
                    places = np.arange(first - rows.start, last - rows.start)
                    yield self._shard(number), places, range(first - low, last - low)
            return
        wanted = np.asarray(rows, np.int64)
        numbers = np.searchsorted(self._offsets, wanted, side="right") - 1
        for number in np.unique(numbers).tolist():
            places = np.flatnonzero(numbers == number)
            yield self._shard(number), places, wanted[places] - self._offsets[number]

    def _check_persons(self, persons: np.ndarray) -> None:
        """persons: (N,) of all rows."""
        files = np.repeat(np.arange(len(self._files)), np.diff(self._offsets))
        known = persons != NO_INDEX
        names, first = np.unique(persons[known], return_index=True)
        home = files[known][first][np.searchsorted(names, persons[known])]  # file that each row's person is first in
        crossing = np.flatnonzero(home != files[known])
        if len(crossing):
            row = crossing[0]
            one, other = self._files[home[row]].name, self._files[files[known][row]].name
            raise SampleFormatError(
                f"{self.path}: person {persons[known][row]} is in {one} and in {other}, so persons to validate on can't be "
                "held out; join the files with `ttc join`, which gives each its own numbers."
            )


Samples = SampleFile | ShardedFile


def open_samples(path: Path) -> Samples:
    """A file of samples, or with * or ? in its name all such files. Raises SampleFormatError."""
    files = files_of(path)
    return SampleFile(path) if files == [path] else ShardedFile(path, files)
