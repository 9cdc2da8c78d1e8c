"""Whole batches made on the device from kept crops and labels that lie there: nothing is loaded while training runs.

    epoch_plan, draw (host, many steps at once) --> DeviceFaces.batch: gather, warp, tables, noise, labels --> Batch

The same rows, maps and tables as of loaders with the same seed; noise is another draw. Nothing here waits for the device.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from trackertraincode.augmentation.batches import Drawn, load_batch, prepare, read_labels, untrained
from trackertraincode.augmentation.crop import (
    Geometry,
    centered_geometry,
    crop_boxes,
    crop_maps,
    crop_squares,
    trained_boxes,
)
from trackertraincode.augmentation.crop_cache import HALVED_BELOW, CropCache, halved, kept_maps
from trackertraincode.augmentation.intensity import apply_tables, tabled_on_device
from trackertraincode.augmentation.loader import DRAWN_STEPS, TrainBatches
from trackertraincode.augmentation.presets import Preset
from trackertraincode.augmentation.replayed import Replayed
from trackertraincode.datasets.mixing import Member
from trackertraincode.errors import ConfigError, SampleFormatError
from trackertraincode.geometry import affine2d
from trackertraincode.geometry.pixels import HALF_PIXEL
from trackertraincode.sample.moving import move
from trackertraincode.sample.sample import Batch, make_batch


@dataclass(frozen=True)
class DrawnThere:
    """Random numbers of B faces on the device."""

    geometry: Geometry
    changes: tuple[Tensor, Tensor, Tensor] | None  # steps (B, 4), parameters (B, 4), standard deviations of noise (B,)

    @classmethod
    def of(cls, drawn: Drawn, device: torch.device) -> "DrawnThere":
        """Sent without waiting."""
        numbers = {name: send(value, device) for name, value in vars(drawn.geometry).items() if value is not None}
        if drawn.changes is None:
            return cls(replace(drawn.geometry, **numbers), None)
        steps, parameters, noise_std = (
            send(torch.from_numpy(values), device)
            for values in (drawn.changes.steps, drawn.changes.parameters, drawn.changes.noise_std)
        )
        return cls(replace(drawn.geometry, **numbers), (steps, parameters, noise_std))

    def tensors(self) -> list[Tensor]:
        """All numbers, (faces, ...) each."""
        return [value for value in vars(self.geometry).values() if value is not None] + list(self.changes or ())

    def filled(self, numbers: Sequence[Tensor]) -> "DrawnThere":
        """Others, (faces, ...) each, in their places, in the order of `tensors`."""
        names = [name for name, value in vars(self.geometry).items() if value is not None]
        geometry = replace(self.geometry, **dict(zip(names, numbers)))
        changes = tuple(numbers[len(names) :])
        return DrawnThere(geometry, (changes[0], changes[1], changes[2]) if changes else None)

    def select(self, rows: slice) -> "DrawnThere":
        """Some of the faces."""
        if self.changes is None:
            return DrawnThere(self.geometry.select(rows), None)
        steps, parameters, noise_std = self.changes
        return DrawnThere(self.geometry.select(rows), (steps[rows], parameters[rows], noise_std[rows]))


def send(values: Tensor, device: torch.device) -> Tensor:
    """Of any shape, to a GPU through page-locked memory, so that nothing waits."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values.to(device)


class DeviceFaces:
    """Crops and labels of all rows that are trained on, as tensors on one device."""

    def __init__(
        self, members: Sequence[Member], caches: Sequence[CropCache], preset: Preset, face_model: str | None,
        device: torch.device,
    ) -> None:  # fmt: skip
        """Raises SampleFormatError for rows that can't be cropped."""
        self.preset, self._face_model, self.device = preset, face_model, device
        entries = np.concatenate([np.stack([np.full(len(m.rows), i), m.rows], 1) for i, m in enumerate(members)])
        _check_kept(members, caches, entries, preset)
        self._first = np.cumsum([0, *(len(member.rows) for member in members)])
        self._order = [np.argsort(member.rows) for member in members]
        self._rows = [member.rows[order] for member, order in zip(members, self._order)]
        levels = _two_levels(members, caches, 3 if preset.color else 1)
        size = sum(len(blob) for blob in levels.blobs)
        if device.type == "cuda" and size > torch.cuda.mem_get_info(device)[0]:
            raise ConfigError(
                f"cache=device: the crops take {size / 1e9:.1f} GB, more than the device has free; choose --cache-quality "
                "small, or --cache ram."
            )
        self._blob = torch.empty(size, dtype=torch.uint8, device=device)
        begin = 0
        for blob in levels.blobs:
            self._blob[begin:][: len(blob)] = blob
            begin += len(blob)
        self._offset, self._size = levels.offset.to(device), levels.size.to(device)
        table = np.concatenate([cache.table[member.rows] for member, cache in zip(members, caches)])
        self._scale, self._corner = (
            torch.from_numpy(table[name].astype(np.float32)).to(device) for name in ("scale", "corner")
        )
        labels = read_labels(members, entries, face_model)
        self._boxes = crop_boxes(labels, preset.roi_override).to(device)
        self._labels = {name: values.to(device) for name, values in labels.items()}
        self._dataset, self._row = (torch.from_numpy(entries[:, k]).to(device) for k in range(2))
        self._weight = torch.tensor([member.loss_weight for member in members], device=device)
        self._untrained = {name: torch.from_numpy(out).to(device) for name, out in untrained(members).items()}

    def places(self, plan: np.ndarray) -> Tensor:
        """(n, 2) member and row -> (n,) places of these faces, on the host."""
        found = np.empty(len(plan), np.int64)
        for index in np.unique(plan[:, 0]).tolist():
            chosen = plan[:, 0] == index
            inside = np.searchsorted(self._rows[index], plan[chosen, 1])
            found[chosen] = self._first[index] + self._order[index][inside]
        return torch.from_numpy(found)

    def batch(self, places: Tensor, drawn: "DrawnThere") -> Batch:
        """(B,) places and random numbers, both on the device -> pixels 0…255 and labels in [-1, 1], as from loaders."""
        size = self.preset.size
        maps = crop_maps(crop_squares(self._boxes[places], drawn.geometry), drawn.geometry, size)
        image = self.crops(places, maps).round()
        if drawn.changes is not None:
            steps, parameters, noise_std = drawn.changes
            image, tables = tabled_on_device(image, steps, parameters)
            image = apply_tables(image, torch.cat([tables, noise_std[:, None]], dim=1))
        normalized = affine2d.compose(affine2d.pixels_to_normalized(size, self.device), maps)
        moved = move({name: values[places] for name, values in self._labels.items()}, normalized, self._face_model)
        moved["face_box"] = trained_boxes(moved, self.preset.roi_override)
        dataset = self._dataset[places]
        for name, out in self._untrained.items():
            rows = out[dataset].reshape(-1, *[1] * (moved[name].ndim - 1))
            moved[name] = torch.where(rows, torch.nan, moved[name])
        return make_batch(image, dataset, self._row[places], self._weight[dataset], **moved)

    def crops(self, places: Tensor, maps: Tensor) -> Tensor:
        """(B,) places, (B, 2, 3) maps of image pixels to crop pixels -> (B, C, S, S) float32, bilinear, black outside."""
        size, channels = self.preset.size, 3 if self.preset.color else 1
        kept = kept_maps(maps, self._corner[places], self._scale[places])
        level = (affine2d.scale_of(kept) < HALVED_BELOW).long()
        offset, limits = self._offset[places, level][:, None], self._size[places, level]
        middle = torch.arange(size, device=self.device) + HALF_PIXEL
        points = torch.stack(torch.meshgrid(middle, middle, indexing="xy"), -1).reshape(1, -1, 2)
        back = affine2d.invert(kept) / (1 + level)[:, None, None]
        source = affine2d.move_points(back, points.expand(len(places), -1, 2)) - HALF_PIXEL
        low = source.floor()
        share, (x, y) = source - low, low.long().unbind(-1)
        width, height = limits[:, :1], limits[:, 1:]
        colors = torch.arange(channels, device=self.device)[:, None]
        result = torch.zeros(len(places), channels, size * size, device=self.device)
        for right in (0, 1):
            for down in (0, 1):
                column, line = x + right, y + down
                inside = (column >= 0) & (column < width) & (line >= 0) & (line < height)
                part = torch.where(inside, _factor(share[..., 0], right) * _factor(share[..., 1], down), 0.0)
                pixel = offset + torch.where(inside, line * width + column, 0) * channels
                result += part[:, None] * self._blob[pixel[:, None] + colors]
        return result.reshape(len(places), channels, size, size)


def _factor(share: Tensor, other: int) -> Tensor:
    return share if other else 1.0 - share


class _Levels(NamedTuple):
    """Kept crops of n faces and the same at half their size."""

    blobs: list[Tensor]  # one after the other: crops of each cache once, then halved ones
    offset: Tensor  # (n, 2) int64: where the crop begins in them, and where the halved one
    size: Tensor  # (n, 2, 2) int64: width and height of both


def _two_levels(members: Sequence[Member], caches: Sequence[CropCache], channels: int) -> _Levels:
    blobs = {id(cache): cache.blob for cache in caches}
    begins = dict(zip(blobs, np.cumsum([0, *(len(blob) for blob in blobs.values())]).tolist()))
    tables = [cache.table[member.rows] for member, cache in zip(members, caches)]
    offset = np.concatenate([table["offset"] + begins[id(cache)] for table, cache in zip(tables, caches)])
    size = np.concatenate([table["size"] for table in tables]).astype(np.int64)
    counts = (size // 2).prod(-1) * channels
    ends = np.cumsum(counts)
    halves = np.empty(ends[-1], np.uint8)
    crops = (cache.crop(row) for member, cache in zip(members, caches) for row in member.rows.tolist())
    for crop, count, end in zip(crops, counts.tolist(), ends.tolist()):
        halves[end - count : end] = halved(crop).ravel()
    start = sum(len(blob) for blob in blobs.values()) + ends - counts
    return _Levels(
        [*blobs.values(), torch.from_numpy(halves)],
        torch.from_numpy(np.stack([offset, start], 1)),
        torch.from_numpy(np.stack([size, size // 2], 1)),
    )


def _check_kept(members: Sequence[Member], caches: Sequence[CropCache], entries: np.ndarray, preset: Preset) -> None:
    for index, (member, cache) in enumerate(zip(members, caches)):
        missing = member.rows[~cache.has(member.rows)]
        if len(missing):
            drawn = Drawn(centered_geometry(1, preset.factor))
            prepared = prepare(members, np.array([[index, missing[0]]]), preset, drawn, None)
            load_batch(members, prepared, preset, drawn)  # says what is wrong with it
            raise SampleFormatError(
                f"{member.dataset.path}: row {missing[0]} shows too little of a face to be kept; take such rows out with "
                "`ttc filter`, or train with --cache disk."
            )


class DeviceBatches:
    """Batches of an epoch, made on the device as they are asked for; on a GPU, as one recorded piece of work."""

    def __init__(
        self, batches: TrainBatches, faces: DeviceFaces, epoch_now: Callable[[], int], *, compiled: bool = False
    ) -> None:
        self._batches, self._faces, self._epoch_now = batches, faces, epoch_now
        make = torch.compile(faces.batch) if compiled else faces.batch
        self._make = _recorded(make) if faces.device.type == "cuda" else make

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Batch]:
        epoch, faces, batches = self._epoch_now(), self._faces, self._batches
        places = send(faces.places(batches.plan(epoch)), faces.device)
        for step in range(len(self)):
            if step % DRAWN_STEPS == 0:
                drawn = DrawnThere.of(batches.drawn(epoch, step), faces.device)
            yield self._make(places[batches.part(step)], drawn.select(batches.part(step % DRAWN_STEPS)))


def _recorded(make: Callable[[Tensor, DrawnThere], Batch]) -> Callable[[Tensor, DrawnThere], Batch]:
    """The same function; its some nine hundred operations are started as one."""
    made: list[str] = []  # names of what it returns

    def flat(places: Tensor, *numbers: Tensor) -> list[Tensor]:
        tensors = make(places, like[0].filled(numbers)).tensors()
        made[:] = tensors
        return list(tensors.values())

    replayed, like = Replayed(flat), list[DrawnThere]()

    def call(places: Tensor, drawn: DrawnThere) -> Batch:
        like[:] = [drawn]
        tensors = replayed(places, *drawn.tensors())
        return make_batch(**dict(zip(made, tensors)))

    return call
