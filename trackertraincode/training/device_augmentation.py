"""What happens to a batch on the device: second views, tables or kornia's intensities, the plugin's brightness, units."""

from dataclasses import replace

import torch
from torch import nn

from trackertraincode.augmentation.crop import ORIGINAL
from trackertraincode.augmentation.extras import plugin_brightness
from trackertraincode.augmentation.intensity import apply_tables
from trackertraincode.augmentation.intensity_kornia import KorniaIntensity
from trackertraincode.augmentation.second_view import with_second_views
from trackertraincode.augmentation.units import normalize
from trackertraincode.sample.sample import Batch

PLUGIN_SHARE = 0.5  # of images that are scaled as OpenTrack's plugin does


class DeviceAugmentation(nn.Module):
    """Pixels 0…255 -> network input."""

    def __init__(self, *, kornia: bool, plugin: bool, pairs: bool = False, roi_override: str = ORIGINAL) -> None:
        """pairs: whether a second view of each face follows those of the batch. roi_override: see `add_views`."""
        super().__init__()
        self._roi_override = roi_override
        self.intensity = KorniaIntensity() if kornia else None
        self.plugin, self.pairs = plugin, pairs

    @torch.no_grad()
    def forward(self, batch: Batch, random: bool) -> Batch:
        """random: False for validation, where nothing but the units changes."""
        if batch.intensity is not None:
            batch = replace(batch, image=apply_tables(batch.image, batch.intensity), intensity=None)
        if random and self.pairs:
            batch = with_second_views(batch, self._roi_override)
        image = batch.image
        if random and self.intensity is not None:
            image = self.intensity(image)
        values = normalize(image)
        if random and self.plugin and image.shape[1] == 1:
            chosen = torch.rand(len(image), device=image.device) < PLUGIN_SHARE
            values = torch.where(chosen[:, None, None, None], plugin_brightness(image), values)
        return replace(batch, image=values)
