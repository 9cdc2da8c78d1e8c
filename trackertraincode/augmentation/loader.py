"""Whole batches made in worker processes, each a pure function of seed, epoch and step.

(epoch, step) --epoch_plan--> members and rows --HDF5--> JPEG bytes, labels
              --draw_geometry--> maps --warp_crop, move--> Batch: pixels 0…255, labels in [-1, 1]
"""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, wraps
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from trackertraincode.augmentation.crop import (
    Geometry,
    centered_geometry,
    crop_boxes,
    crop_maps,
    crop_squares,
    draw_geometry,
)
from trackertraincode.augmentation.extras import apply_extras
from trackertraincode.augmentation.intensity import augment_image
from trackertraincode.augmentation.presets import Preset
from trackertraincode.augmentation.warp import warp_crop
from trackertraincode.datasets.mixing import Member, epoch_plan
from trackertraincode.errors import SampleFormatError, UserError, WorkerError
from trackertraincode.geometry.affine2d import compose, pixels_to_normalized
from trackertraincode.sample.images import ImageDecodeError
from trackertraincode.sample.moving import move
from trackertraincode.sample.sample import BATCH_LABELS, Batch, make_batch
from trackertraincode.workers import start_worker

GEOMETRY, IMAGE = 10, 11  # what a seed is used for (datasets.mixing uses smaller numbers)

T = TypeVar("T")
Place = tuple[int, int]  # epoch and step


def errors_as_values(make: Callable[[Any, Any], T]) -> Callable[[Any, Any], T | UserError]:
    """For `__getitem__` of data sets of batches: the batch, or the UserError that stands in its way.

    A DataLoader would wrap what a worker raises in a traceback; `checked` raises the value. Workers move batches to shared
    memory here, since where it is full, those behind `__getitem__` would drop the batch, and the trainer wait for ever.
    """

    @wraps(make)
    def get(self: Any, place: Any) -> T | UserError:
        try:
            batch = make(self, place)
            if get_worker_info() is not None:
                tensors: Any = batch.tensors().values() if isinstance(batch, Batch) else batch
                for tensor in tensors:
                    tensor.share_memory_()
        except UserError as error:
            return error
        except RuntimeError as error:
            if "No space left" not in str(error) and "shared memory" not in str(error):
                raise
            return WorkerError(
                "shared memory (/dev/shm) is full, so that loaded batches don't fit; give the container more (docker run "
                "--shm-size 2g), or choose fewer --workers (0 needs none) or a smaller --batchsize."
            )
        return batch

    return get


class TrainBatches(Dataset):
    """Random batches of a mixture: item (epoch, step) is a Batch, or the UserError that stands in its way."""

    def __init__(
        self,
        members: Sequence[Member],
        preset: Preset,
        *,
        batchsize: int,
        samples_per_epoch: int,
        seed: int,
        face_model: str | None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """
        batchsize: over all processes; this one makes the `rank`-th part of it. face_model: the network's; shape
        labels of others aren't used.
        """
        self.members, self.preset, self.seed, self.face_model = members, preset, seed, face_model
        self.batchsize, self.samples_per_epoch = batchsize, samples_per_epoch
        share = batchsize // world_size
        self._part = slice(rank * share, (rank + 1) * share)

    def __len__(self) -> int:
        """Steps per epoch."""
        return max(1, self.samples_per_epoch // self.batchsize)

    @errors_as_values
    def __getitem__(self, place: Place) -> Batch:
        epoch, step = place
        plan = _plan(tuple(self.members), len(self) * self.batchsize, self.seed, epoch)
        entries = plan[step * self.batchsize : (step + 1) * self.batchsize]
        rng = np.random.default_rng([self.seed, GEOMETRY, epoch, step])
        assert self.preset.geometry is not None, "training crops are random"
        geometry = draw_geometry(len(entries), self.preset.geometry, rng).select(self._part)
        numbers = range(step * self.batchsize, (step + 1) * self.batchsize)[self._part]
        rngs = [np.random.default_rng([self.seed, IMAGE, epoch, number]) for number in numbers]
        return load_batch(self.members, entries[self._part], self.preset, geometry, self.face_model, rngs)


class ValidationBatches(Dataset):
    """Every row of every member once, in order, with nothing random; item k is a Batch or a UserError."""

    def __init__(
        self, members: Sequence[Member], preset: Preset, *, batchsize: int, face_model: str | None,
        rank: int = 0, world_size: int = 1,
    ) -> None:  # fmt: skip
        self.members, self.preset, self.face_model = members, preset, face_model
        pairs = [np.stack([np.full(len(m.rows), i), m.rows], axis=1) for i, m in enumerate(members)]
        entries = np.concatenate(pairs)[rank::world_size] if pairs else np.empty((0, 2), np.int64)
        self._batches = [entries[i : i + batchsize] for i in range(0, len(entries), batchsize)]

    def __len__(self) -> int:
        return len(self._batches)

    @errors_as_values
    def __getitem__(self, index: int) -> Batch:
        entries = self._batches[index]
        geometry = centered_geometry(len(entries), self.preset.factor)
        return load_batch(self.members, entries, self.preset, geometry, self.face_model)


class EpochSampler(Sampler):
    """Places (epoch, 0), (epoch, 1), … of the epoch that `epoch_now` tells when an iteration begins.

    It asks, instead of being told by `set_epoch`, since Lightning calls that too late after resuming.
    """

    def __init__(self, steps: int, epoch_now: Callable[[], int]) -> None:
        self.steps, self._epoch_now = steps, epoch_now

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Place]:
        epoch = self._epoch_now()
        return iter([(epoch, step) for step in range(self.steps)])


def make_loader(
    batches: TrainBatches | ValidationBatches,
    workers: int,
    *,
    epoch_now: Callable[[], int] = lambda: 0,
    pin_memory: bool = False,
) -> DataLoader:
    """A DataLoader whose workers make whole batches. epoch_now: of training batches, asked once per iteration."""
    sampler = EpochSampler(len(batches), epoch_now) if isinstance(batches, TrainBatches) else None
    return DataLoader(
        batches,
        batch_size=None,
        sampler=sampler,
        num_workers=workers,
        worker_init_fn=start_worker,
        persistent_workers=workers > 0,  # forked once for all epochs
        pin_memory=pin_memory,
        generator=torch.Generator(),  # its own, so that starting an epoch doesn't move torch's random numbers
    )


def checked(item: T | UserError) -> T:
    """The batch of a loader. Raises the UserError that was met instead."""
    if isinstance(item, UserError):
        raise item
    return item


def load_batch(
    members: Sequence[Member],
    entries: np.ndarray,
    preset: Preset,
    geometry: Geometry,
    face_model: str | None,
    rngs: Sequence[np.random.Generator] | None = None,
) -> Batch:
    """entries (B, 2): member and row. Returns grey or RGB crops as pixels 0…255 and labels in [-1, 1] of the crop.

    rngs: one generator per image for intensities; None for none. Images are uint8, or float32 where intensities were
    changed. Raises SampleFormatError naming file and row.
    """
    images, labels = read_entries(members, entries, face_model)
    boxes = crop_boxes(labels, preset.roi_override)
    _check_boxes(members, entries, boxes)
    maps = crop_maps(crop_squares(boxes, geometry), geometry, preset.size)
    crops = _crop_all(members, entries, images, maps, preset, rngs)
    moved = move(labels, compose(pixels_to_normalized(preset.size, maps.device), maps), face_model)
    _drop_untrained(moved, members, entries)
    return make_batch(
        crops,
        torch.from_numpy(entries[:, 0].astype(np.int64)),
        torch.from_numpy(entries[:, 1].astype(np.int64)),
        torch.tensor([members[m].loss_weight for m in entries[:, 0]]),
        **moved,
    )


def read_entries(
    members: Sequence[Member], entries: np.ndarray, face_model: str | None
) -> tuple[list[bytes], dict[str, Tensor]]:
    """(B, 2) members and rows -> B images, and (B, ...) labels in their pixels, NaN where absent or not to be trained on."""
    count = len(entries)
    images: list[bytes] = [b""] * count
    labels = {name: np.full((count, *shape), np.nan, np.float32) for name, shape in BATCH_LABELS.items()}
    for index, member in enumerate(members):
        places = np.flatnonzero(entries[:, 0] == index)
        if not len(places):
            continue
        rows = entries[places, 1]
        for place, image in zip(places, member.dataset.images(rows)):
            images[place] = image
        for name in BATCH_LABELS:
            if name in member.dataset.labels:
                labels[name][places] = member.dataset.labels[name][rows]
        if not member.depth_known:
            labels["landmarks"][places, :, 2] = np.nan
        if member.dataset.face_model != face_model:
            labels["shape"][places] = np.nan
    return images, {name: torch.from_numpy(values) for name, values in labels.items()}


def _drop_untrained(labels: dict[str, Tensor], members: Sequence[Member], entries: np.ndarray) -> None:
    """Labels that a member has but doesn't train become NaN; they were needed until here, for the crop."""
    for index, member in enumerate(members):
        rows = torch.from_numpy(entries[:, 0] == index)
        for name in BATCH_LABELS:
            if name not in member.labels:
                labels[name][rows] = torch.nan


def _crop_all(
    members: Sequence[Member],
    entries: np.ndarray,
    images: Sequence[bytes],
    maps: Tensor,
    preset: Preset,
    rngs: Sequence[np.random.Generator] | None,
) -> Tensor:
    """(B, C, S, S)."""
    shape = (len(images), preset.size, preset.size, *((3,) if preset.color else ()))
    changed = preset.intensity and rngs is not None
    crops = np.empty(shape, np.float32 if changed else np.uint8)
    for i, (data, affine) in enumerate(zip(images, maps)):
        try:
            crop = warp_crop(data, affine, preset.size, color=preset.color)
        except ImageDecodeError as error:
            path = members[entries[i, 0]].dataset.path
            raise SampleFormatError(
                f"{path}: data set 'images', row {entries[i, 1]} doesn't decode ({error}); convert the archive again."
            ) from error
        if rngs is not None:
            crop = apply_extras(crop, preset.extras, rngs[i])
        crops[i] = augment_image(crop, rngs[i]) if changed and rngs is not None else crop
    tensor = torch.from_numpy(crops)
    return tensor.permute(0, 3, 1, 2).contiguous() if preset.color else tensor[:, None]


def _check_boxes(members: Sequence[Member], entries: np.ndarray, boxes: Tensor) -> None:
    wrong = torch.nonzero(~torch.isfinite(boxes).all(-1) | (boxes[:, 2:] <= boxes[:, :2]).any(-1))
    if len(wrong):
        member, row = entries[int(wrong[0])]
        box = [round(v, 1) for v in boxes[int(wrong[0])].tolist()]
        raise SampleFormatError(
            f"{members[member].dataset.path}: row {row} has no usable face box or landmarks to crop (found {box}); "
            "check the file with scripts/dscheck.py and take such rows out with scripts/dsfilter.py."
        )


@lru_cache(maxsize=4)
def _plan(members: tuple[Member, ...], samples: int, seed: int, epoch: int) -> np.ndarray:
    return epoch_plan(members, samples, seed, epoch)
