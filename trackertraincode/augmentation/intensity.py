"""Intensity augmentation as tables: one 256-entry table per image and one draw of noise, on any device.

Exactly 4 of the 6 operations of `OPERATIONS` in random order, each then applied with its probability; then noise. The
same as the kornia pipeline of `intensity_kornia.py`, at a thirtieth of its time.

    rng --draw_changes--> Changes --make_tables(histograms)--> (B, 256) what becomes of each grey level
    blur, the one operation that is no table, stands between two tables
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from trackertraincode.geometry.constants import constant

CHOSEN_OPERATIONS = 4
BLUR_KERNEL, BLUR_SIGMA = 5, 1.5
BLUR_WEIGHTS = tuple(cv2.getGaussianKernel(BLUR_KERNEL, BLUR_SIGMA, cv2.CV_32F)[:, 0].tolist())
NOISE_STDS = (4.0, 16.0, 32.0, 64.0)  # grey levels of 255; the k-th with probability 0.25 ** k
NOISE_PROBABILITY = 0.25


def equalize(table: Tensor, counts: Tensor, _: Tensor) -> Tensor:
    """Histogram equalisation. counts: (n, 256) int32, pixels per grey level of the images that tables are applied to."""
    levels = table.long()
    histogram = torch.zeros_like(counts).scatter_add_(1, levels, counts)
    below = histogram.cumsum(1, dtype=torch.int32)
    darker = torch.where(below < below[:, -1:], below, 0)  # without the brightest that is there
    step = darker.amax(1, keepdim=True) // 255
    mapped = (below - histogram + step // 2) // step.clamp_min(1)
    return torch.where(step > 0, mapped.clamp(0, 255).gather(1, levels).to(table.dtype), table)


def posterize(table: Tensor, _: Tensor, bits: Tensor) -> Tensor:
    """Keep the upper bits of 8: (n, 256) grey levels 0…255 and parameters (n, 1) -> (n, 256), as of those below."""
    step = 2.0 ** (8.0 - bits.floor())
    return (table.floor() / step).floor() * step


def adjust_gamma(table: Tensor, _: Tensor, gamma: Tensor) -> Tensor:
    """(n, 256), (n, 1) -> (n, 256)."""
    return (table / 255.0) ** gamma * 255.0


def scale_contrast(table: Tensor, _: Tensor, factor: Tensor) -> Tensor:
    """(n, 256), (n, 1) -> (n, 256)."""
    return (table * factor).clamp(0.0, 255.0)


def shift_brightness(table: Tensor, _: Tensor, factor: Tensor) -> Tensor:
    """(n, 256), (n, 1) -> (n, 256)."""
    return (table + (factor - 1.0) * 255.0).clamp(0.0, 255.0)


EQUALIZE, BLUR = "equalize", "blur"
Operation = Callable[[Tensor, Tensor, Tensor], Tensor]

# name -> (operation, probability, low, high of its parameter)
OPERATIONS: dict[str, tuple[Operation | None, float, float, float]] = {
    EQUALIZE: (equalize, 0.2, 0.0, 0.0),
    "posterize": (posterize, 0.01, 4.0, 7.0),  # whole bits 4, 5, 6
    "gamma": (adjust_gamma, 0.2, 0.5, 2.0),
    "contrast": (scale_contrast, 0.2, 0.7, 1.5),
    "brightness": (shift_brightness, 0.2, 0.7, 1.5),
    BLUR: (None, 0.1, 0.0, 0.0),
}
CODES = {name: code for code, name in enumerate(OPERATIONS)}
FUNCTIONS = tuple(row[0] for row in OPERATIONS.values())
NOTHING = -1
_ZERO = np.zeros(1)


@dataclass(frozen=True)
class Changes:
    """What happens to B images."""

    steps: np.ndarray  # (B, 4) int64: CODES in order, then NOTHING
    parameters: np.ndarray  # (B, 4) float32
    noise_std: np.ndarray  # (B,) float32 grey levels of 255
    noise_seed: np.ndarray  # (B,) int64

    def select(self, rows: slice | np.ndarray) -> "Changes":
        """Some of the images. rows: a slice, or (n,) numbers."""
        return Changes(self.steps[rows], self.parameters[rows], self.noise_std[rows], self.noise_seed[rows])

    def has(self, name: str) -> np.ndarray:
        """Numbers (n,) of the images to which an operation happens."""
        return np.flatnonzero((self.steps == CODES[name]).any(1))


def draw_changes(count: int, rng: np.random.Generator) -> Changes:
    """Of `count` images: the only random lines."""
    probability, low, high = np.array([row[1:] for row in OPERATIONS.values()]).T
    order = rng.permuted(np.tile(np.arange(len(OPERATIONS)), (count, 1)), axis=1)[:, :CHOSEN_OPERATIONS]
    parameters = rng.uniform(low[order], high[order]).astype(np.float32)
    happens = rng.random(order.shape) < probability[order]
    first = np.argsort(~happens, axis=1, kind="stable")  # fewer steps for most, which makes tables faster
    steps, parameters = (np.take_along_axis(v, first, 1) for v in (np.where(happens, order, NOTHING), parameters))
    noisy = rng.random((count, len(NOISE_STDS))) < NOISE_PROBABILITY ** np.arange(1, len(NOISE_STDS) + 1)
    stds = np.sqrt((noisy * np.square(NOISE_STDS)).sum(1)).astype(np.float32)
    return Changes(steps, parameters, stds, rng.integers(2**31, size=count))


def make_tables(steps: np.ndarray, parameters: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """What becomes of grey levels: (B, 256) float32. steps, parameters: (B, n); counts: (B, 256), for `equalize` only."""
    tables = np.tile(np.arange(256, dtype=np.float32), (len(steps), 1))
    for step, parameter in zip(steps.T, parameters.T):
        for code in np.unique(step).tolist():
            operation = None if code == NOTHING else FUNCTIONS[code]
            if operation is not None:
                rows = np.flatnonzero(step == code)
                chosen = (torch.from_numpy(values[rows]) for values in (tables, counts, parameter[:, None]))
                tables[rows] = operation(*chosen).numpy()
    return tables


def early_tables(changes: Changes) -> np.ndarray:
    """(B, 256) float32 tables of images that are neither equalised nor blurred; cheaper per image the more they are."""
    known = np.where(_wait(changes.steps)[:, None], NOTHING, changes.steps)
    return make_tables(known, changes.parameters, np.empty((len(known), 0), np.int32))


def _wait(steps: np.ndarray) -> np.ndarray:
    """(B, n) -> (B,) bool: whether the table depends on the image, or it is blurred before."""
    return ((steps == CODES[EQUALIZE]) | (steps == CODES[BLUR])).any(1)


def tabled(images: np.ndarray, changes: Changes, early: np.ndarray | None = None) -> np.ndarray:
    """(B, S, S[, 3]) uint8, blurred in place where they should be -> (B, 256) float32 tables to apply to them.

    early: what `early_tables` gives, if it is known.
    """
    tables = early_tables(changes) if early is None else early.copy()
    late = np.flatnonzero(_wait(changes.steps))
    if not len(late):
        return tables
    after, parameters = changes.steps[late], changes.parameters[late]
    behind = np.cumsum(after == CODES[BLUR], axis=1) > 0
    blurred = behind[:, -1]
    if blurred.any():
        rows, before = late[blurred], np.where(behind, NOTHING, after)[blurred]
        after = np.where(behind | ~blurred[:, None], after, NOTHING)
        sharpened = make_tables(before, parameters[blurred], _histograms(images, rows, before))
        for image, table in zip(rows.tolist(), sharpened):
            sharp = cv2.LUT(images[image], table)
            cv2.convertScaleAbs(cv2.GaussianBlur(sharp, (BLUR_KERNEL, BLUR_KERNEL), BLUR_SIGMA), dst=images[image])
    tables[late] = make_tables(after, parameters, _histograms(images, late, after))
    return tables


def _histograms(images: np.ndarray, rows: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """(n, 256) int32 pixels per grey level, of those images that are equalised. rows: (n,) numbers; steps: (n, 4)."""
    counts = np.zeros((len(rows), 256), np.int32)
    for place in np.flatnonzero((steps == CODES[EQUALIZE]).any(1)).tolist():
        counts[place] = cv2.calcHist([images[rows[place]].reshape(1, -1)], [0], None, [256], [0, 256]).ravel()
    return counts


def change_images(images: np.ndarray, changes: Changes, early: np.ndarray | None = None) -> np.ndarray:
    """(B, S, S[, 3]) uint8, which may be changed -> the same shape, float32 grey levels 0…255, with noise.

    early: what `early_tables` gives, if it is known.
    """
    result = np.empty(images.shape, np.float32)
    tables = tabled(images, changes, early)
    plain = (changes.steps == NOTHING).all(1).tolist()
    noise = np.empty((images.shape[1], images[0].size // images.shape[1]), np.float32)
    for row, (std, seed) in enumerate(zip(changes.noise_std.tolist(), changes.noise_seed.tolist())):
        out = result[row]
        if plain[row]:
            np.copyto(out, images[row])
        else:
            cv2.LUT(images[row], tables[row], dst=out)
        if std > 0:
            cv2.setRNGSeed(seed)
            out += cv2.randn(noise, _ZERO, np.array([std])).reshape(out.shape)
            np.clip(out, 0.0, 255.0, out=out)
    return result


def tabled_on_device(images: Tensor, steps: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
    """As `tabled`, on the device of (B, C, S, S) float32 whole grey levels: images, blurred where they should be; (B, 256).

    steps, parameters: (B, 4). All rows are computed alike and chosen from, so the device never waits.
    """
    behind = (steps == CODES[BLUR]).cumsum(1) > 0
    blurred = behind[:, -1:]
    sharp = _looked_up(images, _masked_tables(torch.where(behind, NOTHING, steps), parameters, images))
    images = torch.where(blurred[..., None, None], _smooth(sharp).round(), images)
    return images, _masked_tables(torch.where(behind | ~blurred, steps, NOTHING), parameters, images)


def _masked_tables(steps: Tensor, parameters: Tensor, images: Tensor) -> Tensor:
    """`make_tables` of all rows alike. steps, parameters: (B, n); images: (B, C, S, S) whole grey levels."""
    levels = images.flatten(1).long()
    counts = torch.zeros(len(images), 256, dtype=torch.int32, device=images.device)
    counts.scatter_add_(1, levels, torch.ones_like(levels, dtype=torch.int32))
    tables = torch.arange(256, dtype=torch.float32, device=images.device).expand(len(images), -1)
    for place in range(steps.shape[1]):
        result = tables
        for code, (operation, *_) in enumerate(OPERATIONS.values()):
            if operation is not None:
                changed = operation(tables, counts, parameters[:, place, None])
                result = torch.where(steps[:, place, None] == code, changed, result)
        tables = result
    return tables


def _looked_up(images: Tensor, tables: Tensor) -> Tensor:
    return tables.gather(1, images.flatten(1).long()).reshape(images.shape)


def _smooth(images: Tensor) -> Tensor:
    """(B, C, S, S) -> cv2.GaussianBlur of them."""
    kernel, half = constant(BLUR_WEIGHTS, images.device), BLUR_KERNEL // 2
    padded = nn.functional.pad(images.flatten(0, 1)[:, None], (half, half, half, half), mode="reflect")
    rows = nn.functional.conv2d(padded, kernel[None, None, None])
    return nn.functional.conv2d(rows, kernel[None, None, :, None]).reshape(images.shape)


def apply_tables(images: Tensor, intensity: Tensor) -> Tensor:
    """On the device. (B, C, S, S) whole grey levels, (B, 257) tables and standard deviations -> float32 grey levels 0…255."""
    values = _looked_up(images, intensity[:, :-1])
    noise = torch.randn_like(values) * intensity[:, -1, None, None, None]
    return (values + noise).clamp(0.0, 255.0)


def augment_image(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(H, W[, 3]) uint8 -> the same shape, float32 grey levels 0…255."""
    changed: np.ndarray = change_images(image[None].copy(), draw_changes(1, rng))[0]
    return changed
