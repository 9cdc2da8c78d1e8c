"""Draw poses and landmarks into images, without torch, whose import takes longer than many frames.

    image, {name: labels of one face} --draw_labels--> drawn copy

Images are RGB uint8 arrays, (H, W, 3) or grey (H, W). Labels are those of `Sample`, and count from the image's corner; a
rotation is (4,) i, j, k, w.
"""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from trackertraincode.facemodel import landmarks68 as ibug
from trackertraincode.geometry.pixels import HALF_PIXEL
from trackertraincode.geometry.single import to_matrix

Color = tuple[int, int, int]
Values = Mapping[str, np.ndarray]

AXIS_COLORS: tuple[Color, ...] = ((255, 60, 60), (60, 220, 60), (80, 120, 255))  # x right, y down, z into the screen
BOX_COLOR: Color = (255, 235, 60)
HEAD_COLOR: Color = (60, 230, 230)
LANDMARKS_2D_COLOR: Color = (255, 255, 255)

GROUPS: tuple[tuple[range, bool, Color], ...] = (  # points that are joined, whether the last meets the first
    (ibug.JAW, False, (120, 190, 255)),
    (ibug.RIGHT_BROW, False, (255, 170, 70)),
    (ibug.LEFT_BROW, False, (255, 170, 70)),
    (ibug.NOSE_BRIDGE, False, (190, 255, 110)),
    (ibug.NOSE_BASE, False, (190, 255, 110)),
    (ibug.RIGHT_EYE, True, (255, 120, 255)),
    (ibug.LEFT_EYE, True, (255, 120, 255)),
    (ibug.OUTER_LIP, True, (255, 110, 110)),
    (ibug.INNER_LIP, True, (255, 180, 180)),
)

LINE = 330  # pixels of a line of twenty letters of size 1
SMALLEST_SIZE = 0.3  # of letters that can be read

_SHIFT = 4  # binary digits behind the point that OpenCV draws with
_FAR = 30_000  # pixels; OpenCV's fixed point numbers overflow beyond


def draw_labels(image: np.ndarray, values: Values) -> np.ndarray:
    """A drawn copy (H, W, 3): box, head circle, pose axes, landmarks joined by groups, 2-D landmarks as white dots."""
    canvas = as_rgb(image)
    draw_box_and_head(canvas, values, BOX_COLOR, HEAD_COLOR)
    draw_points(canvas, values, None)
    draw_axes(canvas, values, AXIS_COLORS, line_width(canvas) + 1)
    return canvas


def draw_text(image: np.ndarray, lines: Sequence[str], size: float = 0.5) -> np.ndarray:
    """A copy (H, W, 3) with lines of text at the top left, white with a dark edge. size: OpenCV's font scale."""
    canvas = as_rgb(image)
    for row, line in enumerate(lines):
        place = (round(12 * size), round((28 + 36 * row) * size) + 4)
        edge = stroke(size)
        for dx, dy in ((-edge, 0), (edge, 0), (0, -edge), (0, edge)):  # thicker letters would be wider, too
            put(canvas, line, (place[0] + dx, place[1] + dy), size, (0, 0, 0))
        put(canvas, line, place, size, (255, 255, 255))
    return canvas


def put(canvas: np.ndarray, text: str, place: tuple[int, int], size: float, color: Color) -> None:
    """A line of text, from its lower left corner, into an image (H, W, 3)."""
    cv2.putText(canvas, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, color, stroke(size), cv2.LINE_AA)


def stroke(size: float) -> int:
    """Width of the lines of letters, pixels."""
    return max(1, round(1.2 * size))


def readable_size(canvas: np.ndarray) -> float | None:
    """Of letters over an image (H, W, 3), so that a line fits and is read on a screen; None where it is too small for any."""
    height, width = canvas.shape[:2]
    size = min(0.5 * max(1.0, min(height, width) / 480), width / LINE)
    return size if size >= SMALLEST_SIZE else None


def as_rgb(image: np.ndarray) -> np.ndarray:
    """(H, W) or (H, W, 3) -> a copy (H, W, 3)."""
    return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) if image.ndim == 2 else image.copy()


def line_width(canvas: np.ndarray) -> int:
    """Of lines in an image (H, W, 3), pixels."""
    return max(1, round(max(canvas.shape[:2]) / 400))


def draw_box_and_head(canvas: np.ndarray, values: Values, box_color: Color, head_color: Color) -> None:
    """As far as they are known; into the image (H, W, 3)."""
    width = line_width(canvas)
    if "face_box" in values:
        (x0, y0), (x1, y1) = _fixed(values["face_box"].reshape(2, 2)).tolist()
        cv2.rectangle(canvas, (x0, y0), (x1, y1), box_color, width, cv2.LINE_AA, _SHIFT)
    if "head" in values:
        x, y = _fixed(values["head"]).tolist()
        radius = int(np.clip(values["head"][2], 0, _FAR) * (1 << _SHIFT))
        cv2.circle(canvas, (x, y), radius, head_color, width, cv2.LINE_AA, _SHIFT)


def draw_axes(canvas: np.ndarray, values: Values, colors: Sequence[Color], width: int) -> None:
    """From the head centre, one head radius long, into an image (H, W, 3); the one that points at the viewer comes last."""
    if "rotation" not in values or "head" not in values:
        return
    head = values["head"]
    tips = to_matrix(values["rotation"]).T * head[2] + [*head[:2], 0.0]
    start = _fixed(values["head"]).tolist()
    for axis in np.argsort(-tips[:, 2]):
        cv2.line(canvas, start, _fixed(tips[axis]).tolist(), colors[axis], width, cv2.LINE_AA, _SHIFT)


def draw_points(canvas: np.ndarray, values: Values, color: Color | None) -> None:
    """Landmarks, all in one colour or (None) each group in its own, into an image (H, W, 3)."""
    width = line_width(canvas)
    if "landmarks_2d" in values:
        for x, y in _fixed(values["landmarks_2d"]).tolist():
            radius = (1 + width) << (_SHIFT - 1)
            cv2.circle(canvas, (x, y), radius, color or LANDMARKS_2D_COLOR, -1, cv2.LINE_AA, _SHIFT)
    if "landmarks" in values:
        points = _fixed(values["landmarks"])
        for group, closed, own in GROUPS:
            cv2.polylines(canvas, [points[list(group)]], closed, color or own, width, cv2.LINE_AA, _SHIFT)


def _fixed(points: np.ndarray) -> np.ndarray:
    """Points (..., 2 or more) as OpenCV draws them: pixel centres from 0, fixed point numbers."""
    centres = points[..., :2] - HALF_PIXEL
    return np.round(np.clip(centres, -_FAR, _FAR) * (1 << _SHIFT)).astype(np.int32)
