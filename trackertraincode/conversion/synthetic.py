"""Synthetic faces into files: samples, or archives in the layout of a public data set."""

import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from trackertraincode.conversion.run import ConvertOptions, Source, run_converter
from trackertraincode.errors import UsageError
from trackertraincode.files import whole_file
from trackertraincode.rendering.archives import LAYOUTS, ArchiveFile
from trackertraincode.rendering.generate import FACES_PER_TASK, Request, iter_faces, make_face
from trackertraincode.sample.sample import Sample
from trackertraincode.workers import choose_workers


def write_faces(request: Request, destination: Path, workers: int | None, **options: Any) -> None:
    """Make a sample file or an archive; it has its name only when it is complete.

    options: more of ConvertOptions. An archive has no shards and begins anew. Raises UsageError where it should have some.
    """
    common = ConvertOptions(source=None, destination=destination, workers=workers, **options)
    if request.format == "hdf5":
        settings = {"count": request.count, "size": request.size, "seed": request.seed}
        source = Source(
            items=range(request.count), convert=partial(_render, request), face_model=request.head,
            items_per_task=FACES_PER_TASK,
        )  # fmt: skip
        run_converter(common, "make_synthetic_data", source, settings)
        return
    if common.shards is not None:
        raise UsageError("--shards: only sample files can be written in shards")
    faces = iter_faces(request, choose_workers(workers, common.scheduler))
    members = LAYOUTS[request.format](iter(tqdm(faces, total=request.count, unit=" faces", desc=destination.name)))
    write_archive(destination, members)


def _render(request: Request, index: int) -> list[Sample]:
    return [make_face(request, index).sample]


def write_archive(destination: Path, members: Iterator[ArchiveFile]) -> None:
    """A zip file, with the same bytes at any time."""
    with whole_file(destination) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for member in members:  # images and .mat files are compressed already
            info = zipfile.ZipInfo(member.name, date_time=(2020, 1, 1, 0, 0, 0))
            archive.writestr(info, member.data)
