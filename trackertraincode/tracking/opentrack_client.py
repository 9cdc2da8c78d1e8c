"""What OpenTrack's NeuralNet tracker does around its pose network, step by step.

    frame --crop_to_4_3--> view --build_pyramid--> grey levels --extract_patch--> square --network_input--> network
    outputs --to_frame--> pixels of the view --next_box--> where to look in the next frame

Facts from the plugin's sources (tracker-neuralnet/model_adapters.cpp): every rounding is kept, including its patch
centre, which counts pixel edges where OpenCV counts pixel centres. Boxes are float32, as there.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import cv2
import numpy as np

from trackertraincode.geometry.single import multiply

PYRAMID_WIDTH = 640  # levels are added while the last one is at least this wide
PYRAMID_DEPTH = 4  # levels at most
LARGEST_BOX = 4.0  # longer sides of the frame; what is larger has nothing to do with a face
QUANTILE = 0.9
DARK_QUANTILE = 127  # grey level under which the plugin brightens
DIAGONAL_FOV_DEG = 56.0  # of a camera, as the plugin has it at first
DEFAULT_DIAGONAL_FOV = math.radians(DIAGONAL_FOV_DEG)
HEAD_DIAMETER_MM = 200.0
SMALLEST_HEAD = 1e-3  # pixels; stands for heads without a size, whose distance would be infinite


class PixelBox(NamedTuple):
    """A box in pixels, as the plugin keeps it: not rounded before a patch is cut."""

    x: float
    y: float
    width: float
    height: float


class Patch(NamedTuple):
    """The square that the network sees: grey image, and where it lies in the frame it was cut from."""

    image: np.ndarray  # (edge, edge) uint8
    center: tuple[float, float]  # pixels of the full frame
    edge: float  # pixels of the full frame


class HeadPosition(NamedTuple):
    """Head relative to the camera, millimetres: X negative in front of it, Y up, Z to the left of the image."""

    x: float
    y: float
    z: float


@contextmanager
def plugin_arithmetic() -> Iterator[None]:
    """This thread's OpenCV without Intel's IPP, whose getRectSubPix rounds otherwise than the plugin's OpenCV."""
    before = cv2.ipp.useIPP()
    cv2.ipp.setUseIPP(False)
    try:
        yield
    finally:
        cv2.ipp.setUseIPP(before)


def crop_to_4_3(frame: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """(H, W[, 3]) -> the largest 4:3 part about its middle, and the x, y of that part's corner in whole pixels."""
    height, width = frame.shape[:2]
    wide, high = (4 * height // 3, height) if 3 * width > 4 * height else (width, 3 * width // 4)
    left, top = (width - wide) // 2, (height - high) // 2
    return frame[top : top + max(1, high), left : left + max(1, wide)], (left, top)


@plugin_arithmetic()
def build_pyramid(frame: np.ndarray) -> list[np.ndarray]:
    """(H, W) grey or (H, W, 3) RGB uint8 -> [frame, half, quarter, ...], each (h, w) grey, 4 levels at most.

    A level is added while the last one is 640 px wide or wider. Colours are halved before they become grey.
    """
    levels = [frame]
    while levels[-1].shape[1] >= PYRAMID_WIDTH and len(levels) < PYRAMID_DEPTH:
        levels.append(cv2.pyrDown(levels[-1]))
    return levels if frame.ndim == 2 else [cv2.cvtColor(level, cv2.COLOR_RGB2GRAY) for level in levels]


def pyramid_level(box_width: float, input_width: int, depth: int) -> int:
    """Which level of a pyramid with `depth` levels serves a box this wide at full size."""
    if box_width <= 0:
        return 0
    return int(np.clip(math.floor(math.log2(box_width / input_width)), 0, depth - 1))


def has_usable_size(box: PixelBox, frame: np.ndarray) -> bool:
    """Whether a box is finite, of positive size, and at most four times as long as a (H, W[, 3]) frame."""
    finite = all(map(math.isfinite, box))
    return (
        finite and min(box.width, box.height) > 0 and max(box.width, box.height) <= LARGEST_BOX * max(frame.shape[:2])
    )


def has_middle_in(box: PixelBox, frame: np.ndarray) -> bool:
    """Whether a box' middle lies inside a (H, W[, 3]) frame."""
    height, width = frame.shape[:2]
    return 0 <= box.x + box.width / 2 <= width and 0 <= box.y + box.height / 2 <= height


def touches(box: PixelBox, frame: np.ndarray) -> bool:
    """Whether some of a box lies inside a (H, W[, 3]) frame."""
    height, width = frame.shape[:2]
    return box.x < width and box.y < height and box.x + box.width > 0 and box.y + box.height > 0


@plugin_arithmetic()
def extract_patch(pyramid: list[np.ndarray], box: PixelBox, input_width: int) -> Patch:
    """Cut the square around a box of the full frame; its centre is clamped to the frame, the border is replicated.

    pyramid: (h, w) uint8 levels. The box on its level is rounded to whole pixels, halves to the even one.
    """
    level = pyramid_level(box.width, input_width, len(pyramid))
    scale = 2**level
    frame = pyramid[level]
    height, width = frame.shape
    x, y, wide, high = (round(value / scale) for value in box)
    edge = max(wide, high, 1)
    center = (min(max(x + 0.5 * wide, 0.0), float(width)), min(max(y + 0.5 * high, 0.0), float(height)))
    image = cv2.getRectSubPix(frame, (edge, edge), center)
    return Patch(image, (center[0] * scale, center[1] * scale), float(edge * scale))


def intensity_quantile(image: np.ndarray) -> int:
    """The first grey level of a (H, W) uint8 image whose cumulative count exceeds int(QUANTILE · n)."""
    counts = np.cumsum(np.bincount(image.ravel(), minlength=256))
    return int(np.argmax(counts > int(QUANTILE * image.size)))


def scale_grey(image: np.ndarray, alpha: np.float32) -> np.ndarray:
    """uint8 -> float32 of the same shape, pixel · alpha - 0.5, rounded once."""
    table = np.arange(256) * np.float64(alpha) - 0.5
    return table.astype(np.float32)[image]


def normalize_brightness(image: np.ndarray) -> np.ndarray:
    """(H, W) uint8 -> float32, about [-0.5, 0.5]; dark images are brightened."""
    level = intensity_quantile(image)
    dark = np.float32(0.5 * QUANTILE) / np.float32(max(5, level))
    return scale_grey(image, dark if level < DARK_QUANTILE else np.float32(1.0 / 255.0))


@plugin_arithmetic()
def network_input(patch: Patch, size: int) -> np.ndarray:
    """(1, 1, size, size) float32, ready for the network."""
    resized = cv2.resize(patch.image, (size, size), interpolation=cv2.INTER_AREA)
    return normalize_brightness(resized)[None, None]


def predicted_box(patch: Patch, box: np.ndarray) -> PixelBox:
    """The network's (4,) box x0, y0, x1, y1 in [-1, 1] of the patch -> pixels of the full frame."""
    half = np.float32(0.5 * patch.edge)
    corner = np.asarray(patch.center, np.float32) + half * box[:2]
    return PixelBox(*(float(v) for v in (*corner, *(half * (box[2:] - box[:2])))))


def to_frame(patch: Patch, position_size: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Network outputs in [-1, 1], (3,) and (4,) -> (x, y, radius), (x0, y0, x1, y1) in pixels of the full frame."""
    half = np.float32(0.5 * patch.edge)
    center = np.asarray(patch.center, dtype=np.float32)
    head = np.concatenate([center + half * position_size[:2], half * position_size[2:3]])
    x, y, width, height = predicted_box(patch, box)
    return head, np.array([x, y, x + width, y + height], np.float32)


def next_box(last: PixelBox, predicted: PixelBox, zoom: float = 1.0, alpha: float = 1.0) -> PixelBox:
    """The box to look at in the next frame: the predicted one, grown by `zoom` about its centre, then filtered.

    alpha: weight of the new box against the last one, 1.0 as the plugin is delivered.
    """
    old, new = np.array(last, np.float32), np.array(predicted, np.float32)
    old_corner, old_size, new_corner, new_size = old[:2], old[2:], new[:2], new[2:]
    grown = new_size * np.float32(zoom)
    corner = new_corner + (new_size - grown) / 2
    old_center, center = (0.5 * (c + (c + s)) for c, s in ((old_corner, old_size), (corner, grown)))
    size = old_size + np.float32(alpha) * (grown - old_size)
    center = old_center + np.float32(alpha) * (center - old_center)
    return PixelBox(*(float(v) for v in (*(center - 0.5 * size), *size)))


def overlap(a: PixelBox, b: PixelBox) -> float:
    """Intersection over union; 0 where both are empty."""
    first, second = np.array(a, np.float32), np.array(b, np.float32)
    low = np.maximum(first[:2], second[:2])
    high = np.minimum(first[:2] + first[2:], second[:2] + second[2:])
    common = np.maximum(high - low, 0).prod()
    union = first[2:].prod() + second[2:].prod() - common
    return float(common / union) if union > 0 else 0.0


def fields_of_view(width: int, height: int, diagonal: float = DEFAULT_DIAGONAL_FOV) -> tuple[float, float]:
    """Horizontal and vertical field of view of a camera, all radians, from its diagonal one."""
    aspect = width / height
    half = math.tan(diagonal / 2)
    return 2 * math.atan(half / math.sqrt(1 + 1 / aspect**2)), 2 * math.atan(half / math.sqrt(1 + aspect**2))


def world_position(head: np.ndarray, width: int, height: int, diagonal: float = DEFAULT_DIAGONAL_FOV) -> HeadPosition:
    """(3,) x, y, radius in pixels of a frame of this size -> millimetres relative to the camera."""
    fov_w, fov_h = fields_of_view(width, height, diagonal)
    f_w, f_h = 1 / math.tan(fov_w / 2), 1 / math.tan(fov_h / 2)
    x = -f_w * (width / 2) / (2 * max(float(head[2]), SMALLEST_HEAD)) * HEAD_DIAMETER_MM
    return HeadPosition(x, (2 * float(head[1]) / height - 1) * x / f_h, (2 * float(head[0]) / width - 1) * x / f_w)


def world_rotation(quat: np.ndarray, position: HeadPosition) -> np.ndarray:
    """Network quaternion (4,) i, j, k, w -> the world's (4,) i, j, k, w, relative to the camera.

    The network sees the head along the viewing ray, so its rotation is premultiplied by the turn that takes
    (-1, 0, 0) to the direction of the head.
    """
    i, j, k, w = (float(value) for value in quat)
    world = np.array([-k, -j, -i, w])
    direction = np.asarray(position) / np.linalg.norm(position)
    axis = np.cross([-1.0, 0.0, 0.0], direction)
    turn = np.array([*axis, 1.0 - direction[0]])
    return multiply(turn / np.linalg.norm(turn), world)


def opentrack_values(position: HeadPosition, rotation: np.ndarray) -> tuple[float, ...]:
    """World position and rotation (4,) i, j, k, w -> x, y, z in cm, yaw, pitch, roll in degrees, as the plugin gives them.

    x grows to the right of the image, y upwards, z away from the camera. Looking to the left of the image, looking up
    and tilting clockwise as seen are positive. Roll is about the way the face looks, so it is the last of the turns.
    """
    i, j, k, w = (float(value) for value in np.asarray(rotation, np.float64) / np.linalg.norm(rotation))
    forward = 1 - 2 * (j * j + k * k), 2 * (i * j + k * w), 2 * (i * k - j * w)
    yaw = math.atan2(forward[2], forward[0])
    pitch = math.atan2(forward[1], math.hypot(forward[0], forward[2]))
    roll = math.atan2(2 * (j * k - i * w), 1 - 2 * (i * i + k * k))  # the second row of the matrix
    centimetres = -position.z / 10, position.y / 10, -position.x / 10
    return *centimetres, math.degrees(yaw), math.degrees(pitch), math.degrees(roll)
