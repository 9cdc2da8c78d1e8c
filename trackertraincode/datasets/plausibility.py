"""What only shows when the labels of a file are looked at together: wrong units, another order of numbers, copies.

    boxes, sizes, angles --suspicions--> texts     digests of images --copies--> rows and those that they repeat

Each row alone is possible, so these are suspicions, not faults.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from trackertraincode.sample.places import SIZES

TINY = 3.0  # pixels; boxes whose longer side is below aren't of faces
NEARLY_ALL, MOST = 0.9, 0.5  # shares of the rows
FACE_ASPECT = 0.8  # width / height of usual face boxes
UNUSUAL = 0.25  # mean |log(aspect / FACE_ASPECT)| above which boxes have odd shapes; of real sets below 0.2
TURNED = 0.4  # the same, above which boxes may lie on their sides
PERCENT = 100.0
LARGE_IMAGE = 300.0  # pixels of the longer side; faces don't all lie in the first 100
MIN_ROWS = 3  # that angles and percents take
DIGEST = 16  # bytes

ORDERS: dict[str, tuple[float, list[list[float]]]] = {  # oddness that it takes, corners from the four stored numbers
    "x, y, width, height": (UNUSUAL, [[1, 0, 0, 0], [0, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 1]]),
    "the middle's x, y, width, height": (UNUSUAL, [[1, 0, -0.5, 0], [0, 1, 0, -0.5], [1, 0, 0.5, 0], [0, 1, 0, 0.5]]),
    "x0, x1, y0, y1": (UNUSUAL, [[1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]]),
    "y0, x0, y1, x1": (TURNED, [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]]),
}


@dataclass
class Whole:
    """What is remembered of all rows, for what only shows in all together: 60 bytes of each."""

    sizes: list[np.ndarray] = field(default_factory=list)  # (n, 2) each, infinite where not known
    digests: bytearray = field(default_factory=bytearray)  # of encoded images, DIGEST bytes each
    boxes: list[np.ndarray] = field(default_factory=list)  # (n, 4) each
    angles: list[np.ndarray] = field(default_factory=list)  # (n, 3) each, degrees
    in_boxes: dict[str, list[np.ndarray]] = field(default_factory=lambda: {name: [] for name in SIZES})  # (n,) each

    def add(self, more: "Whole") -> None:
        """What is remembered of the rows that follow."""
        self.sizes += more.sizes
        self.digests += more.digests
        self.boxes += more.boxes
        self.angles += more.angles
        for name, values in more.in_boxes.items():
            self.in_boxes[name] += values

    def suspicions(self) -> list[str]:
        """What looks wrong although each row is possible."""
        boxes = np.concatenate(self.boxes) if self.boxes else None
        sizes = np.concatenate(self.sizes) if self.sizes else np.empty((0, 2), np.float32)
        angles = np.concatenate(self.angles) if self.angles else None
        repeated = copies(np.frombuffer(self.digests, f"S{DIGEST}"))
        found = suspicions(boxes, sizes, angles)
        found += [text for name, values in self.in_boxes.items() if values and (text := _about_sizes(name, values))]
        return [*found, describe_copies(repeated)] if repeated else found


def suspicions(
    boxes: np.ndarray | None = None, sizes: np.ndarray | None = None, angles: np.ndarray | None = None
) -> list[str]:
    """What is wrong with nearly all rows, if it is what it looks like.

    boxes: (N, 4) x0, y0, x1, y1; pixels. sizes: (N, 2) width and height of their images. angles: (M, 3) pitch, yaw,
    roll; degrees, as the archive has them where that is known: a few of AFLW2000-3D are several turns.
    """
    found = []
    if boxes is not None:
        known = np.isfinite(boxes).all(1)
        told = _about_boxes(boxes[known], None if sizes is None else sizes[known]) if known.any() else ""
        if told:
            found.append(f"{told} Boxes are x0, y0, x1, y1 in pixels.")
    if angles is not None:
        known = angles[np.isfinite(angles).all(1)]
        if len(known) >= MIN_ROWS and 0 < np.abs(known).max() <= np.pi:
            found.append(
                f"all angles of {len(known)} rows lie within ±{np.abs(known).max():.2f} degrees: are they radians? Angles "
                "are given in degrees."
            )
        turned = (np.abs(known) > 360).any(1)
        if len(known) >= MIN_ROWS and turned.mean() >= MOST:
            found.append(
                f"{turned.sum()} of {len(known)} rows have an angle of more than a whole turn: did the archive store degrees "
                "where radians are read?"
            )
        away = np.cos(np.radians(known[:, :2])).prod(1) < 0
        if len(known) >= MIN_ROWS and away.mean() >= NEARLY_ALL:
            found.append(
                f"{away.sum()} of {len(known)} heads look away from the camera: are rotations stored in another order or "
                "convention? Quaternions are i, j, k, w; all angles 0 looks into the camera."
            )
    return found


def _about_sizes(name: str, parts: Sequence[np.ndarray]) -> str:
    """parts: of `sizes_in_boxes`. Empty where nothing seems wrong."""
    known = np.concatenate(parts)
    known = known[np.isfinite(known)]
    low, high = SIZES[name]
    wrong = (known < low) | (known > high)
    if len(known) < MIN_ROWS or wrong.mean() < NEARLY_ALL:
        return ""
    what = "radii of heads" if name == "head" else "extents of landmarks"
    return (
        f"{what} of {wrong.sum()} of {len(known)} rows, such as {np.median(known[wrong]):.3g} of the face box's longer side, "
        "aren't those of the faces in the boxes: are they in other units? All are pixels."
    )


def _about_boxes(boxes: np.ndarray, sizes: np.ndarray | None) -> str:
    """(N, 4), (N, 2), N above 0: what they seem to be instead of corners in pixels, empty where nothing seems wrong."""
    sides = (boxes[:, 2:] - boxes[:, :2]).max(1)
    tiny = (sides > 0) & (sides < TINY)
    if tiny.mean() >= NEARLY_ALL:
        return f"{tiny.sum()} of {len(boxes)} boxes are smaller than {TINY:g} pixels: are they fractions of the image?"
    if sizes is None:
        return ""
    if len(boxes) >= MIN_ROWS and boxes.max() <= PERCENT and np.median(sizes.max(1)) >= LARGE_IMAGE:
        return f"all {len(boxes)} boxes lie in the first {PERCENT:g} pixels of large images: are they percents of them?"
    stored = _oddness(boxes)
    for order, (least, matrix) in ORDERS.items():
        moved = boxes @ np.array(matrix).T
        fits = ((moved[:, 2:] > moved[:, :2]) & (moved[:, :2] >= -1) & (moved[:, 2:] <= sizes + 1)).all(1)
        if len(boxes) > 1 and fits.mean() >= NEARLY_ALL and stored > least and _oddness(moved) < stored / 2:
            return (
                f"most of the {len(boxes)} boxes have shapes that faces lack, and would be usual as {order}: are they?"
            )
    return ""


def _oddness(boxes: np.ndarray) -> float:
    """(N, 4): how far their shapes are from those of faces; boxes inside out count as very odd."""
    sides = (boxes[:, 2:] - boxes[:, :2]).clip(1e-3)
    odd = np.abs(np.log(sides[:, 0] / sides[:, 1] / FACE_ASPECT)).clip(max=2.0)
    return float(np.where((boxes[:, 2:] > boxes[:, :2]).all(1), odd, 2.0).mean())


def copies(digests: np.ndarray | Sequence[bytes]) -> list[tuple[int, int]]:
    """Rows whose digest an earlier row has, each with the first such row. digests: (N,) of equal lengths."""
    _, first, number = np.unique(np.asarray(digests), return_index=True, return_inverse=True)
    rows = np.flatnonzero(first[number] != np.arange(len(number)))
    return list(zip(rows.tolist(), first[number][rows].tolist()))


def describe_copies(pairs: Sequence[tuple[int, int]]) -> str:
    """One line that names the first of them."""
    shown = 10
    named = ", ".join(f"{row} (as {earlier})" for row, earlier in pairs[:shown])
    more = f" and {len(pairs) - shown} more" if len(pairs) > shown else ""
    return f"{len(pairs)} rows repeat the image of an earlier row: {named}{more}"
