"""One batch: faces of a mixture as crops and normalised labels. `draw` has all the random lines, the rest is pure.

members and rows --prepare--> maps, labels in [-1, 1] --load_batch: JPEG bytes, warp, intensities--> PackedBatch
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trackertraincode.augmentation.crop import (
    Geometry,
    crop_boxes,
    crop_maps,
    crop_squares,
    draw_geometry,
    trained_boxes,
)
from trackertraincode.augmentation.crop_cache import CropCache, plan_kept, warp_kept
from trackertraincode.augmentation.extras import apply_extras
from trackertraincode.augmentation.intensity import Changes, change_images, draw_changes, early_tables, tabled
from trackertraincode.augmentation.presets import Preset
from trackertraincode.augmentation.units import channels_first
from trackertraincode.augmentation.warp import Warp, plan_warps, warp_planned
from trackertraincode.datasets.hdf5_images import decoding
from trackertraincode.datasets.mixing import Member
from trackertraincode.errors import SampleFormatError
from trackertraincode.facemodel.landmarks68 import is_flat
from trackertraincode.geometry.affine2d import compose, pixels_to_normalized
from trackertraincode.sample.moving import move
from trackertraincode.sample.packed import PackedBatch, pack_values
from trackertraincode.sample.sample import BATCH_LABELS

GEOMETRY, INTENSITY, EXTRA = 10, 11, 12  # what a seed is used for (datasets.mixing uses smaller numbers)


@dataclass(frozen=True)
class Drawn:
    """Random numbers of B faces; None where nothing is random."""

    geometry: Geometry
    changes: Changes | None = None
    extras: np.ndarray | None = None  # (B,) np.random.SeedSequence of a generator for each image

    def select(self, rows: slice | np.ndarray) -> "Drawn":
        """Some of the faces. rows: a slice, or (n,) numbers."""
        changes = None if self.changes is None else self.changes.select(rows)
        extras = None if self.extras is None else self.extras[rows]
        return Drawn(self.geometry.select(rows), changes, extras)


def draw(preset: Preset, count: int, seed: Sequence[int]) -> Drawn:
    """Of `count` faces, which is cheaper the more they are."""
    assert preset.geometry is not None, "training crops are random"
    geometry = draw_geometry(count, preset.geometry, np.random.default_rng([*seed, GEOMETRY]))
    changes = draw_changes(count, np.random.default_rng([*seed, INTENSITY])) if preset.intensity else None
    extras = np.array(np.random.SeedSequence([*seed, EXTRA]).spawn(count)) if preset.extras else None
    return Drawn(geometry, changes, extras)


@dataclass(frozen=True)
class Prepared:
    """How B faces become crops, and all numbers of them."""

    entries: np.ndarray  # (B, 2) member and row
    maps: Tensor  # (B, 2, 3) image pixels to crop pixels
    warps: list[Warp]  # the same for whole images
    values: Tensor  # (B, WIDTH) as in PackedBatch: labels in [-1, 1] of the crop, of which only trained ones are there
    tables: np.ndarray | None  # (B, 256) of `early_tables`; None where intensities don't change

    def select(self, rows: slice) -> "Prepared":
        """Some of the faces."""
        tables = None if self.tables is None else self.tables[rows]
        return Prepared(self.entries[rows], self.maps[rows], self.warps[rows], self.values[rows], tables)


def prepare(
    members: Sequence[Member], entries: np.ndarray, preset: Preset, drawn: Drawn, face_model: str | None
) -> Prepared:
    """entries: (B, 2) member and row. Cheaper per face the more they are. Raises SampleFormatError naming file and row."""
    geometry, labels = drawn.geometry, read_labels(members, entries, face_model)
    boxes = crop_boxes(labels, preset.roi_override)
    check_boxes(members, entries, boxes)
    maps = crop_maps(crop_squares(boxes, geometry), geometry, preset.size)
    moved = move(labels, compose(pixels_to_normalized(preset.size), maps), face_model)
    moved["face_box"] = trained_boxes(moved, preset.roi_override)
    _drop_untrained(moved, members, entries)
    place, row = torch.from_numpy(entries).unbind(1)
    weight = torch.tensor([member.loss_weight for member in members])[place]
    dataset = torch.tensor([n if member.number is None else member.number for n, member in enumerate(members)])[place]
    values = pack_values(moved, weight=weight, dataset=dataset, row=row)
    tables = None if drawn.changes is None else early_tables(drawn.changes)
    return Prepared(entries, maps, plan_warps(maps), values, tables)


def load_batch(
    members: Sequence[Member], prepared: Prepared, preset: Preset, drawn: Drawn, caches: Sequence[CropCache] = ()
) -> PackedBatch:
    """Grey or RGB crops, pixels 0…255, uint8, or float32 where intensities were changed.

    caches: one for each member, or none; what isn't in there comes from the images. Raises SampleFormatError naming file
    and row.
    """
    entries = prepared.entries
    kept = _kept(caches, entries, prepared.maps)
    missing = [i for i in range(len(entries)) if i not in kept]
    images = dict(zip(missing, read_images(members, entries[missing])))
    crops = np.empty((len(entries), preset.size, preset.size, *((3,) if preset.color else ())), np.uint8)
    for i in range(len(entries)):
        if i in kept:
            warp_kept(*kept[i], preset.size, out=crops[i])
            continue
        with decoding(members[entries[i, 0]].dataset.path, entries[i, 1]):
            warp_planned(images[i], prepared.warps[i], preset.size, color=preset.color, out=crops[i])
    if drawn.extras is not None:
        for crop, seed in zip(crops, drawn.extras):
            crop[:] = apply_extras(crop, preset.extras, np.random.default_rng(seed))
    values, changes = prepared.values.clone(), drawn.changes  # others are made of the same memory
    if changes is not None and preset.deferred:
        intensity = np.concatenate([tabled(crops, changes, prepared.tables), changes.noise_std[:, None]], axis=1)
        values = torch.cat([values, torch.from_numpy(intensity)], dim=1)
    elif changes is not None:
        crops = change_images(crops, changes, prepared.tables)
    return PackedBatch(channels_first(crops), values)


def _kept(caches: Sequence[CropCache], entries: np.ndarray, maps: Tensor) -> dict[int, tuple[np.ndarray, Warp]]:
    """Crops, and how they become those of the network, by number, of the entries that have one."""
    found: dict[int, tuple[np.ndarray, Warp]] = {}
    for index, places in _of_each_member(entries) if caches else ():
        rows = entries[places, 1]
        inside = caches[index].has(rows)
        places, rows = places[inside], rows[inside]
        warps = plan_kept(caches[index].maps(rows, maps[places]))
        found |= {place: (caches[index].crop(row), warp) for place, row, warp in zip(places.tolist(), rows, warps)}
    return found


def read_images(members: Sequence[Member], entries: np.ndarray) -> list[bytes]:
    """(B, 2) members and rows -> B image files."""
    images: list[bytes] = [b""] * len(entries)
    for index, places in _of_each_member(entries):
        for place, image in zip(places.tolist(), members[index].dataset.images(entries[places, 1])):
            images[place] = image
    return images


def read_labels(members: Sequence[Member], entries: np.ndarray, face_model: str | None) -> dict[str, Tensor]:
    """(B, 2) members and rows -> (B, ...) in pixels of the images, NaN where absent or not to be trained on."""
    labels = {name: np.full((len(entries), *shape), np.nan, np.float32) for name, shape in BATCH_LABELS.items()}
    for index, places in _of_each_member(entries):
        member = members[index]
        for name, values in labels.items():
            if name in member.dataset.labels:
                values[places] = member.dataset.label(name, entries[places, 1])
        points = labels["landmarks"]
        flat = is_flat(points[places]) | (not member.depth_known)
        points[places[flat], :, 2] = np.nan
        if member.dataset.face_model != face_model:
            labels["shape"][places] = np.nan
    return {name: torch.from_numpy(values) for name, values in labels.items()}


def _of_each_member(entries: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Members that occur, each with the places where it does."""
    return [(int(index), np.flatnonzero(entries[:, 0] == index)) for index in np.unique(entries[:, 0])]


def _drop_untrained(labels: dict[str, Tensor], members: Sequence[Member], entries: np.ndarray) -> None:
    """Labels that a member has but doesn't train become NaN; they were needed until here, for the crop."""
    for name, out in untrained(members).items():
        rows = out[entries[:, 0]]
        if rows.any():
            labels[name][torch.from_numpy(rows)] = torch.nan


def untrained(members: Sequence[Member]) -> dict[str, np.ndarray]:
    """Label -> (members,) bool: which don't train it."""
    return {name: np.array([name not in member.labels for member in members]) for name in BATCH_LABELS}


def check_boxes(members: Sequence[Member], entries: np.ndarray, boxes: Tensor) -> None:
    """Raises SampleFormatError for the first row whose (B, 4) box can't be cropped."""
    wrong = torch.nonzero(~torch.isfinite(boxes).all(-1) | (boxes[:, 2:] <= boxes[:, :2]).any(-1))
    if len(wrong):
        member, row = entries[int(wrong[0])]
        box = [round(v, 1) for v in boxes[int(wrong[0])].tolist()]
        raise SampleFormatError(
            f"{members[member].dataset.path}: row {row} has no usable face box or landmarks to crop (found {box}); "
            "check the file with `ttc check` and take such rows out with `ttc filter`."
        )
