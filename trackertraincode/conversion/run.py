"""The one engine of all converters: worker processes, progress, resuming, summary, provenance.

    Source(items, convert) --tasks in worker processes--> parts of the journal --in order--> DESTINATION

A part stays until the file is complete, for a run that resumes; tasks with a part aren't run again.
"""

import argparse
import json
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, fields
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from tqdm import tqdm

from trackertraincode import __version__
from trackertraincode.conversion.digest import Digest
from trackertraincode.conversion.journal import Journal, Outcome, Skip, load_part, save_part
from trackertraincode.datasets.dshdf5pose import PoseWriter
from trackertraincode.errors import ArchiveError, SampleFormatError, UserError, WorkerError
from trackertraincode.files import whole_file
from trackertraincode.sample.images import ImageDecodeError, orientation
from trackertraincode.sample.sample import Sample
from trackertraincode.workers import Workers, choose_workers, map_in_order

Item = TypeVar("Item")

SHOWN_SKIPS = 5
_VARYING = re.compile(
    r"'[^']*'|[^\s']*[\\/][^\s']*|\S+\.[a-z]\w{1,3}\b|[-+]?\d[\d.e+-]*"
)  # quoted, paths, names, numbers


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

    source: Path
    destination: Path
    count: int | None = None  # of samples; None: all
    workers: int | None = None  # None: as many as there are cores
    scheduler: str | None = None  # whose workers to take instead
    resume: bool = False
    strict: bool = False
    overwrite: bool = False
    skipped: Path | None = None  # file to list all that is skipped in

    @staticmethod
    def of(options: argparse.Namespace) -> "ConvertOptions":
        """From a command line with `cli.add_engine_options`."""
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
    Raises UserError when nothing could be converted, and with `strict` at the first item that can't be.
    """
    for note in source.notes:
        print(note)
    destination = options.destination
    provenance = _provenance(options, name, settings or {})
    fingerprint = provenance | {"size and time": _size_and_time(options.source)}
    journal = Journal(destination.with_name(destination.name + ".parts"), json.dumps(fingerprint, sort_keys=True))
    workers = choose_workers(
        options.workers, options.scheduler, [options.source, journal.stamp, *_paths((settings or {}).values())]
    )
    digest = Digest(options.source)
    skips: list[Skip] = []
    tagged: list[str] = []
    with journal.started(options.resume, options.overwrite):
        try:
            with closing(_all_samples(options, workers, source, journal, digest, skips, tagged)) as samples:
                taken = _at_least_one(islice(samples, options.count), provenance, digest, skips)
                written = write(destination, taken, provenance, source)
        except BaseException as error:
            if journal.is_empty() or (isinstance(error, UserError) and not isinstance(error, WorkerError)):
                journal.remove()
            else:
                print(f"{journal.folder} keeps what is done; the same command with --resume goes on from there.")
            raise
        finally:
            if options.skipped is not None:
                with whole_file(options.skipped) as path:
                    path.write_text("".join(f"{s.name}\t{s.reason}\n" for s in skips), encoding="utf-8")
        journal.remove()
    print_summary(destination, written, skips)
    if tagged:
        print(
            f"  {len(tagged)} images, such as {tagged[0]}, have an orientation tag (EXIF). It isn't followed: labels count "
            "pixels as they are stored. The converter of CSV files has --upright for labels that don't."
        )
    return 0


def _all_samples(
    options: ConvertOptions,
    workers: Workers,
    source: Source,
    journal: Journal,
    digest: Digest,
    skips: list[Skip],
    tagged: list[str],
) -> Generator[Sample, None, None]:
    """The samples of all tasks in their order.

    Skipped items are appended to `skips`, names of images that aren't stored upright to `tagged`.
    """
    tasks = [
        Task(source.convert, source.items[start : start + source.items_per_task], journal.part(number), source.prepare)
        for number, start in enumerate(range(0, len(source.items), source.items_per_task))
    ]
    total = len(source.items) if options.count is None else min(options.count, len(source.items))
    with tqdm(total=total, unit=" samples", desc=options.destination.name) as bar:
        for task, _ in zip(tasks, map_in_order(Task.run, tasks, workers)):
            digest.begin()  # not before the workers are there: a process with threads must not fork
            outcome = load_part(task.part)
            if outcome is None:
                raise WorkerError(f"{task.part}: was removed or damaged before it was used; is the disk all right?")
            if options.strict and outcome.skips:
                raise UserError(f"{outcome.skips[0].name}: {outcome.skips[0].reason} (stopped by --strict)")
            skips += outcome.skips
            bar.update(min(len(task.items), total - bar.n))
            for sample in outcome.samples:
                if orientation(sample.image) != 1:
                    tagged.append(sample.name)
                yield sample


@dataclass(frozen=True)
class Task:
    """Some items for one worker, and the journal's part for what they give."""

    convert: Callable[[Any], list[Sample]]
    items: Sequence[Any]
    part: Path
    prepare: Callable[[Sequence[Any]], Sequence[Any]] = list

    def run(self) -> None:
        """Convert the items and write the part, unless an earlier run did."""
        if load_part(self.part) is not None:
            return
        outcome = Outcome([], [])
        for item, prepared in zip(self.items, self.prepare(self.items), strict=True):
            try:
                samples = self.convert(prepared)
                for sample in samples:
                    check_labels(sample)
                outcome.samples.extend(samples)
            except (ArchiveError, ImageDecodeError, SampleFormatError) as error:
                outcome.skips.append(Skip(str(item), str(error)))
        save_part(self.part, outcome)


def check_labels(sample: Sample) -> None:
    """Raise ArchiveError for labels that can't be: not finite, no size, a box whose edges are swapped.

    A negative head size stays: AFLW2000-3D has one, and rows are counted; evaluation leaves it out.
    """
    for attribute in ("rotation", "head", "face_box", "landmarks", "landmarks_2d", "shape"):
        value = getattr(sample, attribute)
        if value is not None and not np.isfinite(value[..., :2] if attribute == "landmarks" else value).all():
            raise ArchiveError(f"{sample.name}: {attribute} holds NaN or infinite numbers.")
    if sample.head is not None and sample.head[2] == 0:
        raise ArchiveError(f"{sample.name}: head size is 0.")
    if sample.face_box is not None:
        x0, y0, x1, y1 = sample.face_box
        if not (x1 > x0 and y1 > y0):
            raise ArchiveError(f"{sample.name}: face box {[float(v) for v in sample.face_box]} is empty.")


def _at_least_one(
    samples: Iterator[Sample], provenance: dict[str, Any], digest: Digest, skips: list[Skip]
) -> Iterator[Sample]:
    """All of them; the provenance is complete after the last. Raises ArchiveError where there is none."""
    sample = None
    for sample in samples:
        yield sample
    if sample is None:
        reason = f" The first of {len(skips)} reasons: {skips[0].reason}" if skips else ""
        raise ArchiveError(f"{provenance['archive']}: not one sample could be converted; nothing written.{reason}")
    provenance["sha256"] = digest.result()


def _provenance(options: ConvertOptions, name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    given = {key: value for key, value in {**settings, "count": options.count}.items() if value is not None}
    return {
        "converter": name,
        "version": __version__,
        "archive": options.source.name,
        "options": {key: str(value) for key, value in sorted(given.items())},
    }


def _paths(values: Iterable[Any]) -> list[Path]:
    return [value for value in values if isinstance(value, Path)]


def _size_and_time(path: Path) -> list[int] | None:
    """What tells cheaply that an archive is the one of an interrupted run; None for a folder."""
    if not path.is_file():
        return None
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def print_summary(destination: Path, written: int, skips: list[Skip]) -> None:
    """How many samples were written and skipped, and why; the counts of all lines add up to those skipped."""
    print(f"{destination}: {written} samples written, {len(skips)} skipped")
    kinds: dict[str, list[Skip]] = {}
    for skip in skips:
        kinds.setdefault(kind_of(skip), []).append(skip)
    groups = sorted(kinds.values(), key=len, reverse=True)
    rest = [skip for group in groups[SHOWN_SKIPS:] for skip in group]
    for group in groups[:SHOWN_SKIPS]:
        print(f"  {len(group)} skipped, such as {group[0].reason}")
    if rest:
        others = len(groups) - SHOWN_SKIPS
        print(f"  {len(rest)} skipped, such as {rest[0].reason} ({others} other reasons; --skipped FILE lists all)")


def kind_of(skip: Skip) -> str:
    """The reason without names, paths and numbers, which differ between items."""
    return _VARYING.sub("…", skip.reason.removeprefix(skip.name))
