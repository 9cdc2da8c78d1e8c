"""Equality of samples, and labels that are there."""

from dataclasses import fields, replace
from typing import TypeVar

import numpy as np
import torch

from trackertraincode.geometry.rotation import quat_geodesic_angle
from trackertraincode.sample.moving import to_centres
from trackertraincode.sample.sample import Sample

T = TypeVar("T")


def known(value: T | None) -> T:
    """A label that the sample of a test has; those of users may lack any."""
    assert value is not None
    return value


def assert_samples_equal(a: Sample, b: Sample) -> None:
    """Bit by bit, in all that is stored; names say where a sample was read from."""
    for field in fields(Sample):
        left, right = getattr(a, field.name), getattr(b, field.name)
        if field.name == "name":
            continue
        if isinstance(left, np.ndarray) and isinstance(right, np.ndarray):
            assert left.dtype == right.dtype, field.name
            assert np.array_equal(left, right, equal_nan=True), field.name
        else:
            assert left == right, field.name


def as_archives_count(sample: Sample) -> Sample:
    """The same labels with points and heads counted from the centre of the first pixel."""
    return replace(sample, **to_centres({f.name: getattr(sample, f.name) for f in fields(Sample)}))


def angles_between(one: list[Sample], other: list[Sample]) -> np.ndarray:
    """(B,) degrees between the rotations of samples."""
    pair = (
        torch.from_numpy(np.stack([s.rotation for s in side if s.rotation is not None])).double()
        for side in (one, other)
    )
    return torch.rad2deg(quat_geodesic_angle(*pair)).numpy()
