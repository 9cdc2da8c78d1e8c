"""Rows of sample files that are odd or damaged, made from rendered faces with 2-D landmarks and a box."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from close import known
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.facemodel.landmarks68 import FLIP_ORDER
from trackertraincode.sample.images import decode, encode_jpeg, encode_png
from trackertraincode.sample.sample import Sample

LABELS = ("rotation", "head", "landmarks", "shape", "segmentation", "has_face")


def bare(sample: Sample, **changes: Any) -> Sample:
    """With 2-D landmarks and box only."""
    labels: dict[str, Any] = dict.fromkeys(LABELS)
    return replace(sample, **labels, sequence=None, individual=None, **changes)


def _pixels(sample: Sample) -> np.ndarray:
    assert isinstance(sample.image, bytes)
    return decode(sample.image, color=True)


def _scaled(sample: Sample, factor: float) -> Sample:
    image = cv2.resize(_pixels(sample), None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    box, points = known(sample.face_box) * factor, known(sample.landmarks_2d) * factor
    return bare(sample, image=image, face_box=box, landmarks_2d=points)


def _second_face(sample: Sample) -> Sample:
    """The right one of two faces in an image."""
    image, right = _pixels(sample), np.array([96.0, 0.0])
    both = np.concatenate([image[:, ::-1], image], axis=1)
    box = known(sample.face_box) + np.tile(right, 2)
    return bare(sample, image=both, face_box=box.astype(np.float32), landmarks_2d=known(sample.landmarks_2d) + right)


def _cut(sample: Sample) -> bytes:
    assert isinstance(sample.image, bytes)
    return sample.image[: len(sample.image) // 2]


def _with_hole(sample: Sample) -> bytes:
    assert isinstance(sample.image, bytes)
    data = bytearray(sample.image)
    data[len(data) // 2 : len(data) // 2 + 40] = b"\xff\xd0" * 20
    return bytes(data)


def _with_gap(sample: Sample) -> Sample:
    return bare(sample, landmarks_2d=np.where(np.arange(68)[:, None] == 3, np.nan, known(sample.landmarks_2d)))


def _upside_down(sample: Sample) -> Sample:
    box = 96.0 - known(sample.face_box)[[2, 3, 0, 1]]
    return bare(sample, image=_pixels(sample)[::-1, ::-1], landmarks_2d=96.0 - known(sample.landmarks_2d), face_box=box)


def _shuffled(points: np.ndarray) -> np.ndarray:
    return points[np.random.default_rng(1).permutation(len(points))]


ODD: dict[str, tuple[Callable[[Sample], Sample], bool, bool]] = {  # -> row, whether landmarks, whether image can be used
    "usual": (bare, True, True),
    "grey": (lambda s: bare(s, image=encode_jpeg(cv2.cvtColor(_pixels(s), cv2.COLOR_RGB2GRAY))), True, True),
    "a PNG file": (lambda s: bare(s, image=encode_png(_pixels(s))), True, True),
    "40 pixels": (lambda s: _scaled(s, 0.7), True, True),
    "huge": (lambda s: _scaled(s, 16.0), True, True),
    "of two faces": (_second_face, True, True),
    "no landmarks": (lambda s: bare(s, landmarks_2d=None), False, True),
    "off the face": (lambda s: bare(s, landmarks_2d=known(s.landmarks_2d) + 300.0), False, True),
    "with a gap": (_with_gap, False, False),
    "in one place": (lambda s: bare(s, landmarks_2d=np.full((68, 2), 50.0)), False, True),
    "left and right swapped": (lambda s: bare(s, landmarks_2d=known(s.landmarks_2d)[FLIP_ORDER]), False, True),
    "in no order": (lambda s: bare(s, landmarks_2d=_shuffled(known(s.landmarks_2d))), False, True),
    "no box": (lambda s: bare(s, face_box=None), True, False),
    "a box far outside": (lambda s: bare(s, face_box=known(s.face_box) + np.float32(1e4)), False, False),
    "a box without end": (lambda s: bare(s, face_box=np.array([-1e7, -1e7, 1e7, 1e7], np.float32)), False, False),
    "landmarks without end": (lambda s: bare(s, landmarks_2d=known(s.landmarks_2d) * 1e6 - 5e7, face_box=None), False, False),
    "cut off": (lambda s: bare(s, image=_cut(s)), False, False),
    "with a hole": (lambda s: bare(s, image=_with_hole(s)), False, False),
    "no image": (lambda s: bare(s, image=b"\xff\xd8\xff letters"), False, False),
    "upside down": (_upside_down, True, True),
}  # fmt: skip


def rows_of(path: Path) -> Iterator[Sample]:
    with Hdf5PoseDataset(path) as dataset:
        yield from dataset
