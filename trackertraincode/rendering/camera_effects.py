"""What a camera does to an image: lens, sensor, processing and file, one entry of `EFFECTS` each.

(H, W, 3) float32 light --effects in the table's order--> uint8
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import NamedTuple

import cv2
import numpy as np

GRAIN = 512  # pixels
Values = tuple[float, ...]


class Effect(NamedTuple):
    """Something that happens to some images."""

    share: float  # of the images
    draw: Callable[[np.random.Generator], Values]
    apply: Callable[[np.ndarray, Values, np.random.Generator], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class CameraEffects:
    """Drawn once, applied as a pure function (noise by its own seed)."""

    chosen: Mapping[str, Values] = field(default_factory=lambda: MappingProxyType({}))  # key of EFFECTS -> its values
    seed: int = 0

    @staticmethod
    def draw(rng: np.random.Generator) -> "CameraEffects":
        """Mostly decent images, some dark, blurred, noisy or squeezed."""
        chosen = {name: effect.draw(rng) for name, effect in EFFECTS.items() if rng.random() < effect.share}
        return CameraEffects(chosen=chosen, seed=int(rng.integers(2**31)))


def apply_camera(image: np.ndarray, effects: CameraEffects) -> np.ndarray:
    """(H, W, 3) float32 in [0, 1] -> uint8."""
    rng = np.random.default_rng(effects.seed)
    for name, effect in EFFECTS.items():
        if name in effects.chosen:
            image = effect.apply(image, effects.chosen[name], rng)
    return cv2.convertScaleAbs(np.clip(image, 0.0, 1.0), alpha=255.0)


def motion_kernel(length: float, direction: float) -> np.ndarray:
    """(K, K) float32 of sum 1: a line through the centre of a square kernel."""
    edge = int(length) // 2 * 2 + 1
    kernel = np.zeros((edge, edge), np.float32)
    middle = edge // 2
    step = np.array([np.cos(direction), np.sin(direction)]) * (length / 2)
    first, second = (tuple(round(float(middle + sign * s)) for s in step) for sign in (-1, 1))
    cv2.line(kernel, first, second, 1.0, 1)
    return kernel / kernel.sum()


def _uniform(*ranges: tuple[float, float]) -> Callable[[np.random.Generator], Values]:
    return lambda rng: tuple(float(rng.uniform(low, high)) for low, high in ranges)


def _draw_noise(rng: np.random.Generator) -> Values:
    return float(rng.choice([0.01, 0.02, 0.05], p=[0.65, 0.28, 0.07])), float(rng.choice([0.0, 0.8]))


def _draw_colours(rng: np.random.Generator) -> Values:
    return *(float(v) for v in rng.normal(0, [0.08, 0.03])), float(rng.uniform(0.5, 1.3))


def _halation(image: np.ndarray, values: Values, _: np.random.Generator) -> np.ndarray:
    """Bright places glow."""
    strength, size = values
    bright = np.clip(image - 0.7, 0.0, 1.0)
    small = cv2.resize(bright, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    glow = cv2.resize(cv2.GaussianBlur(small, (0, 0), size), image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return image + strength * glow


def _vignette(image: np.ndarray, values: Values, _: np.random.Generator) -> np.ndarray:
    rows, columns = (np.linspace(-1, 1, n, dtype=np.float32) ** 2 for n in image.shape[:2])
    return image * (1.0 - values[0] * 0.5 * (rows[:, None] + columns))[..., None]


def _low_resolution(image: np.ndarray, values: Values, _: np.random.Generator) -> np.ndarray:
    height, width = (max(1, round(values[0] * n)) for n in image.shape[:2])
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)  # by a factor alone, edges would move
    return cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_CUBIC)


def _exposure(image: np.ndarray, values: Values, _: np.random.Generator) -> np.ndarray:
    """Less light, or more; what is bright nears white without reaching it."""
    if values[0] < 1.0:
        return image * np.float32(values[0])
    return 1.0 - (1.0 - np.clip(image, 0.0, 1.0)) ** np.float32(values[0])


def _contrast(image: np.ndarray, values: Values, _: np.random.Generator) -> np.ndarray:
    """An S-curve (> 0) or a flat image (< 0)."""
    image = np.clip(image, 0.0, 1.0)
    steeper = image * image * (3.0 - 2.0 * image)
    return image + np.float32(values[0]) * (steeper - image)


def _haze(image: np.ndarray, values: Values, _: np.random.Generator) -> np.ndarray:
    """Black isn't black."""
    return image * np.float32(1.0 - values[0]) + np.float32(values[0] * values[1])


def _noise(image: np.ndarray, values: Values, rng: np.random.Generator) -> np.ndarray:
    """More where it is bright; softer where a camera has smoothed it."""
    rows, columns = ((rng.integers(GRAIN) + np.arange(n)) % GRAIN for n in image.shape[:2])
    noise = grain()[rows][:, columns]
    if values[1] > 0.5:
        noise = cv2.GaussianBlur(noise, (0, 0), float(values[1])) * np.float32(3.0 * values[1])
    return image + np.float32(values[0]) * noise * np.sqrt(0.3 + np.clip(image, 0, 1))


@cache
def grain() -> np.ndarray:
    """(GRAIN, GRAIN, 3) noise of unit spread, of which images take a part: drawing it for each takes long."""
    return np.random.default_rng(3).standard_normal((GRAIN, GRAIN, 3), dtype=np.float32)


def _colours(image: np.ndarray, values: Values, _: np.random.Generator) -> np.ndarray:
    """White balance and saturation."""
    warm, green, saturation = values
    image = image * np.array([1.0 + warm, 1.0 + green, 1.0 - warm], np.float32)
    grey = _grey(image)
    return cv2.addWeighted(image, saturation, cv2.merge([grey] * 3), 1.0 - saturation, 0.0)


def _grey(image: np.ndarray) -> np.ndarray:
    """(H, W, 1)."""
    return cv2.cvtColor(np.ascontiguousarray(image, np.float32), cv2.COLOR_RGB2GRAY)[..., None]


def _sharpen(image: np.ndarray, values: Values, _: np.random.Generator) -> np.ndarray:
    return image + np.float32(values[0]) * (image - cv2.GaussianBlur(image, (0, 0), values[1]))


def _infrared(image: np.ndarray, _: Values, __: np.random.Generator) -> np.ndarray:
    """Skin is bright, all is grey."""
    weights = np.array([0.85, 0.1, 0.05], np.float32)
    return np.repeat(np.clip(image @ weights, 0, 1)[..., None] ** np.float32(0.8), 3, axis=-1)


def _compress(image: np.ndarray, values: Values, _: np.random.Generator) -> np.ndarray:
    grey_levels = np.clip(image * 255, 0, 255).astype(np.uint8)
    coded = cv2.imencode(".jpg", grey_levels, [cv2.IMWRITE_JPEG_QUALITY, int(values[0])])[1]
    decoded = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    assert decoded is not None, "it was just encoded"
    return decoded.astype(np.float32) / 255.0


EFFECTS: dict[str, Effect] = {
    "halation": Effect(0.08, _uniform((0.3, 1.0), (2.0, 6.0)), _halation),
    "defocus": Effect(0.09, _uniform((0.4, 1.6)), lambda image, v, _: cv2.GaussianBlur(image, (0, 0), v[0])),
    "motion": Effect(
        0.05, _uniform((3.0, 9.0), (0.0, np.pi)), lambda image, v, _: cv2.filter2D(image, -1, motion_kernel(*v))
    ),
    "vignette": Effect(0.2, _uniform((0.1, 0.7)), _vignette),
    "low resolution": Effect(0.09, _uniform((0.3, 0.8)), _low_resolution),
    "underexposure": Effect(0.04, _uniform((0.4, 0.8)), _exposure),
    "overexposure": Effect(0.06, _uniform((1.4, 2.2)), _exposure),
    "contrast": Effect(0.85, _uniform((-0.2, 1.3)), _contrast),
    "haze": Effect(0.12, _uniform((0.03, 0.3), (0.3, 1.0)), _haze),
    "noise": Effect(0.35, _draw_noise, _noise),
    "colours": Effect(0.7, _draw_colours, _colours),
    "grey": Effect(0.12, lambda _: (), lambda image, _, __: np.repeat(_grey(image), 3, axis=-1)),
    "infrared": Effect(0.04, lambda _: (), _infrared),
    "sharpening": Effect(0.35, _uniform((0.2, 0.8), (0.8, 1.6)), _sharpen),
    "compression": Effect(0.25, _uniform((18, 75)), _compress),
}  # fmt: skip
