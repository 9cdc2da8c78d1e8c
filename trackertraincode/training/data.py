"""From the options of a run to its loaders.

--ds, --val, catalog --> members to train and to validate on --> LightningDataModule
"""

from collections.abc import Sequence
from pathlib import Path

import lightning as L
from torch.utils.data import DataLoader

from trackertraincode.augmentation.crop import FACTORS, GeometryOptions
from trackertraincode.augmentation.extras import EXTRAS
from trackertraincode.augmentation.loader import TrainBatches, ValidationBatches, make_loader
from trackertraincode.augmentation.presets import Preset
from trackertraincode.datasets.catalog import load_catalog, parse_mixture
from trackertraincode.datasets.mixing import Member, open_mixture, open_whole
from trackertraincode.training.config import TrainConfig
from trackertraincode.workers import default_workers

MIXED_FACTORS = (0.9, 1.6)  # of --crop mixed
TIGHT = {"factor_std": 0.05, "shift_std": 0.1}  # of --crop tight: learns fast, wants good boxes


class PoseData(L.LightningDataModule):
    """Training and validation batches of a run, for each of its processes."""

    def __init__(self, config: TrainConfig, training: list[Member], validation: list[Member], tables: bool) -> None:
        """tables: whether intensities change here, on the CPU."""
        super().__init__()
        self.config = config
        self.training_members, self.validation_members = training, validation
        self._tables = tables
        self.workers = default_workers() if config.workers is None else config.workers

    def train_dataloader(self) -> DataLoader:
        """Batches of this process; the epoch follows from the steps done, which a resumed trainer knows at once."""
        trainer, batches = self.trainer, self.train_batches()
        assert trainer is not None, "Lightning sets it before it asks for loaders"
        return make_loader(
            batches, self.workers, epoch_now=lambda: trainer.global_step // len(batches), pin_memory=self._pinned()
        )

    def val_dataloader(self) -> DataLoader | list:
        """All validation rows, shared among the processes."""
        if not self.validation_members:
            return []
        return make_loader(self.validation_batches(), min(self.workers, 2), pin_memory=self._pinned())

    def train_batches(self, *, whole: bool = False) -> TrainBatches:
        """The random batches, of which this process takes its part, or all where it works alone (`whole`)."""
        config = self.config
        return TrainBatches(
            self.training_members,
            train_preset(config, self._tables),
            batchsize=config.batchsize,
            samples_per_epoch=config.samples_per_epoch,
            seed=config.seed,
            face_model=self.face_model,
            rank=0 if whole else self._rank,
            world_size=1 if whole else self._world_size,
        )

    def validation_batches(self, *, whole: bool = False) -> ValidationBatches:
        """The fixed batches, of which this process takes its part, or all (`whole`, or fewer rows than processes)."""
        preset = Preset(
            size=self.config.input_size, color=self.config.rgb, roi_override=self.config.roi_override, geometry=None,
            intensity=False,
        )  # fmt: skip
        alone = whole or sum(len(m.rows) for m in self.validation_members) < self._world_size
        size = max(1, self.config.batchsize // self._world_size)
        return ValidationBatches(
            self.validation_members, preset, batchsize=size, face_model=self.face_model, rank=0 if alone else self._rank,
            world_size=1 if alone else self._world_size,
        )  # fmt: skip

    face_model: str | None = None  # the network's; set by the run before the loaders are made

    @property
    def files(self) -> list[Path]:
        """All files that are read, each once."""
        return list(dict.fromkeys(m.dataset.path for m in [*self.training_members, *self.validation_members]))

    @property
    def _rank(self) -> int:
        return self.trainer.global_rank if self.trainer is not None else 0

    @property
    def _world_size(self) -> int:
        return self.trainer.world_size if self.trainer is not None else 1

    def _pinned(self) -> bool:
        return self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"


def open_data(config: TrainConfig, *, tables: bool) -> PoseData:
    """Raises CatalogError, SampleFormatError when a set isn't there or is damaged."""
    catalog = load_catalog(config.catalog)
    weights = parse_mixture(config.ds, catalog)
    fraction = 0.0 if config.val else config.val_fraction
    training, validation = open_mixture(weights, catalog, fraction, ds_weighting=config.ds_weighting)
    if config.val:
        validation = open_whole([name.strip() for name in config.val.split("+")], catalog)
    return PoseData(config, training, validation, tables)


def train_preset(config: TrainConfig, tables: bool) -> Preset:
    """The training crops that the options describe."""
    geometry = GeometryOptions(
        factor=FACTORS[config.roi_override],
        mixed_factors=MIXED_FACTORS if config.crop == "mixed" else None,
        loose=config.crop == "loose",
        rotation=config.raug,
        continuous_rotation=config.continuous_rotation,
        **(TIGHT if config.crop == "tight" else {}),
        quarter_turn=GeometryOptions.quarter_turn if config.crop in ("opnet", "mixed") else 0.0,
    )
    return Preset(
        size=config.input_size,
        color=config.rgb,
        roi_override=config.roi_override,
        geometry=geometry,
        intensity=tables,
        extras=tuple(name for name in EXTRAS if name in config.extras),
    )


def describe_members(training: Sequence[Member], validation: Sequence[Member]) -> list[str]:
    """One line per set: rows to train and to validate on, and what its labels are."""
    total = sum(m.weight for m in training)
    held_out = {m.name: len(m.rows) for m in validation}
    lines = [
        f"  {m.name}: {len(m.rows)} rows, {m.weight / total:.1%} of the samples, {held_out.pop(m.name, 0)} rows to validate, "
        f"trains {', '.join(name for name in m.labels if name in m.dataset.labels)}"
        for m in training
    ]
    return lines + [f"  {name}: {count} rows, to validate only" for name, count in held_out.items()]
