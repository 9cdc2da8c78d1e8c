"""What is in front of a face: hands, microphones, cups, phones, plants; and what glasses mirror."""

from collections.abc import Callable

import cv2
import numpy as np

from trackertraincode.rendering.assets import RIM_VERTICES, rim_starts
from trackertraincode.rendering.parts import Part
from trackertraincode.rendering.person import Person

Paint = Callable[[np.random.Generator, np.ndarray, float, np.ndarray, np.ndarray], None]
SKIN = np.array([0.85, 0.62, 0.5])


def draw_occluders(rng: np.random.Generator, count: int, box: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Paint `count` things over the face. box: (4,) of the face, pixels. Returns the (H, W) bool mask."""
    x0, y0, x1, y1 = (float(v) for v in box)
    edge = max(x1 - x0, y1 - y0)
    hidden = np.zeros(image.shape[:2], bool)
    for _ in range(count):
        layer, mask = np.zeros_like(image), np.zeros(image.shape[:2], np.float32)
        center = np.array([rng.uniform(x0, x1), rng.uniform(y0 + 0.35 * (y1 - y0), y1 + 0.1 * edge)])
        OCCLUDERS[str(rng.choice(list(OCCLUDERS)))](rng, center, edge, layer, mask)
        alpha = cv2.GaussianBlur(mask, (0, 0), 0.6)[..., None]
        shadow = 1.0 - 0.35 * cv2.GaussianBlur(mask, (0, 0), max(1.0, 0.04 * edge))[..., None]
        image *= shadow + (1.0 - shadow) * alpha
        image += alpha * (layer - image)
        hidden |= mask > 0.5
    return hidden


def _stroke(layer: np.ndarray, mask: np.ndarray, points: np.ndarray, width: float, color: np.ndarray) -> None:
    """A round limb along points (N, 2), darker at its sides."""
    line = np.round(points * 16).astype(np.int32).reshape(-1, 1, 2)
    for share, tone in ((1.0, 0.7), (0.86, 0.82), (0.66, 0.92), (0.4, 1.0)):
        paint = tuple(float(v) for v in color * tone)
        cv2.polylines(layer, [line], False, paint, max(1, round(width * share)), cv2.LINE_AA, 4)
    cv2.polylines(mask, [line], False, 1.0, max(1, round(width)), cv2.LINE_8, 4)


def _hand(rng: np.random.Generator, center: np.ndarray, edge: float, layer: np.ndarray, mask: np.ndarray) -> None:
    color = SKIN * rng.uniform(0.35, 1.1)
    angle = rng.uniform(-1.2, 1.2)
    up = np.array([np.sin(angle), -np.cos(angle)])
    across = np.array([-up[1], up[0]])
    width = rng.uniform(0.085, 0.12) * edge
    spread = rng.uniform(0.9, 1.4)
    palm = center - up * 0.2 * edge
    _stroke(layer, mask, np.array([palm - up * 0.5 * edge, palm]), 3.2 * width, color * 0.9)
    for finger in range(4):
        offset = (finger - 1.5) * width * spread
        length = (0.42, 0.5, 0.47, 0.36)[finger] * edge
        bend = rng.normal(0.0, 0.06) * edge
        root = palm + across * (finger - 1.5) * width * 0.85
        tip = palm + up * length + across * (offset * 1.3 + bend)
        _stroke(layer, mask, np.array([root, palm + up * 0.5 * length + across * offset, tip]), width, color)
    thumb = np.array([palm, palm + across * 2.0 * width, palm + across * 2.8 * width + up * 0.25 * edge])
    _stroke(layer, mask, thumb, 1.1 * width, color)


def _microphone(rng: np.random.Generator, center: np.ndarray, edge: float, layer: np.ndarray, mask: np.ndarray) -> None:
    center = center + [0.0, 0.15 * edge]
    tilt = rng.normal(0.0, 0.5)
    end = center + np.array([np.sin(tilt), np.cos(tilt)]) * edge
    grey = rng.uniform(0.05, 0.3)
    _stroke(layer, mask, np.array([center, end]), 0.1 * edge, np.full(3, grey))
    _stroke(layer, mask, np.array([center, center + 0.05 * (end - center)]), 0.2 * edge, np.full(3, grey + 0.15))


def _card(rng: np.random.Generator, center: np.ndarray, edge: float, layer: np.ndarray, mask: np.ndarray) -> None:
    size = rng.uniform(0.12, 0.5, 2) * edge
    corners = cv2.boxPoints((center.tolist(), size.tolist(), float(rng.uniform(0, 180)))).astype(np.int32)
    color = rng.uniform(0.03, 0.97) * (1.0 + rng.normal(0, 0.2, 3))
    cv2.fillConvexPoly(layer, corners, tuple(float(v) for v in np.clip(color, 0, 1)), cv2.LINE_AA)
    cv2.fillConvexPoly(mask, corners, 1.0)
    inner = ((corners - corners.mean(0)) * 0.8 + corners.mean(0)).astype(np.int32)
    cv2.fillConvexPoly(layer, inner, tuple(float(v) for v in np.clip(color * rng.uniform(0.5, 1.5), 0, 1)), cv2.LINE_AA)


def _cup(rng: np.random.Generator, center: np.ndarray, edge: float, layer: np.ndarray, mask: np.ndarray) -> None:
    color = np.clip(rng.uniform(0.1, 1.0) * (1.0 + rng.normal(0, 0.25, 3)), 0, 1)
    _stroke(layer, mask, np.array([center + [0, 0.05 * edge], center + [0, 0.35 * edge]]), 0.3 * edge, color)
    _hand(rng, center + [0.15 * edge, 0.35 * edge], 0.8 * edge, layer, mask)


def _plant(rng: np.random.Generator, center: np.ndarray, edge: float, layer: np.ndarray, mask: np.ndarray) -> None:
    color = np.clip(rng.uniform(0.1, 0.9, 3), 0, 1)
    center = center + [0.0, 0.15 * edge]
    for _ in range(rng.integers(5, 14)):
        start = center + rng.normal(0, 0.12, 2) * edge
        angle = rng.uniform(0, 2 * np.pi)
        leaf = np.array([start, start + np.array([np.cos(angle), np.sin(angle)]) * rng.uniform(0.08, 0.2) * edge])
        _stroke(layer, mask, leaf, rng.uniform(0.03, 0.09) * edge, np.clip(color * rng.uniform(0.6, 1.3), 0, 1))


OCCLUDERS: dict[str, Paint] = {
    "hand": _hand, "microphone": _microphone, "card": _card, "cup": _cup, "plant": _plant
}  # fmt: skip


def draw_reflections(parts: list[Part], person: Person, center: np.ndarray, radius: float, image: np.ndarray) -> None:
    """Bright bands across lenses that face the viewer, drawn into the image (H, W, 3) in [0, 1]. center: (2,) pixels."""
    frame = next(part for part in parts if part.name == "frame")
    for start in rim_starts():
        rim = frame.points[start : start + RIM_VERTICES]
        outline = (rim[:, :2] * radius + center).astype(np.float32)
        hull = cv2.convexHull(outline)[:, 0]
        if cv2.contourArea(hull) < 0.02 * radius**2:
            continue
        mask = np.zeros(image.shape[:2], np.float32)
        cv2.fillConvexPoly(mask, np.round(hull).astype(np.int32), 1.0, cv2.LINE_AA)
        low, high = hull.min(0), hull.max(0)
        band = np.array([[0.1, 0.0], [0.6, 0.0], [0.45, 1.0], [-0.05, 1.0]]) * (high - low) + low
        shape = np.zeros_like(mask)
        cv2.fillConvexPoly(shape, np.round(band).astype(np.int32), 1.0, cv2.LINE_AA)
        image += (0.5 * person.reflection * mask * cv2.GaussianBlur(shape, (0, 0), 1.0))[..., None] * (1.0 - image)
