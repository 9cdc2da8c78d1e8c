"""How stored faces become crops: one table of ways to choose the square, and how it comes about for training and validation.

training     box × (1.1 ± 0.1), shifted, turned, mirrored; intensities changed
validation   box × 1.1, nothing random
"""

from dataclasses import dataclass, replace
from typing import Any

from trackertraincode.augmentation.crop import FACTORS, ORIGINAL, GeometryOptions
from trackertraincode.augmentation.extras import EXTRAS, NAMES
from trackertraincode.errors import ConfigError, closest_first
from trackertraincode.options import check, kinds_of, option, table

CROPS = {  # name -> how the square varies; adding a way is adding an entry
    "opnet": GeometryOptions(),
    "tight": GeometryOptions(factor_std=0.05, shift_std=0.1, quarter_turn=0.0),  # learns fast, wants good boxes
    "mixed": GeometryOptions(factor_range=(0.9, 1.6)),
    "loose": GeometryOptions(looseness=(0.2, 0.4), quarter_turn=0.0),
}


@dataclass(frozen=True, kw_only=True)
class Preset:
    """How stored faces become crops."""

    size: int = 129  # edge of the crop
    color: bool = False  # RGB instead of grey
    roi_override: str = ORIGINAL  # key of crop.FACTORS
    geometry: GeometryOptions | None = None  # None: nothing random
    intensity: bool = False  # as tables, on grey images
    deferred: bool = False  # tables are made with the crops, which stay uint8, and applied on the device
    extras: tuple[str, ...] = ()  # keys of extras.EXTRAS

    @property
    def factor(self) -> float:
        """Crop edge / longer box side where nothing is random."""
        return FACTORS[self.roi_override]


@dataclass(frozen=True, kw_only=True)
class AugmentationOptions:
    """What happens to faces on their way to the network. Raises ConfigError where a value can't be."""

    augmentation: str = option(
        "tables",
        "how intensities change: as tables, or by kornia's functions, which do the same in more time",
        choices=("tables", "kornia", "none"),
    )
    imgaug: bool = option(True, "--no-imgaug is --augmentation none")
    raug: float = option(30.0, "in-plane rotation of a third of the samples, degrees", least=0.0, most=180.0)
    continuous_rotation: bool = option(False, "any angle up to --raug instead of only 0 and plus or minus --raug")
    roi_override: str = option(
        ORIGINAL,
        "where crops and the boxes to learn come from: the stored box, or the landmarks with or without forehead",
        choices=tuple(FACTORS),
    )
    crop: str = option(
        "opnet",
        "opnet: around 1.1 boxes with shifts; tight: with small ones; mixed: 0.9 to 1.6 boxes; loose: as 6DRepNet "
        "trains; a recipe may say more in a table [crop]",
        choices=tuple(CROPS),
    )
    crop_changes: dict[str, Any] = table("crop", kinds_of(GeometryOptions))  # in place of what CROPS[crop] says
    extra: str = option("", f"further augmentations, joined by +: {', '.join(NAMES)}", metavar="NAME[+NAME...]")

    def __post_init__(self) -> None:
        check(self)
        for name in self.extras:
            if name not in NAMES:
                raise ConfigError(f"extra {name!r} is unknown; choose among {', '.join(closest_first(name, NAMES))}.")
        replace(CROPS[self.crop], **self.crop_changes)  # checks them

    @property
    def extras(self) -> tuple[str, ...]:
        """Names in `extra`."""
        return tuple(name.strip() for name in self.extra.split("+") if name.strip())

    @property
    def intensity(self) -> str:
        """How intensities change: as tables, by kornia, or none."""
        return self.augmentation if self.imgaug else "none"

    def training_preset(
        self, *, size: int = 129, color: bool = False, tables: bool = True, deferred: bool = False
    ) -> Preset:
        """tables: whether intensities change as tables; deferred: which are applied on the device."""
        geometry = replace(
            CROPS[self.crop],
            factor=FACTORS[self.roi_override],
            rotation=self.raug,
            continuous_rotation=self.continuous_rotation,
            **self.crop_changes,
        )
        extras = tuple(name for name in EXTRAS if name in self.extras)
        return replace(
            self.validation_preset(size=size, color=color), geometry=geometry, intensity=tables, deferred=deferred,
            extras=extras,
        )  # fmt: skip

    def validation_preset(self, *, size: int = 129, color: bool = False) -> Preset:
        """Nothing random."""
        return Preset(size=size, color=color, roi_override=self.roi_override)
