"""Where labels may lie in their images: one rule for converters, checks, and all that looks at faces."""

import numpy as np

from trackertraincode.sample.fields import Kind
from trackertraincode.sample.images import Size

NEAR = 0.5  # image sizes by which the middle of a label may lie outside, as in images cut at the forehead
LARGEST_BOX = 4  # longer sides of the image
SIZES = {
    "head": (0.1, 2.0),
    "landmarks": (0.125, 8.0),
}  # of heads' radii and landmarks' extents, in longer sides of the box


def sizes_in_boxes(boxes: np.ndarray, name: str, values: np.ndarray) -> np.ndarray:
    """(N, 4) boxes, (N, 3) heads or (N, 68, 2 or 3) landmarks -> (N,) sizes in longer sides of the box, NaN where unknown.

    name: of SIZES, between which those of one face lie.
    """
    edge = (boxes[:, 2:] - boxes[:, :2]).max(1)
    size = values[:, 2] if name == "head" else np.ptp(values[..., :2], axis=1).max(1)
    return size / np.where(edge > 0, edge, np.nan)


def unusable(box: np.ndarray, size: Size) -> str:
    """Why nobody can look at a face in a box (4,) of an image; empty where nothing is wrong. box: pixels from the corner."""
    if not np.isfinite(box).all():
        return "isn't finite"
    if (box[2:] <= box[:2]).any():
        return "is empty, or has swapped corners"
    if (box[:2] >= size).any() or (box[2:] <= 0).any():
        return f"lies outside of the image of {size.width} × {size.height} pixels"
    return misplaced(Kind.BOX, box, size)


def misplaced(kind: Kind, value: np.ndarray, size: Size) -> str:
    """What is wrong with the place of a box (4,), a head (3,) or points (n, 2 or 3); empty where nothing is.

    value: pixels from the corner of the image. What isn't finite has no place, so nothing is wrong with it.
    """
    image = f"the image of {size.width} × {size.height} pixels"
    if kind is Kind.BOX and (value[2:] - value[:2]).max() > LARGEST_BOX * max(size):
        return f"is more than {LARGEST_BOX} times as large as {image}"
    if kind is Kind.BOX:
        middle = (value[:2] + value[2:]) / 2
    elif kind is Kind.HEAD:
        middle = value[:2]
    elif kind is Kind.POINTS:
        middle = value[:, :2].mean(0)
    else:
        return ""
    extent = np.array(size, np.float64)
    if np.isfinite(middle).all() and (np.abs(middle - extent / 2) > extent * (0.5 + NEAR)).any():
        return f"has its middle far outside of {image}"
    return ""
