"""Intensity augmentation on the device by kornia's functions, in the published order of chances.

torch's random numbers of the host --draw_operations--> order, and numbers of each image in one tensor
one copy to the device --apply_operations--> every function on all images, chosen from: nothing waits for the device
"""

from collections.abc import Callable, Sequence

import torch
from kornia import enhance, filters
from torch import Tensor, nn

from trackertraincode.augmentation.device_batches import send
from trackertraincode.augmentation.intensity import (
    BLUR,
    BLUR_WEIGHTS,
    CHOSEN_OPERATIONS,
    EQUALIZE,
    NOISE_PROBABILITY,
    NOISE_STDS,
    OPERATIONS,
)
from trackertraincode.geometry.constants import constant

POSTERIZE = "posterize"
BOUNDS = {name: row[2:] for name, row in OPERATIONS.items()} | {POSTERIZE: (4.0, 6.0)}  # bits, which kornia rounds


def _blurred(images: Tensor, _: Tensor) -> Tensor:
    kernel = constant(BLUR_WEIGHTS, images.device)[None]
    return filters.filter2d_separable(images, kernel, kernel, "reflect")


FUNCTIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {  # (B, C, H, W) in [0, 1], parameters (B,) -> (B, C, H, W)
    EQUALIZE: lambda images, _: enhance.equalize(images),
    POSTERIZE: lambda images, bits: enhance.posterize(images, bits.round().to(torch.int32)),
    "gamma": lambda images, gamma: enhance.adjust_gamma(images, gamma, torch.ones_like(gamma)),  # 1.0 would be copied
    "contrast": enhance.adjust_contrast,
    "brightness": lambda images, factor: enhance.adjust_brightness(images, factor - 1.0),
    BLUR: _blurred,
}


def draw_operations(count: int) -> tuple[list[str], Tensor]:
    """Names of those of a batch in their order, and (2, operations, B): whether one happens to an image (0 or 1), parameter.

    The only random line of the host; from torch's global generator.
    """
    names = [list(OPERATIONS)[place] for place in torch.randperm(len(OPERATIONS))[:CHOSEN_OPERATIONS].tolist()]
    chance, low, high = torch.tensor([(OPERATIONS[name][1], *BOUNDS[name]) for name in names]).T[..., None]
    unit = torch.rand(2, len(names), count)
    return names, torch.stack([(unit[0] < chance).float(), low + unit[1] * (high - low)])


def apply_operations(images: Tensor, names: Sequence[str], numbers: Tensor) -> Tensor:
    """(B, C, H, W) in [0, 1] and what `draw_operations` gives, on the same device -> (B, C, H, W)."""
    for name, happens, parameter in zip(names, *numbers):
        images = torch.where(happens[:, None, None, None] > 0.5, FUNCTIONS[name](images, parameter), images)
    return images


class KorniaIntensity(nn.Module):
    """(B, C, H, W) uint8 pixels -> float32 pixels 0…255, in float32 also inside of autocast."""

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) pixels 0…255 -> the same as float32."""
        names, numbers = draw_operations(len(images))
        with torch.autocast(images.device.type, enabled=False):
            values = apply_operations(images.to(torch.float32) / 255.0, names, send(numbers, images.device))
            for order, std in enumerate(NOISE_STDS, start=1):
                rows = torch.rand(len(values), device=values.device) < NOISE_PROBABILITY**order
                noise = torch.randn_like(values) * (std / 255.0)
                values = values + noise * rows[:, None, None, None]
        return values.clamp(0.0, 1.0) * 255.0
