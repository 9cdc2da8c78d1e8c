"""Units of what the network sees: labels in [-1, 1] of the crop, grey values about [-0.5, 0.5]."""

import numpy as np
import torch
from torch import Tensor

from trackertraincode.geometry.constants import constant

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def channels_first(images: np.ndarray) -> Tensor:
    """(B, H, W) or (B, H, W, 3) -> (B, 1 or 3, H, W)."""
    pixels = torch.from_numpy(images)
    return pixels[:, None] if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2).contiguous()


def normalize_grey(image: Tensor) -> Tensor:
    """(..., 1, H, W) pixels 0…255, uint8 or float -> float32 pixel / 256 - 0.5."""
    return image.to(torch.float32) / 256.0 - 0.5


def normalize_rgb(image: Tensor) -> Tensor:
    """(..., 3, H, W) pixels 0…255 -> float32 with ImageNet's mean and standard deviation."""
    mean = constant(IMAGENET_MEAN, image.device)[:, None, None]
    std = constant(IMAGENET_STD, image.device)[:, None, None]
    return (image.to(torch.float32) / 255.0 - mean) / std


def normalize(image: Tensor) -> Tensor:
    """(B, C, H, W) pixels -> network input; one channel is grey, three are RGB."""
    return normalize_grey(image) if image.shape[1] == 1 else normalize_rgb(image)
