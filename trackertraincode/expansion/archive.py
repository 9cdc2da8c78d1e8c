"""Expanded faces as an archive in the layout of 300W-LP, for the tools that read that."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from trackertraincode.conversion.run import Source
from trackertraincode.conversion.synthetic import write_archive
from trackertraincode.errors import UserError
from trackertraincode.rendering.archives import RenderedFace, members_300wlp
from trackertraincode.sample.sample import Sample

COPY = re.compile(r" copy \d+$")  # as `expand.copies` ends names; a file's own name may have it, too
NEEDED = {"face_box": "rois", "shape": "shapeparams", "landmarks": "pt3d_68"}


def write_300wlp(destination: Path, samples: Iterator[Sample], provenance: dict[str, Any], source: Source) -> int:
    """One person per original, numbered; how many images. Raises UserError for samples that the layout can't hold."""
    return write_archive(destination, members_300wlp(_numbered(samples, source.face_model or "")))


def _numbered(samples: Iterator[Sample], face_model: str) -> Iterator[RenderedFace]:
    """Samples as faces of the layout, numbered from the originals on."""
    person, number = -1, 0
    for sample in samples:
        missing = [NEEDED[a] for a in NEEDED if getattr(sample, a) is None]
        if missing:
            raise UserError(f"{sample.name}: has no {missing[0]}, which the layout 300wlp needs; use --format hdf5.")
        is_copy = COPY.search(sample.name) is not None
        person, number = (person, number + 1) if is_copy else (person + 1, 0)
        assert sample.landmarks is not None
        yield RenderedFace(replace(sample, landmarks_2d=sample.landmarks[:, :2]), person, number, face_model)
