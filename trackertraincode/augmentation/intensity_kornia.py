"""Intensity augmentation on the device, as the published kornia pipeline."""

import kornia.augmentation as K
import torch
from torch import Tensor, nn

from trackertraincode.augmentation.intensity import (
    BLUR_KERNEL,
    BLUR_SIGMA,
    CHOSEN_OPERATIONS,
    NOISE_PROBABILITY,
    NOISE_STDS,
    OPERATIONS,
)


class KorniaIntensity(nn.Module):
    """(B, C, H, W) uint8 pixels -> float32 pixels 0…255. Random numbers come from torch's global generator."""

    def __init__(self) -> None:
        super().__init__()
        p = {name: row[1] for name, row in OPERATIONS.items()}
        bounds = {name: row[2:] for name, row in OPERATIONS.items()}
        self.operations = K.ImageSequential(
            K.RandomEqualize(p=p["equalize"]),
            K.RandomPosterize(bits=(4.0, 6.0), p=p["posterize"]),
            K.RandomGamma(gamma=bounds["gamma"], p=p["gamma"]),
            K.RandomContrast(contrast=bounds["contrast"], p=p["contrast"]),
            K.RandomBrightness(brightness=bounds["brightness"], p=p["brightness"]),
            K.RandomGaussianBlur((BLUR_KERNEL, BLUR_KERNEL), (BLUR_SIGMA, BLUR_SIGMA), p=p["blur"]),
            random_apply=CHOSEN_OPERATIONS,
        )

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) pixels 0…255 -> the same as float32."""
        values = self.operations(images.to(torch.float32) / 255.0)
        for order, std in enumerate(NOISE_STDS, start=1):
            rows = torch.rand(len(values), device=values.device) < NOISE_PROBABILITY**order
            noise = torch.randn_like(values) * (std / 255.0)
            values = values + noise * rows[:, None, None, None]
        return values.clamp(0.0, 1.0) * 255.0
