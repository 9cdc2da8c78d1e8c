"""Intensity augmentation as tables: on the CPU, one 256-entry table per image and one draw of noise.

Exactly 4 of the 6 operations of `OPERATIONS` in random order, each then applied with its probability; then noise. The
same as the kornia pipeline of `intensity_kornia.py`, at a thirtieth of its time.
"""

from collections.abc import Callable

import cv2
import numpy as np

Table = np.ndarray  # (256,) float64 in [0, 1]: what becomes of each grey level of the image

CHOSEN_OPERATIONS = 4
BLUR_KERNEL, BLUR_SIGMA = 5, 1.5
NOISE_STDS = (4.0, 16.0, 32.0, 64.0)  # grey levels of 255; the k-th with probability 0.25 ** k
NOISE_PROBABILITY = 0.25


def equalize(table: Table, counts: np.ndarray, _: float) -> Table:
    """Histogram equalisation. counts: (256,) pixels per grey level of the image that the table is applied to."""
    levels = np.clip(table * 255.0, 0, 255).astype(np.int64)
    histogram = np.bincount(levels, weights=counts, minlength=256)
    step = int((histogram.sum() - histogram[np.flatnonzero(histogram)[-1]]) // 255)
    if step == 0:
        return table
    mapped = (np.cumsum(histogram) + step // 2) // step
    mapped = np.clip(np.concatenate([[0], mapped[:-1]]), 0, 255)
    return mapped[levels] / 255.0


def posterize(table: Table, _: np.ndarray, bits: float) -> Table:
    """Keep the upper bits of 8. Like the three below: (256,) -> (256,) in [0, 1]."""
    levels = (table * 255.0).astype(np.int64)
    return (levels & ~((1 << (8 - int(bits))) - 1)) / 255.0


def adjust_gamma(table: Table, _: np.ndarray, gamma: float) -> Table:
    return table**gamma


def scale_contrast(table: Table, _: np.ndarray, factor: float) -> Table:
    return np.clip(table * factor, 0.0, 1.0)


def shift_brightness(table: Table, _: np.ndarray, factor: float) -> Table:
    return np.clip(table + (factor - 1.0), 0.0, 1.0)


BLUR = "blur"  # the one operation that is no table

# name -> (operation, probability, low, high of its parameter)
OPERATIONS: dict[str, tuple[Callable[[Table, np.ndarray, float], Table] | None, float, float, float]] = {
    "equalize": (equalize, 0.2, 0.0, 0.0),
    "posterize": (posterize, 0.01, 4.0, 7.0),  # whole bits 4, 5, 6
    "gamma": (adjust_gamma, 0.2, 0.5, 2.0),
    "contrast": (scale_contrast, 0.2, 0.7, 1.5),
    "brightness": (shift_brightness, 0.2, 0.7, 1.5),
    BLUR: (None, 0.1, 0.0, 0.0),
}


def draw_steps(rng: np.random.Generator) -> list[tuple[str, float]]:
    """Operations that one image gets: name and parameter, in order."""
    names = list(OPERATIONS)
    steps = []
    for index in rng.permutation(len(names))[:CHOSEN_OPERATIONS]:
        _, probability, low, high = OPERATIONS[names[index]]
        parameter = float(rng.uniform(low, high))
        if rng.random() < probability:
            steps.append((names[index], parameter))
    return steps


def draw_noise_std(rng: np.random.Generator) -> float:
    """Standard deviation of the sum of all noises that were chosen, of 1."""
    chosen = rng.random(len(NOISE_STDS)) < NOISE_PROBABILITY ** np.arange(1, len(NOISE_STDS) + 1)
    return float(np.sqrt((np.array(NOISE_STDS)[chosen] ** 2).sum()) / 255.0)


def apply_steps(image: np.ndarray, steps: list[tuple[str, float]]) -> np.ndarray:
    """(H, W[, 3]) uint8 -> the same shape, float32 in [0, 1]."""
    table = np.arange(256) / 255.0
    base, counts = image, None
    for name, parameter in steps:
        operation = OPERATIONS[name][0]
        if operation is not None:
            counts = np.bincount(base.ravel(), minlength=256) if counts is None and name == "equalize" else counts
            table = operation(table, counts if counts is not None else np.empty(0), parameter)
            continue
        smooth = cv2.GaussianBlur(table.astype(np.float32)[base], (BLUR_KERNEL, BLUR_KERNEL), BLUR_SIGMA)
        base, table, counts = np.round(smooth * 255.0).astype(np.uint8), np.arange(256) / 255.0, None
    return cv2.LUT(base, table.astype(np.float32))


def augment_image(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(H, W[, 3]) uint8 -> the same shape, float32 grey levels 0…255; one table and one draw of noise."""
    values = apply_steps(image, draw_steps(rng))
    std = draw_noise_std(rng)
    if std > 0:
        values += np.float32(std) * rng.standard_normal(image.shape, dtype=np.float32)
        np.clip(values, 0.0, 1.0, out=values)
    values *= 255.0
    return values
