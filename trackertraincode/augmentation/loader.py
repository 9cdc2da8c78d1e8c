"""Whole batches made in worker processes, each a pure function of seed, epoch and step.

(epoch, step) --epoch_plan--> members and rows --prepare, some steps at once--> maps, labels --load_batch--> PackedBatch
"""

import os
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from typing import Any, TypeVar

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from trackertraincode.augmentation.batches import Drawn, Prepared, draw, load_batch, prepare
from trackertraincode.augmentation.crop import centered_geometry
from trackertraincode.augmentation.crop_cache import CropCache
from trackertraincode.augmentation.presets import Preset
from trackertraincode.datasets.mixing import Member, epoch_plan
from trackertraincode.errors import UserError, WorkerError
from trackertraincode.sample.packed import PackedBatch
from trackertraincode.workers import sigterm_waits, start_worker

NICENESS = 10  # of loaders that yield
DRAWN_STEPS = 32  # whose random numbers are drawn at once
PREPARED_ROWS = 2048  # at most, at once

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
                tensors: Any = batch
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
    """Random batches of a mixture: item (epoch, step) is a PackedBatch, or the UserError that stands in its way."""

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
        caches: Sequence[CropCache] = (),
    ) -> None:
        """
        batchsize: over all processes; this one makes the `rank`-th part of it. face_model: the network's; shape
        labels of others aren't used. caches: of each member, or none.
        """
        self.members, self.preset, self.seed, self.face_model = members, preset, seed, face_model
        self.batchsize, self.samples_per_epoch = batchsize, samples_per_epoch
        share = batchsize // world_size
        self._caches = caches
        self._part = slice(rank * share, (rank + 1) * share)
        self._planned: tuple[int, np.ndarray] | None = None  # an epoch and its plan
        self._drawn: tuple[Place, Drawn] | None = None  # an epoch, a block of its steps, and their random numbers
        self._prepared: dict[Place, Prepared] = {}

    def __len__(self) -> int:
        """Steps per epoch."""
        return max(1, self.samples_per_epoch // self.batchsize)

    @errors_as_values
    def __getitem__(self, place: Place) -> PackedBatch:
        epoch, step = place
        drawn = self.drawn(epoch, step).select(self.part(step % DRAWN_STEPS))
        return load_batch(self.members, self.prepared(epoch, step), self.preset, drawn, self._caches)

    def prepared(self, epoch: int, step: int) -> Prepared:
        """What this process's samples of a step are; made with those of the next steps that this worker is asked for."""
        if (epoch, step) not in self._prepared:
            worker = get_worker_info()
            last = min(len(self), step // DRAWN_STEPS * DRAWN_STEPS + DRAWN_STEPS)
            steps = range(step, last, worker.num_workers if worker else 1)
            share = self._part.stop - self._part.start
            steps = steps[: max(1, PREPARED_ROWS // share)]
            plan, drawn = self.plan(epoch), self.drawn(epoch, step)
            entries = np.concatenate([plan[self.part(s)] for s in steps])
            places = np.concatenate([np.r_[self.part(s % DRAWN_STEPS)] for s in steps])
            made = prepare(self.members, entries, self.preset, drawn.select(places), self.face_model)
            self._prepared = {(epoch, s): made.select(slice(k * share, (k + 1) * share)) for k, s in enumerate(steps)}
        return self._prepared[epoch, step]

    def part(self, step: int) -> slice:
        """Which of the samples of step 0, 1, … are this process's."""
        return slice(step * self.batchsize + self._part.start, step * self.batchsize + self._part.stop)

    def drawn(self, epoch: int, step: int) -> Drawn:
        """Random numbers of the DRAWN_STEPS steps of which `step` is one."""
        block = step // DRAWN_STEPS
        if self._drawn is None or self._drawn[0] != (epoch, block):
            self._drawn = (epoch, block), draw(self.preset, DRAWN_STEPS * self.batchsize, [self.seed, epoch, block])
        return self._drawn[1]

    def plan(self, epoch: int) -> np.ndarray:
        """(samples, 2) member and row of each sample of an epoch, all processes together."""
        if self._planned is None or self._planned[0] != epoch:
            self._planned = epoch, epoch_plan(self.members, len(self) * self.batchsize, self.seed, epoch)
        return self._planned[1]


class ValidationBatches(Dataset):
    """Every row of every member once, in order, with nothing random; item k is a PackedBatch or a UserError."""

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
    def __getitem__(self, index: int) -> PackedBatch:
        entries = self._batches[index]
        drawn = Drawn(centered_geometry(len(entries), self.preset.factor))
        prepared = prepare(self.members, entries, self.preset, drawn, self.face_model)
        return load_batch(self.members, prepared, self.preset, drawn)


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


class Loader(DataLoader):
    """Its processes leave the end of a training to their parent."""

    def __iter__(self) -> Any:
        with sigterm_waits():
            return super().__iter__()


def make_loader(
    batches: TrainBatches | ValidationBatches,
    workers: int,
    *,
    epoch_now: Callable[[], int] = lambda: 0,
    device: str | None = None,
) -> DataLoader:
    """A DataLoader whose workers make whole batches.

    epoch_now: of training batches, asked once per iteration. device: type of the one that trains: "cuda" gets pinned
    memory, and "cpu" has its cores before the workers.
    """
    sampler = EpochSampler(len(batches), epoch_now) if isinstance(batches, TrainBatches) else None
    return Loader(
        batches,
        batch_size=None,
        sampler=sampler,
        num_workers=workers,
        worker_init_fn=start_of_workers(device),
        persistent_workers=workers > 0,  # forked once for all epochs
        pin_memory=device == "cuda",
        generator=torch.Generator(),  # its own, so that starting an epoch doesn't move torch's random numbers
    )


def start_of_workers(device: str | None) -> Callable[[int], None]:
    """What the processes begin with that load for a network on such a device, the type of one."""
    return _start_yielding if device == "cpu" else start_worker


def _start_yielding(index: int) -> None:
    """Begin a process that loads on the cores that the network computes on, whose threads go first.

    A loader that takes a core from one of them lets all of them wait, while batches lie ready.
    """
    start_worker(index)
    if hasattr(os, "nice"):
        os.nice(NICENESS)


def checked(item: T | UserError) -> T:
    """What a loader gave. Raises the UserError that was met instead."""
    if isinstance(item, UserError):
        raise item
    return item
