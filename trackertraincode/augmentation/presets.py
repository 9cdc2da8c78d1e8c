"""The two whole stories of a crop: how it comes about for training, and how for validation.

TRAIN      box × (1.1 ± 0.1), shifted, turned, mirrored; intensities changed
VALIDATE   box × 1.1, nothing random
"""

from dataclasses import dataclass, field

from trackertraincode.augmentation.crop import FACTORS, GeometryOptions


@dataclass(frozen=True, kw_only=True)
class Preset:
    """How stored faces become crops."""

    size: int = 129  # edge of the crop
    color: bool = False  # RGB instead of grey
    roi_override: str = "original"  # key of crop.FACTORS
    geometry: GeometryOptions | None = field(default_factory=GeometryOptions)  # None: nothing random
    intensity: bool = True  # as tables, on grey pictures
    extras: tuple[str, ...] = ()  # keys of extras.EXTRAS

    @property
    def factor(self) -> float:
        """Crop edge / longer box side where nothing is random."""
        return FACTORS[self.roi_override]


TRAIN = Preset()
VALIDATE = Preset(geometry=None, intensity=False)
