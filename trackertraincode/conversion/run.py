"""The one engine of all converters: worker processes, progress, resuming, summary, provenance.

    Source(items, convert) --tasks in worker processes--> parts of the journal --in order--> DESTINATION
                                                                               --ShardTasks, at once--> its shards

A part stays until the file is complete, for a run that resumes; tasks with a part aren't run again.
"""

import argparse
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, fields
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits
from tqdm import tqdm

from trackertraincode import __version__
from trackertraincode.conversion.digest import Digest
from trackertraincode.conversion.journal import Journal, Skip, need_part
from trackertraincode.conversion.shards import Groups, ShardTask, check_fields, plan_shards, shard_pattern, shard_tasks
from trackertraincode.conversion.summary import print_summary
from trackertraincode.conversion.tasks import Report, Task
from trackertraincode.datasets.dshdf5pose import PoseWriter
from trackertraincode.errors import ArchiveError, ConfigError, UsageError, UserError, WorkerError
from trackertraincode.facemodel.load import head_model_file
from trackertraincode.files import check_outputs, shard_path, whole_file
from trackertraincode.sample.sample import Sample
from trackertraincode.workers import Workers, choose_workers, map_in_order

Item = TypeVar("Item")

MOST_TASKS = 100_000  # of large sources: a scheduler takes a hundred per second, and each has a file in the journal


@dataclass(frozen=True, kw_only=True)
class Source:
    """What a converter module knows of an archive. Everything is picklable: it travels to worker processes."""

    items: Sequence[Any]  # work items, cheap to list, in the order of the file
    convert: Callable[[Any], list[Sample]]  # one item -> its samples; raises UserError to skip it, with the reason
    prepare: Callable[[Sequence[Any]], Sequence[Any]] = list  # items of a task -> what convert gets, for work on many
    beside: Callable[[], Iterable[Path]] = tuple  # files that are read and aren't in what the user named
    face_model: str | None = None  # of shape coefficients
    optional: tuple[str, ...] = ()  # labels that only some samples have
    notes: tuple[str, ...] = field(default=())  # lines to show the user, such as what is missing
    items_per_task: int = 16  # what an interruption can lose, per worker


@dataclass(frozen=True, kw_only=True)
class ConvertOptions:
    """What is the same for all converters."""

    source: Path | None  # None: nothing is read
    destination: Path
    count: int | None = None  # of samples; None: all
    workers: int | None = None  # None: as many as there are cores
    scheduler: str | None = None  # whose workers to take instead
    shards: int | None = None  # files to write instead of one
    resume: bool = False
    strict: bool = False
    overwrite: bool = False
    skipped: Path | None = None  # file to list all that is skipped in

    @staticmethod
    def of(options: argparse.Namespace) -> "ConvertOptions":
        """From a command line with `arguments.add_engine_options`."""
        return ConvertOptions(**{f.name: getattr(options, f.name) for f in fields(ConvertOptions)})


def gathered(items: Sequence[Item], group: Callable[[Item], str]) -> list[Item]:
    """The items of each group one after the other, groups in the order of their first items."""
    first: dict[str, int] = {}
    places = [first.setdefault(group(item), len(first)) for item in items]
    return [items[i] for i in sorted(range(len(items)), key=places.__getitem__)]


def write_samples(destination: Path, samples: Iterator[Sample], provenance: dict[str, Any], source: Source) -> int:
    """Write a sample file; how many samples. The provenance is complete after the last of them."""
    with PoseWriter(destination, source=provenance, face_model=source.face_model, optional=source.optional) as writer:
        for sample in samples:
            writer.write(sample)
    return writer.count


def run_converter(
    options: ConvertOptions,
    name: str,
    source: Source,
    settings: Mapping[str, Any] | None = None,
    write: Callable[[Path, Iterator[Sample], dict[str, Any], Source], int] = write_samples,
) -> int:
    """Convert everything and write the file. Returns the exit code.

    name, settings: of the converter, for the file's provenance. write: makes the file.
    Raises UserError when nothing could be converted, and with `strict` at the first item that can't be; UsageError where
    shards can't be had.
    """
    shards = options.shards or 0
    names = [shard_path(options.destination, number, shards) for number in range(shards)]
    if names and write is not write_samples:
        raise UsageError("--shards: only sample files can be written in shards")
    check_outputs(names, [options.source], overwrite=options.overwrite)
    for note in source.notes:
        print(note)
    provenance = _provenance(options, name, settings or {})
    inputs = [options.source, head_model_file(), *(settings or {}).values()]
    read = [path for path in inputs if isinstance(path, Path)]
    settled = [provenance, source.face_model]
    outputs = [*names, options.skipped]
    journal = Journal.of(options.destination, settled, read, outputs, source.items, source.beside)
    workers = choose_workers(options.workers, options.scheduler, [*read, journal.stamp])
    conversion = _Conversion(options, source, workers, journal, provenance, Digest(options.source))
    started = journal.started(options.resume, options.overwrite, shared=not isinstance(workers, int))
    with threadpool_limits(1, "blas"), started:  # without workers: products are small, and threads wait by spinning
        try:
            with closing(conversion.reports()) as reports:
                if options.shards is None:
                    written = write(options.destination, conversion.samples(reports), provenance, source)
                else:
                    written = conversion.write_shards(reports, options.shards)
        except BaseException as error:
            by_input = isinstance(error, UserError) and not isinstance(error, (WorkerError, ConfigError))
            if journal.is_empty() or by_input:  # other options, such as fewer shards, may do with what is there
                journal.remove()
            else:
                other = "fewer --shards" if isinstance(error, ConfigError) else "the same options"
                print(f"{journal.folder} keeps what is done; the command with {other} and --resume goes on from there.")
            if isinstance(error, UserError):
                conversion.list_skipped()
            raise
        conversion.list_skipped()
        journal.remove()
    conversion.print_end(written)
    return 0


@dataclass(frozen=True)
class _Conversion:
    """What a conversion works with, and what it has met so far."""

    options: ConvertOptions
    source: Source
    workers: Workers
    journal: Journal
    provenance: dict[str, Any]
    digest: Digest
    skips: list[Skip] = field(default_factory=list)
    tagged: list[str] = field(default_factory=list)  # names of images that aren't stored upright

    def reports(self) -> Generator[Report, None, None]:
        """Of all tasks in their order."""
        items, count = self.source.items, self.options.count
        size = max(self.source.items_per_task, -(-len(items) // MOST_TASKS))
        tasks = (
            Task(self.source.convert, items[start : start + size], self.journal.part(number), self.source.prepare)
            for number, start in enumerate(range(0, len(items), size))
        )
        total = len(items) if count is None else min(count, len(items))
        with tqdm(total=total, unit=" samples", desc=self.options.destination.name) as bar:
            for report in map_in_order(Task.run, tasks, self.workers):
                self.digest.begin()  # not before the workers are there: a process with threads must not fork
                if self.options.strict and report.skips:
                    raise UserError(f"{report.skips[0].name}: {report.skips[0].reason} (stopped by --strict)")
                self.skips.extend(report.skips)
                self.tagged.extend(report.tagged)
                bar.update(min(size, total - bar.n))
                yield report

    def samples(self, reports: Iterable[Report]) -> Iterator[Sample]:
        """Those of all parts, as many as are wanted."""
        return self._wanted(sample for report in reports for sample in need_part(report.part).samples)

    def write_shards(self, reports: Iterable[Report], count: int) -> int:
        """Let workers write all shards, then give them their names; how many samples they have."""
        parts: list[tuple[Path, int]] = []
        groups, destination = Groups(), self.options.destination

        def members() -> Iterator[tuple[str | None, int | None]]:
            for report in reports:
                parts.append((report.part, len(report.groups)))
                yield from report.groups

        for sequence, person in self._wanted(members()):
            groups.add(sequence, person)
        tasks = shard_tasks(
            self.journal.folder, destination, parts, plan_shards(groups, count), self.provenance, self.source.face_model,
            self.source.optional,
        )  # fmt: skip
        done = tqdm(map_in_order(ShardTask.run, tasks, self.workers), total=len(tasks), unit=" shards")
        check_fields(tasks, list(done))
        for task in tasks:
            task.path.replace(destination.with_name(task.path.name))
        return len(groups)

    def _wanted(self, samples: Iterator[Item]) -> Iterator[Item]:
        """The first `count`; the provenance is complete after the last. Raises ArchiveError where there is none."""
        sample = None
        for sample in islice(samples, self.options.count):
            yield sample
        if sample is None:
            reason = f" The first of {len(self.skips)} reasons: {self.skips[0].reason}" if self.skips else ""
            name = self.provenance.get("archive", self.provenance["converter"])
            raise ArchiveError(f"{name}: not one sample could be converted; nothing written.{reason}")
        self.provenance["sha256"] = self.digest.result()

    def list_skipped(self) -> None:
        """In a file, where one is wanted."""
        if self.options.skipped is not None:
            lines = "".join(f"{skip.name}\t{skip.reason}\n" for skip in self.skips)
            with whole_file(self.options.skipped) as path:
                path.write_text(lines, encoding="utf-8", errors="backslashreplace")

    def print_end(self, written: int) -> None:
        """How much was written and skipped, and what users may not expect."""
        destination, shards = self.options.destination, self.options.shards
        print_summary(destination if shards is None else shard_pattern(destination, shards), written, self.skips)
        if self.tagged:
            print(
                f"  {len(self.tagged)} images, such as {self.tagged[0]}, have an orientation tag (EXIF). It isn't followed: "
                "labels count pixels as they are stored. The converter of CSV files has --upright for labels that don't."
            )


def _provenance(options: ConvertOptions, name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    given = {key: value for key, value in {**settings, "count": options.count}.items() if value is not None}
    return {
        "converter": name,
        "version": __version__,
        **({} if options.source is None else {"archive": options.source.name}),
        "options": {key: _told(value) for key, value in sorted(given.items())},
    }


def _told(value: Any) -> str:
    """An option's value; of files the names, since their folders say nothing of what is in them."""
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_told, value))
    return value.name if isinstance(value, Path) else str(value)
