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

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from trackertraincode import __version__
from trackertraincode.conversion.digest import Digest
from trackertraincode.conversion.journal import Journal, Outcome, Skip, fingerprint, load_part, need_part, save_part
from trackertraincode.conversion.shards import Groups, ShardTask, check_fields, plan_shards, shard_pattern, shard_tasks
from trackertraincode.conversion.summary import print_summary
from trackertraincode.datasets.dshdf5pose import PoseWriter
from trackertraincode.errors import ArchiveError, SampleFormatError, UsageError, UserError, WorkerError
from trackertraincode.facemodel.load import head_model_file
from trackertraincode.files import check_outputs, shard_path, whole_file
from trackertraincode.sample.fields import Kind
from trackertraincode.sample.images import ImageDecodeError, orientation
from trackertraincode.sample.sample import BATCH_LABELS, LABELS, Sample
from trackertraincode.workers import Workers, choose_workers, map_in_order

Item = TypeVar("Item")

MOST_TASKS = 100_000  # of large sources: a scheduler takes a hundred per second, and each has a file in the journal
LARGEST = 1e6  # of a label: pixels of an edge, and more than enough for what isn't counted in pixels
CHECKED = [name for name in BATCH_LABELS if LABELS[name].kind is not Kind.FLAG]


@dataclass(frozen=True, kw_only=True)
class Source:
    """What a converter module knows of an archive. Everything is picklable: it travels to worker processes."""

    items: Sequence[Any]  # work items, cheap to list, in the order of the file
    convert: Callable[[Any], list[Sample]]  # one item -> its samples; raises UserError to skip it, with the reason
    prepare: Callable[[Sequence[Any]], Sequence[Any]] = list  # items of a task -> what convert gets, for work on many
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
    destination = options.destination if options.shards is None else shard_pattern(options.destination, shards)
    provenance = _provenance(options, name, settings or {})
    inputs = [options.source, head_model_file(), *(settings or {}).values()]
    read = [path for path in inputs if isinstance(path, Path)]
    journal = Journal(
        options.destination.with_name(options.destination.name + ".parts"),
        fingerprint([provenance, source.face_model], read, source.items),
    )
    workers = choose_workers(options.workers, options.scheduler, [*read, journal.stamp])
    digest = Digest(options.source)
    skips, tagged = list[Skip](), list[str]()
    started = journal.started(options.resume, options.overwrite, shared=not isinstance(workers, int))
    with threadpool_limits(1, "blas"), started:  # without workers: products are small, and threads wait by spinning
        try:
            with closing(_reports(options, workers, source, journal, digest, skips, tagged)) as reports:
                if options.shards is None:
                    taken = _at_least_one(islice(_samples(reports), options.count), provenance, digest, skips)
                    written = write(destination, taken, provenance, source)
                else:
                    written = _write_shards(options, workers, source, journal, reports, provenance, digest, skips)
        except BaseException as error:
            if journal.is_empty() or (isinstance(error, UserError) and not isinstance(error, WorkerError)):
                journal.remove()
            else:
                print(f"{journal.folder} keeps what is done; the same command with --resume goes on from there.")
            raise
        finally:
            if options.skipped is not None:
                with whole_file(options.skipped) as path:
                    path.write_text(
                        "".join(f"{s.name}\t{s.reason}\n" for s in skips), encoding="utf-8", errors="backslashreplace"
                    )
        journal.remove()
    print_summary(destination, written, skips)
    if tagged:
        print(
            f"  {len(tagged)} images, such as {tagged[0]}, have an orientation tag (EXIF). It isn't followed: labels count "
            "pixels as they are stored. The converter of CSV files has --upright for labels that don't."
        )
    return 0


@dataclass(frozen=True)
class Report:
    """What a task says of its part."""

    part: Path
    skips: list[Skip]
    tagged: list[str]  # names of images that aren't stored upright
    groups: list[tuple[str | None, int | None]]  # sequence and person of each sample


def _reports(
    options: ConvertOptions,
    workers: Workers,
    source: Source,
    journal: Journal,
    digest: Digest,
    skips: list[Skip],
    tagged: list[str],
) -> Generator[Report, None, None]:
    """Of all tasks in their order. Skipped items are appended to `skips`, names of tagged images to `tagged`."""
    size = max(source.items_per_task, -(-len(source.items) // MOST_TASKS))
    tasks = (
        Task(source.convert, source.items[start : start + size], journal.part(number), source.prepare)
        for number, start in enumerate(range(0, len(source.items), size))
    )
    total = len(source.items) if options.count is None else min(options.count, len(source.items))
    with tqdm(total=total, unit=" samples", desc=options.destination.name) as bar:
        for report in map_in_order(Task.run, tasks, workers):
            digest.begin()  # not before the workers are there: a process with threads must not fork
            if options.strict and report.skips:
                raise UserError(f"{report.skips[0].name}: {report.skips[0].reason} (stopped by --strict)")
            skips += report.skips
            tagged += report.tagged
            bar.update(min(size, total - bar.n))
            yield report


def _samples(reports: Iterable[Report]) -> Iterator[Sample]:
    """The samples of all parts."""
    for report in reports:
        yield from need_part(report.part).samples


def _write_shards(
    options: ConvertOptions, workers: Workers, source: Source, journal: Journal, reports: Iterator[Report],
    provenance: dict[str, Any], digest: Digest, skips: list[Skip],
) -> int:  # fmt: skip
    """Let workers write all shards, then give them their names; how many samples they have."""
    assert options.shards is not None
    parts: list[tuple[Path, int]] = []
    groups = Groups()

    def add() -> Iterator[tuple[str | None, int | None]]:
        for report in reports:
            parts.append((report.part, len(report.groups)))
            yield from report.groups

    for sequence, person in _at_least_one(islice(add(), options.count), provenance, digest, skips):
        groups.add(sequence, person)
    tasks = shard_tasks(
        journal.folder, options.destination, parts, plan_shards(groups, options.shards), provenance, source.face_model,
        source.optional,
    )  # fmt: skip
    done = tqdm(map_in_order(ShardTask.run, tasks, workers), total=len(tasks), unit=" shards")
    check_fields(tasks, list(done))
    for task in tasks:
        task.path.replace(options.destination.with_name(task.path.name))
    return len(groups)


@dataclass(frozen=True)
class Task:
    """Some items for one worker, and the journal's part for what they give."""

    convert: Callable[[Any], list[Sample]]
    items: Sequence[Any]
    part: Path
    prepare: Callable[[Sequence[Any]], Sequence[Any]] = list

    def run(self) -> Report:
        """Convert the items and write the part, unless an earlier run did."""
        outcome = load_part(self.part)
        if outcome is None:
            outcome = self._convert()
            save_part(self.part, outcome)
        return Report(
            self.part,
            outcome.skips,
            [sample.name for sample in outcome.samples if orientation(sample.image) != 1],
            [(sample.sequence, sample.individual) for sample in outcome.samples],
        )

    def _convert(self) -> Outcome:
        outcome = Outcome([], [])
        for item, prepared in zip(self.items, self.prepare(self.items), strict=True):
            try:
                samples = self.convert(prepared)
                for sample in samples:
                    check_labels(sample)
                outcome.samples.extend(samples)
            except (ArchiveError, ImageDecodeError, SampleFormatError) as error:
                outcome.skips.append(Skip(str(item), str(error)))
        return outcome


def check_labels(sample: Sample) -> None:
    """Raise ArchiveError for labels that can't be: not finite, far too large, no size, a box whose edges are swapped.

    A negative head size stays: AFLW2000-3D has one, and rows are counted; evaluation leaves it out.
    """
    for attribute in CHECKED:
        value = getattr(sample, attribute)
        if value is not None and not np.isfinite(value[..., :2] if attribute == "landmarks" else value).all():
            raise ArchiveError(f"{sample.name}: {attribute} holds NaN or infinite numbers.")
        if value is not None and (np.abs(value) > LARGEST).any():
            largest = np.nanmax(np.abs(value))
            raise ArchiveError(f"{sample.name}: {attribute} holds {largest:.3g}; no image has so many pixels.")
    if sample.head is not None and sample.head[2] == 0:
        raise ArchiveError(f"{sample.name}: head size is 0.")
    if sample.face_box is not None:
        x0, y0, x1, y1 = sample.face_box
        if not (x1 > x0 and y1 > y0):
            raise ArchiveError(f"{sample.name}: face box {[float(v) for v in sample.face_box]} is empty.")


def _at_least_one(
    samples: Iterator[Item], provenance: dict[str, Any], digest: Digest, skips: list[Skip]
) -> Iterator[Item]:
    """All of them; the provenance is complete after the last. Raises ArchiveError where there is none."""
    sample = None
    for sample in samples:
        yield sample
    if sample is None:
        reason = f" The first of {len(skips)} reasons: {skips[0].reason}" if skips else ""
        name = provenance.get("archive", provenance["converter"])
        raise ArchiveError(f"{name}: not one sample could be converted; nothing written.{reason}")
    provenance["sha256"] = digest.result()


def _provenance(options: ConvertOptions, name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    given = {key: value for key, value in {**settings, "count": options.count}.items() if value is not None}
    return {
        "converter": name,
        "version": __version__,
        **({} if options.source is None else {"archive": options.source.name}),
        "options": {key: str(value) for key, value in sorted(given.items())},
    }
