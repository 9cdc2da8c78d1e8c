"""Turned sheets to images by the software rasteriser: mesh --rasterize--> where each pixel comes from --cv2.remap--> image"""

from typing import NamedTuple

import cv2
import numpy as np

from trackertraincode.expansion.sheet import Turned
from trackertraincode.geometry.pixels import HALF_PIXEL
from trackertraincode.rendering.rasterizer import Surface, rasterize
from trackertraincode.sample.images import Size

EDGE = 4.0  # pixels between the sources of neighbours that belong to different parts of the sheet


class Window(NamedTuple):
    """The part of the image that changes, pixels."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Of an image's rows and columns."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)


def draw(image: np.ndarray, turned: Turned, shade: np.ndarray | None = None) -> np.ndarray:
    """(H, W, 3) uint8 -> the same size. shade: (V,) factors of the light; the first one holds beyond the mesh."""
    window = _window(turned, image)
    result = image.copy() if shade is None else lit(image, shade[0])
    if window is None:
        return result
    source, light = _sources(turned, window, shade)
    drawn = cv2.remap(image, source[..., 0], source[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    if shade is not None:
        drawn = lit(drawn, light[..., None])
    edges = _edges(source)
    drawn[edges] = cv2.GaussianBlur(drawn, (3, 3), 0.7)[edges]
    result[window.slices] = drawn
    return result


def lit(image: np.ndarray, factor: np.ndarray | float) -> np.ndarray:
    """(H, W, 3) uint8 under that many times the light."""
    return np.clip(image * factor + 0.5, 0, 255).astype(np.uint8)


def draw_classes(classes: np.ndarray, turned: Turned) -> np.ndarray:
    """(H, W) uint8 label image -> the same size, without mixing classes."""
    window = _window(turned, classes)
    result = classes.copy()
    if window is not None:
        source, _ = _sources(turned, window, None)
        result[window.slices] = cv2.remap(
            classes, source[..., 0], source[..., 1], cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT_101
        )
    return result


def _window(turned: Turned, image: np.ndarray) -> Window | None:
    size = Size(image.shape[1], image.shape[0])
    (x0, y0), (x1, y1) = (
        np.clip(bound, 0, size).astype(int).tolist()
        for bound in (np.floor(turned.points[:, :2].min(0)), np.ceil(turned.points[:, :2].max(0)))
    )
    return Window(x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None


def _sources(turned: Turned, window: Window, shade: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """(h, w, 2) float32 where the pixels of the window come from, as OpenCV counts, and (h, w) the light there."""
    values = np.ones((len(turned.points), 3), np.float32)
    values[:, :2] = turned.source
    if shade is not None:
        values[:, 2] = shade
    placed = turned.points - [window.x0, window.y0, 0.0]
    found, covered = rasterize(Surface(placed, turned.triangles, values), window.x1 - window.x0, window.y1 - window.y0)
    y, x = np.nonzero(~covered)  # beyond the sheet nothing moves
    found[y, x] = np.stack(
        [x + window.x0 + HALF_PIXEL, y + window.y0 + HALF_PIXEL, np.full(len(x), values[0, 2])], axis=1
    )
    return np.ascontiguousarray(found[..., :2]) - np.float32(HALF_PIXEL), found[..., 2]


def _edges(source: np.ndarray) -> np.ndarray:
    """(h, w) bool: where one part of the sheet hides another, on both sides; drawn without steps there."""
    spread = cv2.morphologyEx(source, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    return (spread[..., 0] > EDGE) | (spread[..., 1] > EDGE)
