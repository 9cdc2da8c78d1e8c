"""What only shows when the labels of a file are looked at together: wrong units, another order of numbers, copies.

    boxes, sizes, angles --suspicions--> texts     digests of images --copies--> rows and those that they repeat

Each row alone is possible, so these are suspicions, not faults.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

TINY = 3.0  # pixels; boxes whose longer side is below aren't of faces
NEARLY_ALL = 0.9  # share of the rows
FACE_ASPECT = 0.8  # width / height of usual face boxes
UNUSUAL = 0.25  # mean |log(aspect / FACE_ASPECT)| above which boxes have odd shapes; of real sets below 0.2
MIN_ANGLES = 3  # rows
DIGEST = 16  # bytes


@dataclass
class Whole:
    """What is remembered of all rows, for what only shows in all together: 52 bytes of each."""

    sizes: list[np.ndarray] = field(default_factory=list)  # (n, 2) each, infinite where not known
    digests: bytearray = field(default_factory=bytearray)  # of encoded images, DIGEST bytes each
    boxes: list[np.ndarray] = field(default_factory=list)  # (n, 4) each
    angles: list[np.ndarray] = field(default_factory=list)  # (n, 3) each, degrees

    def add(self, more: "Whole") -> None:
        """What is remembered of the rows that follow."""
        self.sizes += more.sizes
        self.digests += more.digests
        self.boxes += more.boxes
        self.angles += more.angles

    def suspicions(self) -> list[str]:
        """What looks wrong although each row is possible."""
        boxes = np.concatenate(self.boxes) if self.boxes else None
        sizes = np.concatenate(self.sizes) if self.sizes else np.empty((0, 2), np.float32)
        angles = np.concatenate(self.angles) if self.angles else None
        repeated = copies(np.frombuffer(self.digests, f"S{DIGEST}"))
        found = suspicions(boxes, sizes, angles)
        return [*found, describe_copies(repeated)] if repeated else found


def suspicions(
    boxes: np.ndarray | None = None, sizes: np.ndarray | None = None, angles: np.ndarray | None = None
) -> list[str]:
    """What is wrong with nearly all rows, if it is what it looks like.

    boxes: (N, 4) x0, y0, x1, y1; pixels. sizes: (N, 2) width and height of their images. angles: (M, 3) degrees.
    """
    found = []
    if boxes is not None:
        known = np.isfinite(boxes).all(1)
        boxes, sizes = boxes[known], None if sizes is None else sizes[known]
        sides = (boxes[:, 2:] - boxes[:, :2]).max(1) if len(boxes) else np.empty(0)
        if len(boxes) and (sides < TINY).mean() >= NEARLY_ALL:
            found.append(
                f"{(sides < TINY).sum()} of {len(boxes)} boxes are smaller than {TINY:g} pixels: are they fractions of the "
                "image? Boxes are x0, y0, x1, y1 in pixels."
            )
        elif sizes is not None and len(boxes) > 1 and _better_as_width_and_height(boxes, sizes):
            found.append(
                f"most of the {len(boxes)} boxes have shapes that faces lack, and would be usual as x, y, width, height: "
                "are they? Boxes are x0, y0, x1, y1 in pixels."
            )
    if angles is not None:
        known = angles[np.isfinite(angles).all(1)]
        if len(known) >= MIN_ANGLES and 0 < np.abs(known).max() <= np.pi:
            found.append(
                f"all angles of {len(known)} rows lie within ±{np.abs(known).max():.2f} degrees: are they radians? Angles "
                "are given in degrees."
            )
    return found


def _better_as_width_and_height(boxes: np.ndarray, sizes: np.ndarray) -> bool:
    """(N, 4), (N, 2): whether the last two numbers are more likely sizes than the second corner."""
    moved = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    fits = ((moved[:, 2:] > moved[:, :2]) & (moved[:, 2:] <= sizes + 1)).all(1)
    as_stored, as_sizes = _oddness(boxes), _oddness(moved)
    return bool(fits.mean() >= NEARLY_ALL and as_stored > UNUSUAL and as_sizes < as_stored / 2)


def _oddness(boxes: np.ndarray) -> float:
    """(N, 4): how far their shapes are from those of faces; boxes inside out count as very odd."""
    sides = (boxes[:, 2:] - boxes[:, :2]).clip(1e-3)
    return float(np.abs(np.log(sides[:, 0] / sides[:, 1] / FACE_ASPECT)).clip(max=2.0).mean())


def copies(digests: np.ndarray | Sequence[bytes]) -> list[tuple[int, int]]:
    """Rows whose digest an earlier row has, each with the first such row. digests: (N,) of equal lengths."""
    _, first, number = np.unique(np.asarray(digests), return_index=True, return_inverse=True)
    rows = np.flatnonzero(first[number] != np.arange(len(number)))
    return list(zip(rows.tolist(), first[number][rows].tolist()))


def describe_copies(pairs: Sequence[tuple[int, int]], shown: int = 10) -> str:
    """One line that names the first of them."""
    named = ", ".join(f"{row} (as {earlier})" for row, earlier in pairs[:shown])
    more = f" and {len(pairs) - shown} more" if len(pairs) > shown else ""
    return f"{len(pairs)} rows repeat the image of an earlier row: {named}{more}"
