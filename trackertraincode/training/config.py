"""What a training run is made of: groups of options, each defined beside what it configures.

    recipe (TOML) --+
    command line ---+--> TrainConfig --resolved--> OUTDIR/config.toml --(--resume)--> TrainConfig

Every option is a flag of the command line, a key of a recipe and a key of the resolved file, with the same name; tables
([crop], [loss_weights]) are in files alone. Numbers are the published OpNet recipe's; those of the second recipe are in
`recipes/sixd.toml`.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

from trackertraincode.augmentation.extras import PLUGIN_BRIGHTNESS
from trackertraincode.augmentation.presets import AugmentationOptions
from trackertraincode.errors import ConfigError, closest_first
from trackertraincode.models.pose_network import NetworkConfig
from trackertraincode.options import is_option, key_of, kinds_of
from trackertraincode.training.data import DataOptions
from trackertraincode.training.objective import LossOptions
from trackertraincode.training.optimisation import AUTO_BATCH, OptimisationOptions
from trackertraincode.training.outdir import OutputOptions
from trackertraincode.training.trainer import MachineOptions


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """All options of a run. Raises ConfigError where they don't fit together."""

    data: DataOptions = field(default_factory=DataOptions)
    augmentation: AugmentationOptions = field(default_factory=AugmentationOptions)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    losses: LossOptions = field(default_factory=LossOptions)
    optimisation: OptimisationOptions = field(default_factory=OptimisationOptions)
    machine: MachineOptions = field(default_factory=MachineOptions)
    output: OutputOptions = field(default_factory=OutputOptions)

    def __post_init__(self) -> None:
        if self.losses.rampup_nll_losses and not self.network.uncertainty:
            raise ConfigError("rampup_nll_losses has nothing to raise; add --with-nll-loss.")
        if PLUGIN_BRIGHTNESS in self.augmentation.extras and self.network.channels != 1:
            raise ConfigError(
                "extra=plugin_brightness is of grey crops, and rgb trains on colour; leave one of them out."
            )
        machine, batchsize = self.machine, self.optimisation.batchsize
        if machine.world_size > 1 and self.output.outdir is None:
            raise ConfigError(
                f"devices={machine.devices}, nodes={machine.nodes}: several processes need --outdir in common."
            )
        if machine.world_size > 1 and batchsize == AUTO_BATCH:
            raise ConfigError("batchsize=auto is measured on one device; give a number for several.")
        if batchsize % machine.world_size:
            raise ConfigError(
                f"batchsize={batchsize} can't be split evenly over {machine.world_size} processes; choose a multiple."
            )

    @classmethod
    def of(cls, **values: Any) -> "TrainConfig":
        """From published names, all groups in one; what isn't given has its default."""
        parts: dict[str, dict[str, Any]] = {group: {} for group in GROUPS}
        for key, value in values.items():
            item = find(key)
            parts[item.group][item.field.name] = item.inside(value)
        return cls(**{group: GROUPS[group](**values) for group, values in parts.items()})

    def flat(self) -> dict[str, Any]:
        """The inverse of `of`: every option and table by its published name."""
        return {key: item.value(self) for key, item in items().items()}


GROUPS: dict[str, Any] = {group.name: group.default_factory for group in dataclasses.fields(TrainConfig)}


class Setting(NamedTuple):
    """One option, or one table of numbers."""

    group: str
    field: dataclasses.Field
    kind: Any  # type of its values besides None, as published; of a table: its values' types by name

    def inside(self, published: Any) -> Any:
        """A published value -> that of the field, which differs where a switch chooses, and where words stand for numbers."""
        values = self.field.metadata.get("values", self.field.metadata.get("switch"))
        if values and isinstance(published, bool):
            return values[published]
        words = self.field.metadata.get("words", {})
        return words.get(published, published) if isinstance(published, str) else published

    def value(self, config: TrainConfig) -> Any:
        """As published."""
        value = getattr(getattr(config, self.group), self.field.name)
        words = {**self.field.metadata.get("values", {}), **self.field.metadata.get("words", {})}
        return next((k for k, v in words.items() if v == value), value)


@cache
def items() -> Mapping[str, Setting]:
    """All options and tables by their published names, in the order of the groups."""
    found = {}
    for group, options in GROUPS.items():
        kinds = kinds_of(options)
        for one in dataclasses.fields(options):
            if is_option(one):
                found[key_of(one)] = Setting(group, one, bool if "values" in one.metadata else kinds[one.name])
            elif "table" in one.metadata:
                found[one.name] = Setting(group, one, one.metadata["kinds"])
    return found


def find(key: str, where: str = "") -> Setting:
    """Raises ConfigError with the most similar name. where: begins the message."""
    if key not in items():
        raise ConfigError(f"{where}unknown option {key!r}; did you mean {closest_first(key, list(items()))[0]!r}?")
    return items()[key]
