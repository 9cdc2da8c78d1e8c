"""A second view of each face of a batch, from its crop: a little moved, turned and scaled, in other light, with noise.

Batch of B --draw_views--> ViewChange --add_views--> Batch of 2 B, whose `view` tells how the views lie

What is beyond the crop's edge repeats the edge. Nothing here waits for the device.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from trackertraincode.augmentation.crop import ORIGINAL, trained_boxes
from trackertraincode.geometry import affine2d
from trackertraincode.sample.moving import move
from trackertraincode.sample.sample import Batch, concatenate

SHIFT = 0.12  # largest, in x and y; half crop edges: 4 pixels of 65
SCALE = 0.12  # largest logarithm
TURN = 0.1  # largest, radians
GAIN = 0.25  # largest logarithm of contrast
OFFSET = 24.0  # largest, grey levels of 255
NOISE_STD = 32.0  # largest, grey levels of 255
MIDDLE_GREY = 127.5
SAME = 1e-4  # of boxes in [-1, 1]


@dataclass(frozen=True)
class ViewChange:
    """Random numbers of B second views."""

    maps: Tensor  # (B, 2, 3) similarities in [-1, 1] of the crop: first view -> second view
    gain: Tensor  # (B,) of contrast, about middle grey
    offset: Tensor  # (B,) grey levels
    noise_std: Tensor  # (B,) grey levels

    @classmethod
    def none(cls, count: int, device: torch.device) -> "ViewChange":
        """Second views that are the first ones."""
        zero = torch.zeros(count, device=device)
        maps = affine2d.translation(torch.zeros(count, 2, device=device))
        return cls(maps, zero + 1.0, zero, zero)


def draw_views(count: int, device: torch.device) -> ViewChange:
    """Uniform up to the largest values above; random numbers come from torch's global generator."""
    unit = torch.rand(count, 6, device=device) * 2.0 - 1.0  # (-1, 1)
    turned = affine2d.rotation(TURN * unit[:, 0])
    scaled = affine2d.scaling((SCALE * unit[:, 1]).exp()[:, None].expand(-1, 2))
    moved = affine2d.translation(SHIFT * unit[:, 2:4])
    return ViewChange(
        maps=affine2d.compose(moved, affine2d.compose(scaled, turned)),
        gain=(GAIN * unit[:, 4]).exp(),
        offset=OFFSET * unit[:, 5],
        noise_std=NOISE_STD * torch.rand(count, device=device),
    )


@torch.no_grad()
def with_second_views(batch: Batch, roi_override: str = ORIGINAL) -> Batch:
    """Random ones, in float32 also inside of autocast. roi_override: see `add_views`."""
    device = batch.image.device
    with torch.autocast(device.type, enabled=False):
        return add_views(batch, draw_views(len(batch), device), roi_override)


def add_views(batch: Batch, change: ViewChange, roi_override: str = ORIGINAL) -> Batch:
    """B faces, pixels 0…255, labels in [-1, 1] of the crop -> 2 B: as they are, then their second views; float32 pixels.

    Labels move with the maps, so that both views are trained; those that are absent stay so. roi_override: what made the
    boxes that are trained, so that those of second views are made alike.
    """
    image = batch.image.float()
    here = ViewChange.none(len(batch), image.device).maps
    moved = move(batch.labels, change.maps)
    if roi_override != ORIGINAL:
        told, made = (trained_boxes(labels, roi_override) for labels in (batch.labels, moved))
        own = ((told - batch.face_box).abs() <= SAME).all(-1, keepdim=True)  # not where labels were dropped since
        moved["face_box"] = torch.where(own, made, moved["face_box"])
    second = replace(
        batch, image=_changed(_warped(image, change.maps), change), labels=moved, view=change.maps
    )  # fmt: skip
    return concatenate([replace(batch, image=image, view=here), second])


def _warped(image: Tensor, maps: Tensor) -> Tensor:
    """(B, C, S, S), (B, 2, 3) -> (B, C, S, S), bilinear."""
    grid = F.affine_grid(affine2d.invert(maps), list(image.shape), align_corners=False)
    edge = 1.0 - 1.0 / image.shape[-1]  # middle of the last pixel; not every device can repeat the edge itself
    return F.grid_sample(image, grid.clamp(-edge, edge), mode="bilinear", align_corners=False)


def _changed(image: Tensor, change: ViewChange) -> Tensor:
    """Contrast, brightness and noise of pixels (B, C, S, S) 0…255."""
    gain, offset, std = (value[:, None, None, None] for value in (change.gain, change.offset, change.noise_std))
    lit = (image - MIDDLE_GREY) * gain + MIDDLE_GREY + offset
    return (lit + std * torch.randn_like(lit)).clamp(0.0, 255.0)
