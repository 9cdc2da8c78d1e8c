"""Whole images for the localizer: split, augmentation, batches.

    sample file --split--> rows --LocalizerBatches--> images (B, 1, 224, 288) in [-0.5, 0.5], has_face (B,), face_box (B, 4)

Boxes are in [-1, 1] of the image, corner to corner; NaN where there is no face.
"""

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from trackertraincode.augmentation.intensity import augment_image
from trackertraincode.augmentation.loader import errors_as_values
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.errors import SampleFormatError
from trackertraincode.localizer import SIZE
from trackertraincode.localizer.framing import framed, part_filled
from trackertraincode.sample.fields import Kind
from trackertraincode.sample.images import Size, decode
from trackertraincode.sample.places import misplaced

EDGES = np.array(SIZE)
SCALES = (0.7, 1.8)  # of the image, drawn evenly on a logarithmic scale
MAX_FACE_SHARE = 0.75  # of the image's sides: faces aren't enlarged beyond
STRETCH = 0.1  # largest change of the aspect ratio, natural logarithm
BARS_SHARES = (0.2, 0.15)  # of the images get bars of one grey level left and right, above and below, as others' have
MAX_BAR = 0.3  # width of a bar, of the image's edge
GEOMETRY, ORDER, SPLIT = range(3)  # what a seed is used for


class LocalizerBatch(NamedTuple):
    """A batch of images."""

    image: Tensor  # (B, 1, 224, 288) pixel / 255 - 0.5
    has_face: Tensor  # (B,) 0 or 1
    face_box: Tensor  # (B, 4) x0, y0, x1, y1 in [-1, 1]; NaN where there is no face

    def tensors(self) -> dict[str, Tensor]:
        """By name."""
        return self._asdict()


def open_images(path: Path) -> Hdf5PoseDataset:
    """Raises SampleFormatError when the file lacks boxes, flags, or images of either kind."""
    dataset = Hdf5PoseDataset(path, labels=["face_box", "has_face"])
    for attribute, name in (("face_box", "rois"), ("has_face", "hasface")):
        if attribute not in dataset.labels:
            raise SampleFormatError(
                f"{path}: has no field '{name}'; the localizer needs images with and without a face, such as those of "
                "`ttc convert widerface`."
            )
    flags = dataset.labels["has_face"]
    if flags.all() or not flags.any():
        raise SampleFormatError(
            f"{path}: field 'hasface' is {bool(len(flags) and flags[0])} in all {len(flags)} rows; the localizer learns "
            "from images of both kinds."
        )
    boxes = dataset.labels["face_box"]
    for wrong, what in (
        (~np.isfinite(boxes).all(-1), "isn't finite"),
        ((boxes[:, 2:] <= boxes[:, :2]).any(-1), "is empty, or its edges are swapped,"),
    ):
        bad = np.flatnonzero(flags & wrong)
        if len(bad):
            raise SampleFormatError(
                f"{path}: field 'rois', row {bad[0]} (of {len(bad)} bad rows) {what} though 'hasface' says there is a face."
            )
    return dataset


def split(dataset: Hdf5PoseDataset, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(n,) and (m,) rows to train and to validate on; both parts hold images with and without a face.

    Raises SampleFormatError when the file is too small for that.
    """
    flags = dataset.labels["has_face"]
    photograph = photographs(flags)
    count = photograph[-1] + 1
    place = np.random.default_rng([seed, SPLIT]).permutation(count).argsort()[photograph]
    held_out = place < max(1, round(fraction * count))
    for kind in (flags, ~flags):
        if not held_out[kind].any():
            held_out |= place == place[kind].min()
        elif held_out[kind].all():
            held_out &= place != place[kind].max()
    if not all(kind[part].any() for kind in (flags, ~flags) for part in (held_out, ~held_out)):
        raise SampleFormatError(
            f"{dataset.path}: {len(dataset)} rows are too few to hold a part of them out: that part and the rest need images "
            "with and without a face, of different photographs."
        )
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def photographs(has_face: np.ndarray) -> np.ndarray:
    """(N,) flags -> (N,) numbers 0, 1, … that rows share which may be cut out of one photograph.

    An image without a face stays with the one with a face before it, as `ttc convert widerface` writes them. Where more
    follow than do in rows in random order, but for one of N such files, they are backgrounds, each a photograph of its own.
    """
    count = len(has_face)
    longest = 2 * np.log(count) / np.log(count / np.count_nonzero(~has_face))
    group = np.cumsum(has_face)
    long = (np.bincount(group) - 1 > longest)[group]
    first = has_face | (long & ~np.r_[False, has_face[:-1]])
    return np.cumsum(first) - first[0]


class LocalizerBatches(Dataset):
    """Item k, or (epoch, k) of random batches, is a LocalizerBatch, or the UserError that stands in its way."""

    def __init__(self, dataset: Hdf5PoseDataset, rows: np.ndarray, batchsize: int, seed: int | None = None) -> None:
        """seed: of random order and augmentation; None: every row once, in order, as it is."""
        self.dataset, self.rows, self.batchsize, self.seed = dataset, rows, batchsize, seed

    def __len__(self) -> int:
        count = len(self.rows) / self.batchsize
        return max(1, int(count)) if self.seed is not None else int(np.ceil(count))

    @errors_as_values
    def __getitem__(self, place: int | tuple[int, int]) -> LocalizerBatch:
        epoch, step = place if isinstance(place, tuple) else (0, place)
        rows = self.rows
        if self.seed is not None:
            rows = np.random.default_rng([self.seed, ORDER, epoch]).permutation(rows)
        rows = rows[step * self.batchsize : (step + 1) * self.batchsize]
        sources = [decode(data) for data in self.dataset.images(rows)]
        flags, boxes = (self.dataset.labels[name][rows] for name in ("has_face", "face_box"))
        images, moved = [], []
        for row, source, flag, box in zip(rows, sources, flags, boxes):
            known = box if flag else None
            if flag and (wrong := misplaced(Kind.BOX, box, Size(*source.shape[1::-1]))):
                raise SampleFormatError(
                    f"{self.dataset.path}: field 'rois', row {row} {wrong}; leave it out (`ttc check` names all such rows)."
                )
            if self.seed is None:
                image, found = whole_image(source, known)
            else:
                rng = np.random.default_rng([self.seed, GEOMETRY, epoch, row])
                image, found = augmented(source, known, rng)
            images.append(image)
            moved.append(np.full(4, np.nan) if found is None else found)
        values = np.stack(images)[:, None].astype(np.float32) / np.float32(255) - np.float32(0.5)
        normalized = (np.stack(moved) / np.tile(EDGES, 2) * 2 - 1).astype(np.float32)
        return LocalizerBatch(*map(torch.from_numpy, (values, flags.astype(np.float32), normalized)))


def whole_image(source: np.ndarray, box: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
    """(H, W) uint8 -> (224, 288) uint8, with the margins that the tracker gives it, and the box (4,) in its pixels."""
    height, width = source.shape
    inner = part_filled(width, height)
    whole, corner = framed(source, inner)
    return whole, None if box is None else box * np.tile(np.array(inner) / [width, height], 2) + np.tile(corner, 2)


def augmented(
    source: np.ndarray, box: np.ndarray | None, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray | None]:
    """(H, W) uint8 -> (224, 288) float32 grey levels, and the box (4,) in its pixels, cut to the image.

    Scaled, stretched, shifted, mirrored, intensities changed, bars drawn. A face that was inside stays inside.
    """
    size = np.array(source.shape[::-1])
    low, high = np.log(SCALES)
    factors = np.exp(rng.uniform(low, high) + rng.uniform(-STRETCH / 2, STRETCH / 2) * np.array([1, -1]))
    factors *= np.array(part_filled(*size)) / EDGES
    if box is not None:
        share = float(((box[2:] - box[:2]) / size * factors).max())
        factors *= min(1.0, MAX_FACE_SHARE / max(share, 1e-6))
    scaled_size = np.maximum(1, np.round(EDGES * factors)).astype(int)
    ratio = scaled_size / size
    kind = cv2.INTER_AREA if ratio.max() < 1 else cv2.INTER_LINEAR
    scaled = cv2.resize(source, scaled_size.tolist(), interpolation=kind)
    room = scaled_size - EDGES
    first, last = np.minimum(room, 0).astype(float), np.maximum(room, 0).astype(float)
    if box is not None:
        moved = box * np.tile(ratio, 2)
        inside = np.maximum(first, moved[2:] - EDGES), np.minimum(last, moved[:2])
        fits = inside[0] <= inside[1]
        first, last = np.where(fits, inside[0], first), np.where(fits, inside[1], last)
    corner = np.round(rng.uniform(first, last))
    shift = np.array([[1.0, 0.0, -corner[0]], [0.0, 1.0, -corner[1]]])
    image = cv2.warpAffine(scaled, shift, SIZE, flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    found = None if box is None else np.clip(moved - np.tile(corner, 2), 0, np.tile(EDGES, 2))
    if rng.random() < 0.5:
        image = np.ascontiguousarray(image[:, ::-1])
        if found is not None:
            found = np.array([EDGES[0] - found[2], found[1], EDGES[0] - found[0], found[3]])
    for axis, share in enumerate(BARS_SHARES):
        if rng.random() < share:
            image = with_bars(image, found, axis, rng)
    return augment_image(image, rng), found


def with_bars(image: np.ndarray, box: np.ndarray | None, axis: int, rng: np.random.Generator) -> np.ndarray:
    """A copy of (224, 288) uint8 with equal bars that leave the box (4,) free. axis: 0 left and right, 1 above and below."""
    edge = EDGES[axis]
    room = MAX_BAR * edge if box is None else min(MAX_BAR * edge, box[axis], edge - box[2 + axis])
    width = round(float(rng.uniform(0, max(0.0, room))))
    level = 0 if rng.random() < 0.6 else int(rng.integers(256))
    padding = [(width, width), (0, 0)] if axis else [(0, 0), (width, width)]
    inner = image[width : edge - width] if axis else image[:, width : edge - width]
    return np.pad(inner, padding, constant_values=level)
