"""Augmentations beyond the published recipe, one table: what cameras, codecs and trackers do to faces.

Each works on one crop, (S, S[, 3]) uint8 -> the same, and draws its own chance; `plugin_brightness` works on batches.
"""

from collections.abc import Callable

import cv2
import numpy as np
import torch
from torch import Tensor

Image = np.ndarray
PROBABILITY = 0.3


def cutout(image: Image, rng: np.random.Generator) -> Image:
    """A rectangle or ellipse of one grey level, 10 to 40 % of the edge, hides a part."""
    size = image.shape[0]
    half = rng.uniform(0.05, 0.2, 2) * size
    center = rng.uniform(0, size, 2)
    level = int(rng.integers(256))
    color = (level,) * (image.shape[2] if image.ndim == 3 else 1)
    hidden = image.copy()
    if rng.random() < 0.5:
        low, high = (center - half).astype(int).tolist(), (center + half).astype(int).tolist()
        return cv2.rectangle(hidden, low, high, color, -1)
    axes, middle = half.astype(int).tolist(), center.astype(int).tolist()
    return cv2.ellipse(hidden, middle, axes, float(rng.uniform(0, 180)), 0, 360, color, -1)


def jpeg(image: Image, rng: np.random.Generator) -> Image:
    """Artefacts of JPEG at quality 10 to 60."""
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(10, 61))])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_UNCHANGED))


def motion_blur(image: Image, rng: np.random.Generator) -> Image:
    """A line of 3 to 9 pixels in any direction."""
    length = int(rng.choice([3, 5, 7, 9]))
    middle = (length - 1) / 2
    angle = rng.uniform(0, np.pi)
    offset = np.array([np.cos(angle), np.sin(angle)]) * middle
    kernel = np.zeros((length, length), np.float32)
    ends = [tuple(np.round(middle + sign * offset).astype(int).tolist()) for sign in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 1.0)
    kernel += kernel[::-1, ::-1]  # drawn the other way round, so that nothing moves
    return cv2.filter2D(image, -1, kernel / kernel.sum())


def rescale(image: Image, rng: np.random.Generator) -> Image:
    """Down to 25 to 80 % and up again, as small faces look."""
    size = image.shape[0]
    small = max(8, int(size * rng.uniform(0.25, 0.8)))
    reduced = cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA)
    return cv2.resize(reduced, (size, size), interpolation=cv2.INTER_LINEAR)


def blur(image: Image, rng: np.random.Generator) -> Image:
    """Box blur over 2 to 6 pixels, as 6DRepNet trains."""
    width = int(rng.integers(2, 7))
    end = 1.0 if width % 2 else 0.5  # of a pixel on either side, so that nothing moves
    kernel = np.array([end, *np.ones((width | 1) - 2), end]) / width
    return cv2.sepFilter2D(image, -1, kernel, kernel)


EXTRAS: dict[str, Callable[[Image, np.random.Generator], Image]] = {
    "cutout": cutout,
    "jpeg": jpeg,
    "motion_blur": motion_blur,
    "rescale": rescale,
    "blur": blur,
}
PLUGIN_BRIGHTNESS = "plugin_brightness"
NAMES = (*EXTRAS, PLUGIN_BRIGHTNESS)


def apply_extras(image: Image, names: tuple[str, ...], rng: np.random.Generator) -> Image:
    """(S, S[, 3]) uint8: the named ones in the order of the table, each with probability 0.3."""
    for name, extra in EXTRAS.items():
        if name in names and rng.random() < PROBABILITY:
            image = extra(image, rng)
    return image


def plugin_brightness(image: Tensor) -> Tensor:
    """(B, 1, H, W) pixels 0…255 -> float32 network input as OpenTrack's plugin scales it.

    If the 90 % quantile q of the crop is below 127, alpha = 0.45 / max(5, q), else 1 / 255; value = pixel alpha - 0.5.
    """
    values = image.to(torch.float32)
    flat = values.flatten(1)
    quantile = flat.kthvalue(int(0.9 * flat.shape[1]) + 1, dim=1).values
    alpha = torch.where(quantile < 127.0, 0.45 / quantile.clamp_min(5.0), torch.full_like(quantile, 1 / 255))
    return values * alpha[:, None, None, None] - 0.5
