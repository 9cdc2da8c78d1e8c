"""What happens to a batch on the device: tables or kornia's intensities, the plugin's brightness, units."""

from dataclasses import replace

import torch
from torch import nn

from trackertraincode.augmentation.extras import plugin_brightness
from trackertraincode.augmentation.intensity import apply_tables
from trackertraincode.augmentation.intensity_kornia import KorniaIntensity
from trackertraincode.augmentation.units import normalize
from trackertraincode.sample.sample import Batch

PLUGIN_SHARE = 0.5  # of images that are scaled as OpenTrack's plugin does


class DeviceAugmentation(nn.Module):
    """Pixels 0…255 -> network input."""

    def __init__(self, *, kornia: bool, plugin: bool) -> None:
        super().__init__()
        self.intensity = KorniaIntensity() if kornia else None
        self.plugin = plugin

    @torch.no_grad()
    def forward(self, batch: Batch, random: bool) -> Batch:
        """random: False for validation, where nothing but the units changes."""
        image = batch.image
        if batch.intensity is not None:
            image = apply_tables(image, batch.intensity)
        if random and self.intensity is not None:
            image = self.intensity(image)
        values = normalize(image)
        if random and self.plugin and image.shape[1] == 1:
            chosen = torch.rand(len(image), device=image.device) < PLUGIN_SHARE
            values = torch.where(chosen[:, None, None, None], plugin_brightness(image), values)
        return replace(batch, image=values, intensity=None)
