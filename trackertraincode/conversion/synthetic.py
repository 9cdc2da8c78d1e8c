"""Synthetic faces into files: samples, or archives in the layout of a public data set."""

import zipfile
from collections.abc import Iterator
from functools import partial
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

from trackertraincode.conversion.run import ConvertOptions, Source, run_converter, write_samples
from trackertraincode.facemodel.load import version_of_head
from trackertraincode.files import whole_file
from trackertraincode.rendering.archives import LAYOUTS, ArchiveFile, RenderedFace
from trackertraincode.rendering.generate import FACES_PER_TASK, Request, make_face
from trackertraincode.sample.sample import Sample


def write_faces(request: Request, destination: Path, workers: int | None, **options: Any) -> None:
    """Make a sample file or an archive; it has its name only when it is complete.

    options: more of ConvertOptions. Raises UsageError where an archive should have shards.
    """
    common = ConvertOptions(source=None, destination=destination, workers=workers, **options)
    settings = {
        "count": request.count, "size": request.size, "seed": request.seed, "format": request.format,
        **version_of_head(request.head),
    }  # fmt: skip
    source = Source(
        items=range(request.count), convert=partial(_render, request), face_model=request.head,
        items_per_task=FACES_PER_TASK,
    )  # fmt: skip
    write = write_samples if request.format == "hdf5" else partial(_write_layout, request.format)
    run_converter(common, "make_synthetic_data", source, settings, write)


def _render(request: Request, index: int) -> list[Sample]:
    return [make_face(request, index).sample]


def _write_layout(
    layout: str, destination: Path, samples: Iterator[Sample], provenance: dict[str, Any], source: Source
) -> int:
    """As `write_samples`."""
    faces = (
        RenderedFace(sample, person, number, source.face_model or "")
        for person, images in groupby(samples, key=attrgetter("individual"))
        for number, sample in enumerate(images)
    )
    return write_archive(destination, LAYOUTS[layout](faces))


def write_archive(destination: Path, members: Iterator[ArchiveFile]) -> int:
    """A zip file, with the same bytes at any time; how many images it has."""
    images = 0
    with whole_file(destination) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for member in members:  # images and .mat files are compressed already
            info = zipfile.ZipInfo(member.name, date_time=(2020, 1, 1, 0, 0, 0))
            archive.writestr(info, member.data)
            images += member.name.endswith(".jpg")
    return images
