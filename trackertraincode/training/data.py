"""From the options of a run to its loaders.

--ds, --val, --catalog --open_members--> Members --PoseData--> batches of each process
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from torch.utils.data import DataLoader

from trackertraincode.augmentation.cache_files import open_caches
from trackertraincode.augmentation.crop_cache import SIDES, Kept
from trackertraincode.augmentation.device_batches import DeviceBatches, DeviceFaces
from trackertraincode.augmentation.loader import TrainBatches, ValidationBatches, make_loader
from trackertraincode.augmentation.presets import Preset
from trackertraincode.datasets.catalog import choose, load_catalog, parse_mixture
from trackertraincode.datasets.mixing import Member, open_mixture, open_whole
from trackertraincode.errors import CatalogError, ConfigError, UserError
from trackertraincode.files import files_of
from trackertraincode.options import check, option
from trackertraincode.sample.packed import PackedBatch
from trackertraincode.sample.sample import Batch
from trackertraincode.training.pace import AUTO, check_pace
from trackertraincode.workers import choose_workers, default_workers

REMEMBERED = 2**30  # bytes of validation batches that are kept in memory


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """What is trained and validated on. Raises ConfigError where a value can't be."""

    ds: str = option(
        "300wlp", 'data sets and sampling weights, such as "300wlp" or "a:92+b:8"', metavar="NAME[:X][+...]"
    )
    ds_weighting: bool = option(False, "sample data sets evenly and scale their losses by the weights instead")
    ds_offsets: bool = option(False, "learn per data set how its head centre, size and zero pitch differ")
    val: str | None = option(
        None,
        "data sets to validate on: what the catalog names for each, else all rows (default: a part of each training set)",
        metavar="NAME[+NAME...]",
    )
    val_fraction: float = option(0.02, "share of each training set that validates instead", above=0.0, most=0.5)
    validate_every: str = option(
        AUTO, "validate every so many epochs (10) or minutes (5m); auto: in about 5 % of the time", metavar="N|Nm|auto"
    )
    catalog: Path | None = option(None, "TOML file with data sets of your own", metavar="FILE")
    samples_per_epoch: int = option(10240, "an epoch is this many samples", least=1)
    face_model: Path | None = option(
        None, "bfm_noneck_v3.pkl (default: the one in $DATADIR, else the embedded head)", metavar="FILE"
    )
    cache: str = option(
        "none",
        "decode each face once and keep 8 bit crops: disk (a file), ram (in memory, once per process of training) or device "
        "(whole batches are made there; of several devices each keeps and sees its share of the rows)",
        choices=("none", "disk", "ram", "device"),
    )
    cache_quality: str = option(
        "full", "of kept crops: full (88 kB per face, 0.7 grey levels off) or small (48 kB, 1.2)", choices=tuple(SIDES)
    )
    cache_dir: Path | None = option(None, "folder of kept crops (default: crops beside the data)", metavar="DIR")
    scheduler: str | None = option(
        None,
        "keep crops by the dask workers of tcp://HOST:8786, or of the file that the scheduler wrote",
        metavar="ADDRESS|FILE",
    )
    workers: int | None = option(
        None, "processes that load data (default: NUM_WORKERS, else the cores, 8 at most)", least=0
    )

    def __post_init__(self) -> None:
        check(self)
        check_pace("validate_every", self.validate_every)
        if self.scheduler is not None and self.cache == "none":
            raise ConfigError(f"scheduler={self.scheduler}: its workers keep crops; add --cache disk, ram or device.")


TELL_POSES = ("rotation", "landmarks", "landmarks_2d")  # labels; a network of others has no pose to tell


@dataclass(frozen=True)
class Members:
    """The opened data sets of a run."""

    training: list[Member]
    validation: list[Member]

    @property
    def files(self) -> list[Path]:
        """All files that are read, each once."""
        paths = dict.fromkeys(m.dataset.path for m in [*self.training, *self.validation])
        return list(dict.fromkeys(file for path in paths for file in files_of(path)))

    def check_poses_validate(self) -> None:
        """Raises ConfigError where rows validate, but none with a pose."""
        if self.validation and not any(m.has("rotation") for m in self.validation):
            names = ", ".join(m.name for m in self.validation)
            raise ConfigError(f"--best mae: {names}, which is what validates, has no poses; give --best loss.")

    def check_labels(self) -> None:
        """Raises CatalogError where a set has nothing to learn from, none tells poses, or what validates has no labels."""
        for member in self.training:
            if not member.has_labels:
                raise CatalogError(f"data set {member.name}: {_nothing_in(member)}, so that it would train nothing.")
        if not any(m.has(name) for m in self.training for name in TELL_POSES):
            names = ", ".join(m.name for m in self.training)
            found = ", ".join(sorted({name for m in self.training for name in m.dataset.labels})) or "nothing"
            raise CatalogError(
                f"data set {names}: neither poses nor landmarks to train on (found: {found}); label its faces with "
                "`ttc pseudolabels`, or add a data set that has them."
            )
        if self.validation and not any(m.has_labels for m in self.validation):
            member = self.validation[0]
            raise CatalogError(f"data set {member.name}: {_nothing_in(member)} to validate on; give another --val.")

    @property
    def mixture(self) -> list[list[Any]]:
        """Of each set, what a run that is resumed must have again: plain values."""
        return [
            [m.name, m.weight, m.loss_weight, sorted(m.labels), m.depth_known, len(m.rows),
             hashlib.sha256(m.rows.astype("<i8").tobytes()).hexdigest()]
            for m in [*self.training, *self.validation]
        ]  # fmt: skip

    def describe(self) -> list[str]:
        """One line per set: rows to train and to validate on, and what its labels are."""
        total = sum(m.weight for m in self.training)
        held_out = {m.name: len(m.rows) for m in self.validation}
        lines = [
            f"  {m.name}: {_rows(len(m.rows))}, {m.weight / total:.1%} of the samples, "
            f"{_rows(held_out.pop(m.name, 0))} to validate, "
            f"trains {', '.join(name for name in m.labels if name in m.dataset.labels)}{_lacking(m)}"
            for m in self.training
        ]
        lines += [f"  {name}: {_rows(count)}, to validate only" for name, count in held_out.items()]
        for held in self.validation:
            for m in self.training:
                if m.dataset.path == held.dataset.path and (both := len(np.intersect1d(m.rows, held.rows))):
                    lines.append(
                        f"  {held.name}: {_rows(both)} of those that validate are trained on, too, so errors look smaller "
                        "than those of new faces; without --val, a part is held out"
                    )
        return lines


def _lacking(member: Member) -> str:
    """What its entry in the catalog names and its file doesn't have, in words."""
    missing = [name for name in member.labels if name not in member.dataset.labels]
    return f" (the file has no {', '.join(missing)})" if missing else ""


def _nothing_in(member: Member) -> str:
    wanted, found = (", ".join(sorted(names)) or "nothing" for names in (member.labels, member.dataset.labels))
    return f"{member.dataset.path} has none of its labels ({wanted}) in {_rows(len(member.rows))} (found: {found})"


def _rows(count: int) -> str:
    return f"{count} row{'s' * (count != 1)}"


def open_members(options: DataOptions) -> Members:
    """Raises CatalogError, SampleFormatError when a set isn't there or is damaged."""
    catalog = load_catalog(options.catalog)
    fraction = 0.0 if options.val else options.val_fraction
    training, validation = open_mixture(parse_mixture(options.ds, catalog), fraction, ds_weighting=options.ds_weighting)
    if options.val:
        validation = open_whole([choose(name.strip(), catalog) for name in options.val.split("+")])
    numbers = {m.name: number for number, m in enumerate(training)}
    validation = [replace(m, number=numbers.get(m.name, 0)) for m in validation]  # 0: the reference
    return Members(training, validation)


class PoseData(L.LightningDataModule):
    """Training and validation batches of a run, for each of its processes."""

    def __init__(
        self, options: DataOptions, members: Members, *, training: Preset, validation: Preset, face_model: str,
        batchsize: int, seed: int, processes: int, compiled: bool = False,
    ) -> None:  # fmt: skip
        """training, validation: how crops come about. face_model: the network's. processes: on this machine.

        compiled: what makes batches on a device.
        """
        super().__init__()
        self.members, self.batchsize = members, batchsize
        self.workers = default_workers(processes) if options.workers is None else options.workers
        self._samples_per_epoch, self._seed, self._face_model = options.samples_per_epoch, seed, face_model
        self._training, self._validation = training, validation
        self._on_device, self._compiled = options.cache == "device", compiled
        if self._on_device and training.extras:
            raise ConfigError(
                f"cache=device: --extra {training.extras[0]} works on the CPU; choose --cache ram instead."
            )
        self._caches = []
        if options.cache != "none":
            kept = Kept.of(training, options.cache_quality)
            in_memory = options.cache == "ram"
            workers = choose_workers(self.workers, options.scheduler)
            self._caches = open_caches(members.training, kept, options.cache_dir, workers, ram=in_memory)

    def train_dataloader(self) -> DataLoader | DeviceBatches:
        """Batches of this process; the epoch follows from the steps done, which a resumed trainer knows at once."""
        trainer, batches = self.trainer, self.train_batches()
        assert trainer is not None, "Lightning sets it before it asks for loaders"
        if self._on_device:
            batches = self._share()
            faces = DeviceFaces(
                batches.members, self._caches, self._training, self._face_model, trainer.strategy.root_device
            )
            return DeviceBatches(batches, faces, lambda: trainer.global_step // len(batches), compiled=self._compiled)
        return make_loader(
            batches, self.workers, epoch_now=lambda: trainer.global_step // len(batches), device=self._device_type()
        )

    def val_dataloader(self) -> "Remembered | list":
        """All validation rows, shared among the processes."""
        if not self.members.validation:
            return []
        return Remembered(make_loader(self.validation_batches(), min(self.workers, 2), device=self._device_type()))

    def transfer_batch_to_device(self, batch: PackedBatch | Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Two copies, which a GPU makes while it computes; none of batches that were made there."""
        if isinstance(batch, Batch):
            return batch
        return batch.to(device, non_blocking=device.type == "cuda").unpack()

    def train_batches(self, *, whole: bool = False) -> TrainBatches:
        """The random batches, of which this process takes its part, or all where it works alone (`whole`)."""
        return TrainBatches(
            self.members.training, self._training, batchsize=self.batchsize, samples_per_epoch=self._samples_per_epoch,
            seed=self._seed, face_model=self._face_model, rank=0 if whole else self._rank,
            world_size=1 if whole else self._world_size, caches=self._caches,
        )  # fmt: skip

    def _share(self) -> TrainBatches:
        """Of the rows that this process keeps on its device."""
        rank, world_size = self._rank, self._world_size
        rows = [m.rows[rank::world_size] if len(m.rows) >= world_size else m.rows for m in self.members.training]
        return TrainBatches(
            [replace(member, rows=part) for member, part in zip(self.members.training, rows)], self._training,
            batchsize=self.batchsize // world_size, samples_per_epoch=self._samples_per_epoch // world_size,
            seed=self._seed * world_size + rank, face_model=self._face_model, caches=self._caches,
        )  # fmt: skip

    def validation_batches(self, *, whole: bool = False) -> ValidationBatches:
        """The fixed batches, of which this process takes its part, or all (`whole`, or fewer rows than processes)."""
        alone = whole or sum(len(m.rows) for m in self.members.validation) < self._world_size
        return ValidationBatches(
            self.members.validation, self._validation, batchsize=max(1, self.batchsize // self._world_size),
            face_model=self._face_model, rank=0 if alone else self._rank, world_size=1 if alone else self._world_size,
        )  # fmt: skip

    @property
    def _rank(self) -> int:
        return self.trainer.global_rank if self.trainer is not None else 0

    @property
    def _world_size(self) -> int:
        return self.trainer.world_size if self.trainer is not None else 1

    def _device_type(self) -> str | None:
        """Of the device that trains."""
        return None if self.trainer is None else self.trainer.strategy.root_device.type


class Remembered:
    """Batches that are the same each time: made once by a loader, then kept in memory, where they take little."""

    def __init__(self, loader: DataLoader) -> None:
        self._loader: DataLoader | None = loader
        self._batches: list[PackedBatch | UserError] = []
        self._count = len(loader)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[PackedBatch | UserError]:
        if self._loader is None:
            yield from self._batches
            return
        batches: list[PackedBatch | UserError] = []
        size = 0
        for batch in self._loader:
            yield batch
            size += sum(value.nbytes for value in batch) if isinstance(batch, PackedBatch) else 0
            if size <= REMEMBERED:
                batches.append(batch)
            else:
                batches.clear()
        if len(batches) == self._count:
            self._batches, self._loader = batches, None  # and its processes end
