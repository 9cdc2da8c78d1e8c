"""What OpenTrack's NeuralNet tracker does around its pose network, step by step.

Facts from the plugin's sources (tracker-neuralnet/model_adapters.cpp): every rounding is kept, including its patch
centre, which counts pixel edges where OpenCV counts pixel centres.
"""

import math
from typing import NamedTuple

import cv2
import numpy as np

PYRAMID_WIDTH = 640  # levels are added while the last one is at least this wide
QUANTILE = 0.9
DARK_QUANTILE = 127  # grey level under which the plugin brightens
DEFAULT_DIAGONAL_FOV = math.radians(56.0)
HEAD_DIAMETER_MM = 200.0


class PixelBox(NamedTuple):
    """A box of whole pixels, as the plugin keeps it."""

    x: int
    y: int
    width: int
    height: int


class Patch(NamedTuple):
    """The square that the network sees: grey picture, and where it lies in the frame it was cut from."""

    image: np.ndarray  # (edge, edge) uint8
    center: tuple[float, float]  # pixels of the full frame
    edge: float  # pixels of the full frame


class HeadPosition(NamedTuple):
    """Head relative to the camera, millimetres: X negative in front of it, Y up, Z to the left of the picture."""

    x: float
    y: float
    z: float


def build_pyramid(frame: np.ndarray) -> list[np.ndarray]:
    """Grey frame -> [frame, half, quarter, ...]; a level is added while the last one is 640 px wide or wider."""
    levels = [frame]
    while levels[-1].shape[1] >= PYRAMID_WIDTH:
        levels.append(cv2.pyrDown(levels[-1]))
    return levels


def pyramid_level(box_width: float, input_width: int, depth: int) -> int:
    """Which level of a pyramid with `depth` levels serves a box this wide at full size."""
    if box_width <= 0:
        return 0
    return int(np.clip(math.floor(math.log2(box_width / input_width)), 0, depth - 1))


def extract_patch(pyramid: list[np.ndarray], box: PixelBox, input_width: int) -> Patch:
    """Cut the square around a box of the full frame; its centre is clamped to the frame, the border is replicated."""
    level = pyramid_level(box.width, input_width, len(pyramid))
    scale = 2**level
    frame = pyramid[level]
    height, width = frame.shape
    scaled = PixelBox(*(int(value / scale) for value in box))
    edge = max(scaled.width, scaled.height, 1)
    center = (
        float(np.clip(scaled.x + 0.5 * scaled.width, 0, width)),
        float(np.clip(scaled.y + 0.5 * scaled.height, 0, height)),
    )
    image = cv2.getRectSubPix(frame, (edge, edge), center)
    return Patch(image, (center[0] * scale, center[1] * scale), float(edge * scale))


def intensity_quantile(image: np.ndarray, share: float = QUANTILE) -> int:
    """The first grey level whose cumulative count exceeds int(share · n)."""
    counts = np.cumsum(np.bincount(image.ravel(), minlength=256))
    return int(np.argmax(counts > int(share * image.size)))


def normalize_brightness(image: np.ndarray) -> np.ndarray:
    """uint8 -> float32, about [-0.5, 0.5]; dark pictures are brightened."""
    level = intensity_quantile(image)
    alpha = 0.5 * QUANTILE / max(5, level) if level < DARK_QUANTILE else 1.0 / 255.0
    return (image.astype(np.float32) * np.float32(alpha) - np.float32(0.5)).astype(np.float32)


def network_input(patch: Patch, size: int) -> np.ndarray:
    """(1, 1, size, size) float32, ready for the network."""
    resized = cv2.resize(patch.image, (size, size), interpolation=cv2.INTER_AREA)
    return normalize_brightness(resized)[None, None]


def to_frame(patch: Patch, position_size: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Network outputs in [-1, 1] -> (x, y, radius) and (x0, y0, x1, y1) in pixels of the full frame."""
    half = 0.5 * patch.edge
    center = np.asarray(patch.center, dtype=np.float32)
    head = np.concatenate([center + half * position_size[:2], half * position_size[2:3]])
    return head, np.tile(center, 2) + half * box


def next_box(box: np.ndarray, zoom: float = 1.0) -> PixelBox:
    """The box to look at in the next frame: the predicted one, grown by `zoom` about its centre, in whole pixels."""
    center, size = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) * zoom
    x, y = center - size / 2
    return PixelBox(int(x), int(y), int(size[0]), int(size[1]))


def fields_of_view(width: int, height: int, diagonal: float = DEFAULT_DIAGONAL_FOV) -> tuple[float, float]:
    """Horizontal and vertical field of view of a camera, all radians, from its diagonal one."""
    aspect = width / height
    half = math.tan(diagonal / 2)
    return 2 * math.atan(half / math.sqrt(1 + 1 / aspect**2)), 2 * math.atan(half / math.sqrt(1 + aspect**2))


def world_position(head: np.ndarray, width: int, height: int, diagonal: float = DEFAULT_DIAGONAL_FOV) -> HeadPosition:
    """(x, y, radius) in pixels -> millimetres relative to the camera."""
    fov_w, fov_h = fields_of_view(width, height, diagonal)
    f_w, f_h = 1 / math.tan(fov_w / 2), 1 / math.tan(fov_h / 2)
    x = -f_w * (width / 2) / (2 * float(head[2])) * HEAD_DIAMETER_MM
    return HeadPosition(x, (2 * float(head[1]) / height - 1) * x / f_h, (2 * float(head[0]) / width - 1) * x / f_w)


def world_rotation(quat: np.ndarray, position: HeadPosition) -> np.ndarray:
    """Network quaternion (i, j, k, w) -> the world's quaternion (i, j, k, w), relative to the camera.

    The network sees the head along the viewing ray, so its rotation is premultiplied by the turn that takes
    (-1, 0, 0) to the direction of the head.
    """
    i, j, k, w = (float(value) for value in quat)
    world = np.array([-k, -j, -i, w])
    direction = np.asarray(position) / np.linalg.norm(position)
    axis = np.cross([-1.0, 0.0, 0.0], direction)
    turn = np.array([*axis, 1.0 - direction[0]])
    return _multiply(turn / np.linalg.norm(turn), world)


def _multiply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    vector = a[3] * b[:3] + b[3] * a[:3] + np.cross(a[:3], b[:3])
    return np.array([*vector, a[3] * b[3] - a[:3] @ b[:3]])
