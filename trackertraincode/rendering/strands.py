"""Hair as it is seen: noise drawn out along the strands, with soft ends, over everything behind it.

meshes of hair --rasterised--> colour, direction and density of each pixel --drawn out--> strands over the image
"""

from typing import NamedTuple

import cv2
import numpy as np

STEPS = (1.0, -2.0, 4.0, -8.0)  # along the strands, in GRAIN; all sums of them are averaged
GRAIN = 0.02  # of a strand's texture, head radii
SPREAD = 0.022  # over which colour and direction are smoothed, head radii


class HairLayer(NamedTuple):
    """Hair that nothing hides, in the image's pixels."""

    color: np.ndarray  # (H, W, 3) float32
    # (H, W) each, x and y along the strands in the image; shorter for shorter hair
    direction: tuple[np.ndarray, np.ndarray]
    density: np.ndarray  # (H, W) float32 share of what is behind that it hides, 0 where no hair is
    covered: np.ndarray  # (H, W) float32, 1 where hair is


def shadow_of(hair: HairLayer, lamp: tuple[float, float, float], radius: float) -> np.ndarray:
    """(H, W) share of light that hair leaves to the skin beside it. lamp: direction towards the light; radius: pixels."""
    small = cv2.resize(hair.density, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    shift = -0.03 * radius * np.array(lamp[:2]) / max(-lamp[2], 0.5)
    moved = np.array([[1.0, 0.0, shift[0]], [0.0, 1.0, shift[1]]])
    small = cv2.warpAffine(small, moved, small.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
    small = cv2.GaussianBlur(small, (0, 0), max(0.025 * radius, 0.4))
    return 1.0 - 0.5 * cv2.resize(small, hair.density.shape[::-1], interpolation=cv2.INTER_LINEAR)


def draw_strands(image: np.ndarray, hair: HairLayer, radius: float, frizz: float, rng: np.random.Generator) -> None:
    """Hair over an image (H, W, 3) float32, in place. radius: of the head, pixels; frizz: from 0, straight."""
    x, y, width, height = cv2.boundingRect(hair.covered.astype(np.uint8))
    if width == 0:
        return
    reach = int(0.12 * radius) + 2
    rows = slice(max(y - reach, 0), min(y + height + reach, image.shape[0]))
    columns = slice(max(x - reach, 0), min(x + width + reach, image.shape[1]))
    u, v = hair.direction
    near = HairLayer(hair.color[rows, columns], (u[rows, columns], v[rows, columns]), hair.density[rows, columns],
                     hair.covered[rows, columns])  # fmt: skip
    alpha, planes = _strands(near, radius, frizz, rng)
    part = image[rows, columns]
    behind = cv2.split(part)
    part[:] = cv2.merge([back + alpha * (front - back) for front, back in zip(planes, behind)])


def _strands(
    hair: HairLayer, radius: float, frizz: float, rng: np.random.Generator
) -> tuple[np.ndarray, list[np.ndarray]]:
    """(H, W) how much hair hides of what is behind it, and the three planes (H, W) of its colour."""
    height, width = hair.density.shape
    known = cv2.merge([*cv2.split(hair.color), *hair.direction, hair.covered])
    *values, near = cv2.split(cv2.GaussianBlur(known, (0, 0), max(SPREAD * radius, 0.7)))
    share = 1.0 / (near + np.float32(1e-4))
    red, green, blue, u, v = (value * share for value in values)
    noise = rng.standard_normal((2, height, width), dtype=np.float32)
    fine, clumps = _smooth(noise[0], 0.006 * radius), _smooth(noise[1], max(0.03 * radius, 1.0))
    if frizz > 0:
        angle = np.float32(2.2 * frizz) * _smooth(np.ascontiguousarray(noise[1, ::-1, ::-1]), max(0.05 * radius, 1.5))
        cosine, sine = np.cos(angle), np.sin(angle)
        u, v = cosine * u - sine * v, sine * u + cosine * v
    fields = cv2.merge([fine, clumps, cv2.GaussianBlur(hair.density, (0, 0), 0.7)])
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    for step in (np.float32(step * GRAIN * radius) for step in STEPS):
        moved = cv2.remap(fields, x + step * u, y + step * v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        fields = cv2.addWeighted(fields, 0.5, moved, 0.5, 0.0)
    fine, clumps, amount = cv2.split(fields)
    fine = np.clip(fine * (1.0 + 1.8 * np.minimum(cv2.magnitude(u, v), 1.0)), -2.0, 2.0)
    alpha = np.clip(3.2 * amount - 1.1 + fine * np.minimum(2.5 * amount, 0.6), 0.0, 1.0)
    tone = np.exp(0.2 * fine + 0.24 * clumps)
    return alpha * np.clip(20.0 * near, 0.0, 1.0), [red * tone, green * tone, blue * tone]


def _smooth(noise: np.ndarray, sigma: float) -> np.ndarray:
    """Noise (H, W) of unit spread, smoothed to the same spread."""
    if sigma < 0.3:
        return noise
    return cv2.GaussianBlur(noise, (0, 0), sigma) * np.float32(max(2.0 * np.sqrt(np.pi) * sigma, 1.0))
