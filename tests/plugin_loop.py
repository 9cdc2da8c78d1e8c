"""OpenTrack's tracking loop once more, slow and in scalars, as an oracle for HeadPoseTracker."""

import math
from collections.abc import Callable, Iterator

import cv2
import numpy as np

Rect = tuple[np.float32, np.float32, np.float32, np.float32]  # x, y, width, height
f32 = np.float32


def plugin_loop(
    frames: list[np.ndarray],
    localize: Callable[[np.ndarray], tuple[float, np.ndarray]],
    network: Callable[[np.ndarray], dict[str, np.ndarray]],
    input_size: int,
    zoom: float = 1.0,
    alpha: float = 1.0,
) -> Iterator[dict[str, np.ndarray] | None]:
    """Per (H, W[, 3]) frame: rotation, head and box (x, y, width, height) in its pixels, None without a face.

    localize: (h, w) grey -> probability, (4,) corners in pixels. network: (1, 1, S, S) -> rotation, head, face_box.
    """
    roi: Rect | None = None
    localizer_roi: Rect | None = None
    for frame in frames:
        height, width = frame.shape[:2]
        left, top = 0, 0
        if width * 3 > height * 4:
            left = (width - height * 4 // 3) // 2
            frame = frame[:, left : left + height * 4 // 3]
        else:
            top = (height - width * 3 // 4) // 2
            frame = frame[top : top + width * 3 // 4]
        levels = [frame]
        while len(levels) < 4 and levels[-1].shape[1] >= 640:
            levels.append(cv2.pyrDown(levels[-1]))
        greys = [level if level.ndim == 2 else cv2.cvtColor(level, cv2.COLOR_RGB2GRAY) for level in levels]

        if localizer_roi is None or roi is None or iou(localizer_roi, roi) < 0.25:
            score, corners = localize(greys[-1])
            x0, y0, x1, y1 = (f32(v) for v in corners)
            small = x1 - x0 < 16 and y1 - y0 < 16
            scale = f32(2 ** (len(levels) - 1))
            found = (x0 * scale, y0 * scale, x1 * scale - x0 * scale, y1 * scale - y0 * scale)
            if score > 0.5 and roi is not None and iou(found, roi) >= 0.25:
                localizer_roi = found
            elif score > 0.5 and not small:
                localizer_roi = roi = found
            else:
                localizer_roi = None
        if roi is None:
            yield None
            continue

        level = max(0, min(len(levels) - 1, math.floor(math.log2(float(roi[2]) / input_size))))
        grey = greys[level]
        x, y, w, h = (int(np.rint(v / f32(2**level))) for v in roi)
        edge = max(w, h)
        center = (min(max(x + 0.5 * w, 0.0), grey.shape[1]), min(max(y + 0.5 * h, 0.0), grey.shape[0]))
        crop = cv2.resize(
            cv2.getRectSubPix(grey, (edge, edge), center), (input_size,) * 2, interpolation=cv2.INTER_AREA
        )
        outputs = network(brightened(crop)[None, None])

        half = f32(0.5) * f32(edge * 2**level)
        cx, cy = (f32(v * 2**level) for v in center)
        b = outputs["face_box"]
        box = (cx + half * b[0], cy + half * b[1], half * (b[2] - b[0]), half * (b[3] - b[1]))
        px, py, size = outputs["head"]
        yield {
            "rotation": outputs["rotation"],
            "head": np.array([cx + half * px + left, cy + half * py + top, half * size]),
            "box": np.array([box[0] + left, box[1] + top, box[2], box[3]]),
        }
        roi = filtered(roi, expanded(box, f32(zoom)), f32(alpha))


def brightened(crop: np.ndarray) -> np.ndarray:
    values = np.sort(crop.ravel())
    quantile = int(values[int(0.9 * len(values))])
    alpha = f32(0.45) / f32(max(5, quantile)) if quantile < 127 else f32(1 / 255)
    return (crop.astype(np.float64) * float(alpha) - 0.5).astype(np.float32)


def expanded(box: Rect, factor: np.float32) -> Rect:
    x, y, w, h = box
    new_w, new_h = w * factor, h * factor
    return x + (w - new_w) / f32(2), y + (h - new_h) / f32(2), new_w, new_h


def filtered(last: Rect, new: Rect, alpha: np.float32) -> Rect:
    w, h = (last[i] + alpha * (new[i] - last[i]) for i in (2, 3))
    old = [f32(0.5) * (last[i] + (last[i] + last[i + 2])) for i in (0, 1)]
    now = [f32(0.5) * (new[i] + (new[i] + new[i + 2])) for i in (0, 1)]
    x, y = (o + alpha * (n - o) for o, n in zip(old, now))
    return x - f32(0.5) * w, y - f32(0.5) * h, w, h


def iou(a: Rect, b: Rect) -> float:
    wide = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    high = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    common = wide * high if wide > 0 and high > 0 else f32(0)
    return float(common / (a[2] * a[3] + b[2] * b[3] - common))
