"""Synthetic faces into files: samples, or archives in the layout of a public data set."""

import zipfile
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from trackertraincode import __version__
from trackertraincode.datasets.dshdf5pose import PoseWriter
from trackertraincode.files import whole_file
from trackertraincode.rendering.archives import LAYOUTS, ArchiveFile
from trackertraincode.rendering.generate import Request, iter_faces
from trackertraincode.workers import Workers


def write_faces(request: Request, destination: Path, workers: Workers) -> None:
    """Make a sample file or an archive; it has its name only when it is complete."""
    faces = tqdm(iter_faces(request, workers), total=request.count, unit=" faces", desc=destination.name)
    if request.format == "hdf5":
        source = {"converter": "make_synthetic_data", "version": __version__, "seed": request.seed}
        with PoseWriter(destination, source=source, face_model=request.head) as writer:
            for face in faces:
                writer.write(face.sample)
        return
    write_archive(destination, LAYOUTS[request.format](iter(faces)))


def write_archive(destination: Path, members: Iterator[ArchiveFile]) -> None:
    """A zip file, with the same bytes at any time."""
    with whole_file(destination) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for member in members:  # images and .mat files are compressed already
            info = zipfile.ZipInfo(member.name, date_time=(2020, 1, 1, 0, 0, 0))
            archive.writestr(info, member.data)
