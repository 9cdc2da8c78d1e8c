"""Procedural backgrounds, cheap because they are made small and enlarged: one entry of `SCENERIES` each."""

from collections.abc import Callable
from functools import cache

import cv2
import numpy as np

ROWS = 72
GRAINY = 0.3  # share of backgrounds with something fine over them
MOSAICS, MOSAIC = 4, 512  # how many; pixels
THINGS, SMALLEST = 700, 13.0  # in a mosaic; pixels


def draw_background(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """(H, W, 3) float32 in [0, 1]. Sceneries have ROWS rows or more."""
    columns = max(2, round(ROWS * width / height))
    names, shares = zip(*((name, share) for name, (share, _) in SCENERIES.items()))
    small = SCENERIES[str(rng.choice(names, p=shares))][1](rng, columns)
    small = small * np.float32(rng.choice([0.08, 0.25, 0.5, 0.8, 1.4], p=[0.08, 0.17, 0.27, 0.3, 0.18]))
    blur = rng.choice([0.0, 0.7, 1.5, 3.0])
    if blur:
        small = cv2.GaussianBlur(small, (0, 0), float(blur) * len(small) / ROWS)
    image = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    if rng.random() < GRAINY:
        grain = _things(rng, columns)[..., :1].copy()
        image = image * (0.75 + 0.5 * cv2.resize(grain, (width, height), interpolation=cv2.INTER_LINEAR)[..., None])
    return np.clip(image, 0.0, 1.0)


def _color(rng: np.random.Generator, saturation: float = 0.2) -> np.ndarray:
    """(3,) mostly greyish, as most things are."""
    return np.clip(rng.uniform(0.03, 0.95) * (1.0 + rng.normal(0, saturation, 3)), 0, 1).astype(np.float32)


def _plain(rng: np.random.Generator, columns: int) -> np.ndarray:
    """A wall, brighter at one side."""
    color = _color(rng)
    corners = color * rng.uniform(0.6, 1.2, (2, 2, 1))
    return cv2.resize(corners.astype(np.float32), (columns, ROWS), interpolation=cv2.INTER_LINEAR)


def _texture(rng: np.random.Generator, columns: int, exponent: float = 1.0) -> np.ndarray:
    """(ROWS, columns) noise of all sizes in about -1 … 1, stronger the coarser."""
    total = np.zeros((ROWS, columns), np.float32)
    for level in range(6):
        size = 2 ** (level + 1)
        layer = rng.standard_normal((size, max(2, size * columns // ROWS)), dtype=np.float32)
        total += cv2.resize(layer, (columns, ROWS), interpolation=cv2.INTER_CUBIC) * np.float32(
            2.0 ** (-exponent * level)
        )
    return total / np.float32(1.2)


def _foliage(rng: np.random.Generator, columns: int) -> np.ndarray:
    """Leaves, grass, stone: two colours mixed by noise."""
    mix = 1.0 / (1.0 + np.exp(-3.0 * _texture(rng, columns, rng.uniform(0.3, 1.0))))
    first, second = _color(rng), _color(rng)
    return first + mix[..., None] * (second - first)


def _clutter(rng: np.random.Generator, columns: int) -> np.ndarray:
    """A room full of things."""
    image = _plain(rng, columns)
    for _ in range(rng.integers(3, 18)):
        _draw_shape(rng, image)
    return image


def _stripes(rng: np.random.Generator, columns: int) -> np.ndarray:
    """Blinds, bricks, shelves, fences: bands along one or both axes, a little tilted."""
    y, x = np.mgrid[0:ROWS, 0:columns].astype(np.float32) / ROWS
    angle, first, second = rng.normal(0, 0.1), rng.uniform(3, 14), rng.uniform(3, 14)
    across = np.sin((x + angle * y) * first * 6.28 + rng.uniform(0, 6)) > rng.uniform(-0.8, 0.8)
    along = np.sin((y - angle * x) * second * 6.28 + rng.uniform(0, 6)) > rng.uniform(-0.8, 0.8)
    kind = rng.integers(3)
    mask = across if kind == 0 else along if kind == 1 else across ^ along
    return np.where(mask[..., None], _color(rng), _color(rng)) * (1.0 + 0.1 * _texture(rng, columns)[..., None])


def _lights(rng: np.random.Generator, columns: int) -> np.ndarray:
    """Discs of lamps far out of focus."""
    image = _plain(rng, columns) * np.float32(0.3)
    for _ in range(rng.integers(5, 30)):
        layer = np.zeros_like(image)
        place = (int(rng.integers(0, columns)), int(rng.integers(0, ROWS)))
        cv2.circle(
            layer, place, int(rng.integers(2, 9)), tuple(float(v) for v in rng.uniform(0.3, 1.0, 3)), -1, cv2.LINE_AA
        )
        image += layer * np.float32(rng.uniform(0.2, 0.7))
    return image


def _window(rng: np.random.Generator, columns: int) -> np.ndarray:
    """A bright opening in a dark wall."""
    image = _plain(rng, columns) * np.float32(0.5)
    left, top = rng.integers(-10, columns), rng.integers(-20, 30)
    size = rng.integers(15, 60, 2)
    cv2.rectangle(image, (int(left), int(top)), (int(left + size[0]), int(top + size[1])), (1.0, 1.0, 0.97), -1)
    cv2.rectangle(image, (int(left), int(top)), (int(left + size[0]), int(top + size[1])), (0.3, 0.3, 0.3), 2)
    return image


def _people(rng: np.random.Generator, columns: int) -> np.ndarray:
    """Others behind: heads on shoulders, out of focus."""
    image = (_clutter if rng.random() < 0.5 else _foliage)(rng, columns)
    for _ in range(rng.integers(1, 4)):
        x, y, size = rng.uniform(0, columns), rng.uniform(0.1, 0.7) * ROWS, rng.uniform(6, 16)
        skin = np.array([0.85, 0.62, 0.5]) * rng.uniform(0.3, 1.1)
        hair, clothes = _color(rng) * 0.5, _color(rng)
        _ellipse(image, x, y + 3.0 * size, 2.0 * size, 2.0 * size, clothes)
        _ellipse(image, x, y - 0.15 * size, 0.85 * size, 1.15 * size, hair)
        _ellipse(image, x, y + 0.1 * size, 0.68 * size, 0.95 * size, skin)
        for side in (-0.27, 0.27):
            _ellipse(image, x + side * size, y - 0.05 * size, 0.13 * size, 0.07 * size, skin * 0.4)
        _ellipse(image, x, y + 0.55 * size, 0.25 * size, 0.07 * size, skin * 0.5)
    return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.6, 1.5))


def _things(rng: np.random.Generator, columns: int) -> np.ndarray:
    """A part of a mosaic, in other colours: what is in photographs is sharp and of all sizes."""
    mosaic = mosaics()[rng.integers(MOSAICS)]
    height = int(rng.integers(ROWS, MOSAIC // 2))
    width = min(MOSAIC, height * columns // ROWS)
    top, left = rng.integers(0, MOSAIC - height + 1), rng.integers(0, MOSAIC - width + 1)
    step = 1 + height // (2 * ROWS)
    part = mosaic[top : top + height : step, left : left + width : step]
    part = part[:: rng.choice([-1, 1]), :: rng.choice([-1, 1])]
    weights = np.eye(3) + rng.normal(0.0, 0.2, (3, 3))
    colors = np.ascontiguousarray(part) @ (weights / weights.sum(1, keepdims=True)).T.astype(np.float32)
    mean = colors.mean((0, 1))
    return np.clip(_color(rng) + np.float32(rng.uniform(0.3, 1.1)) * (colors - mean), 0.0, 1.0)


@cache
def mosaics() -> list[np.ndarray]:
    """(MOSAIC, MOSAIC, 3) images of things that lie over each other, few large and many small ones, always the same."""
    rng = np.random.default_rng(5)
    images = []
    for _ in range(MOSAICS):
        image = np.full((MOSAIC, MOSAIC, 3), 0.4, np.float32)
        for size in SMALLEST * (1.0 - 0.98 * rng.random(THINGS)) ** -0.6:
            _draw_thing(rng, image, float(size))
        image *= 1.0 + 0.06 * rng.standard_normal((MOSAIC, MOSAIC, 1), dtype=np.float32)
        images.append(cv2.GaussianBlur(image, (0, 0), 0.7))
    return images


def _draw_thing(rng: np.random.Generator, image: np.ndarray, size: float) -> None:
    """Something of a size in pixels, somewhere."""
    color = _color(rng, 0.25)
    x, y = (float(v) for v in rng.uniform(0, MOSAIC, 2))
    if rng.random() < 0.5:
        _ellipse(image, x, y, size, size * rng.uniform(0.2, 1.0), color, rng.uniform(0, 180))
        return
    edges = (2.0 * size * rng.uniform(0.05, 1.0), 2.0 * size)
    angle = rng.choice([0.0, 90.0, rng.uniform(0, 180)]) + rng.normal(0, 3)
    corners = cv2.boxPoints(((x, y), edges, float(angle)))
    cv2.fillConvexPoly(image, np.round(corners * 16).astype(np.int32), color.tolist(), cv2.LINE_AA, 4)


def _ellipse(
    image: np.ndarray, x: float, y: float, width: float, height: float, color: np.ndarray, angle: float = 0.0
) -> None:
    center, axes = (round(x * 16), round(y * 16)), (max(1, round(width * 16)), max(1, round(height * 16)))
    cv2.ellipse(image, center, axes, angle, 0.0, 360.0, tuple(float(v) for v in color), -1, cv2.LINE_AA, 4)


def _draw_shape(rng: np.random.Generator, image: np.ndarray) -> None:
    rows, columns = image.shape[:2]
    color = tuple(float(v) for v in _color(rng, 0.35))
    first, second = ((int(rng.integers(-5, columns + 5)), int(rng.integers(-5, rows + 5))) for _ in range(2))
    kind = rng.integers(0, 4)
    if kind == 0:
        cv2.rectangle(image, first, second, color, -1)
    elif kind == 1:
        cv2.circle(image, first, int(rng.integers(2, 16)), color, -1, cv2.LINE_AA)
    elif kind == 2:
        cv2.line(image, first, second, color, int(rng.integers(1, 7)), cv2.LINE_AA)
    else:
        axes = (int(rng.integers(3, 14)), int(rng.integers(3, 22)))
        cv2.ellipse(image, first, axes, float(rng.uniform(0, 180)), 0, 360, color, -1, cv2.LINE_AA)


# Name -> its share of the images, and what draws (ROWS, columns, 3).
SCENERIES: dict[str, tuple[float, Callable[[np.random.Generator, int], np.ndarray]]] = {
    "plain": (0.22, _plain), "foliage": (0.15, _foliage), "clutter": (0.1, _clutter), "stripes": (0.06, _stripes),
    "lights": (0.05, _lights), "window": (0.07, _window), "people": (0.1, _people), "things": (0.25, _things),
}  # fmt: skip
