"""What is in front of a face: hands, microphones, cups, phones, plants; and what glasses mirror."""

from collections.abc import Callable

import cv2
import numpy as np

from trackertraincode.rendering.assets import RIM_VERTICES, rim_starts
from trackertraincode.rendering.parts import Part
from trackertraincode.rendering.person import Person

SKIN = np.array([0.85, 0.62, 0.5])
LAMP = (0.3, -0.6, -0.74)


class Layer:
    """Something before the face, on a canvas as large as the image."""

    def __init__(self, shape: tuple[int, ...], lamp: tuple[float, float, float]) -> None:
        self.color = np.zeros((*shape[:2], 3), np.float32)
        self.mask = np.zeros(shape[:2], np.float32)
        self.lamp = lamp

    def limb(self, points: np.ndarray, width: float, color: np.ndarray) -> None:
        """A round limb along points (N, 2), lit by the lamp."""
        own = np.zeros(self.mask.shape, np.uint8)
        line = np.round(points * 16).astype(np.int32).reshape(-1, 1, 2)
        cv2.polylines(own, [line], False, 1, max(1, round(width)), cv2.LINE_8, 4)
        x, y, w, h = cv2.boundingRect(own)
        if w == 0:
            return
        rows, columns = slice(y, y + h), slice(x, x + w)
        own = own[rows, columns]
        inside = cv2.distanceTransform(cv2.copyMakeBorder(own, 1, 1, 1, 1, cv2.BORDER_CONSTANT), cv2.DIST_L2, 3)[
            1:-1, 1:-1
        ]
        rim = np.clip(1.0 - inside / max(0.5 * width, 1.0), 0.0, 1.0)  # 1 at its sides
        across, down = (cv2.Sobel(inside, cv2.CV_32F, *axes, ksize=3, scale=0.125) for axes in ((1, 0), (0, 1)))
        lx, ly, lz = self.lamp
        lit = np.clip(-lz * np.sqrt(1.0 - 0.9 * rim**2) - rim * (lx * across + ly * down), 0.0, None)
        lit = cv2.GaussianBlur(0.35 + 0.65 * lit, (0, 0), max(0.05 * width, 0.5))
        keep = own > 0
        self.color[rows, columns][keep] = (lit[..., None] * color)[keep]
        self.mask[rows, columns][keep] = 1.0


Paint = Callable[[np.random.Generator, np.ndarray, float, Layer, np.ndarray], None]


def draw_occluders(
    rng: np.random.Generator,
    count: int,
    box: np.ndarray,
    image: np.ndarray,
    lamp: tuple[float, float, float] = LAMP,
    skin: np.ndarray = SKIN,
) -> np.ndarray:
    """Paint `count` things over the face, with their shadows. box: (4,) of the face, pixels; skin: (3,) colour of hands.

    Returns the (H, W) bool mask.
    """  # fmt: skip
    x0, y0, x1, y1 = (float(v) for v in box)
    edge = max(x1 - x0, y1 - y0)
    hidden = np.zeros(image.shape[:2], bool)
    for _ in range(count):
        layer = Layer(image.shape, lamp)
        center = np.array([rng.uniform(x0, x1), rng.uniform(y0 + 0.35 * (y1 - y0), y1 + 0.1 * edge)])
        OCCLUDERS[str(rng.choice(list(OCCLUDERS)))](rng, center, edge, layer, skin)
        alpha = cv2.GaussianBlur(layer.mask, (0, 0), float(rng.uniform(0.6, 1.4)))[..., None]
        image *= 1.0 - (1.0 - alpha) * (1.0 - _shadow(layer.mask, lamp, edge))
        image += alpha * (cv2.GaussianBlur(layer.color, (0, 0), 0.5) - image)
        hidden |= layer.mask > 0.5
    return hidden


def draw_beside(
    rng: np.random.Generator,
    count: int,
    edge: float,
    image: np.ndarray,
    lamp: tuple[float, float, float] = LAMP,
    skin: np.ndarray = SKIN,
) -> None:
    """Paint `count` such things anywhere into (H, W, 3), as large as beside a face with this edge in pixels, about."""
    height, width = image.shape[:2]
    for _ in range(count):
        center = rng.uniform([0.0, 0.0], [width, height])
        half = 0.5 * edge * rng.uniform(0.7, 1.4)
        draw_occluders(rng, 1, np.concatenate([center - half, center + half]), image, lamp, skin)


def _shadow(mask: np.ndarray, lamp: tuple[float, float, float], edge: float) -> np.ndarray:
    """(H, W, 1) light beside a thing: little where it touches, less again where it is between face and lamp."""
    shift = -0.06 * edge * np.array(lamp[:2]) / max(-lamp[2], 0.6)
    moved = cv2.warpAffine(mask, np.array([[1.0, 0.0, shift[0]], [0.0, 1.0, shift[1]]]), mask.shape[::-1])
    touching = cv2.GaussianBlur(mask, (0, 0), max(0.012 * edge, 0.7))
    return ((1.0 - 0.45 * cv2.GaussianBlur(moved, (0, 0), max(1.0, 0.03 * edge))) * (1.0 - 0.4 * touching))[..., None]


def _hand(rng: np.random.Generator, center: np.ndarray, edge: float, layer: Layer, skin: np.ndarray) -> None:
    color = skin * rng.uniform(0.75, 1.05)
    angle = rng.uniform(-1.2, 1.2)
    up = np.array([np.sin(angle), -np.cos(angle)])
    across = np.array([-up[1], up[0]]) * rng.choice([-1.0, 1.0])
    width = rng.uniform(0.095, 0.13) * edge
    spread, bent = rng.uniform(0.85, 1.5), rng.uniform(0.55, 1.0)
    palm = center - up * 0.2 * edge
    layer.limb(np.array([palm - up * 0.7 * edge, palm - up * 0.3 * edge]), 2.6 * width, color * 0.95)
    layer.limb(np.array([palm - up * 0.28 * edge, palm - up * 0.02 * edge]), 3.4 * width, color)
    for finger in range(4):
        offset = (finger - 1.5) * width * spread
        length = (0.42, 0.5, 0.47, 0.36)[finger] * edge * bent
        bend = rng.normal(0.0, 0.03) * edge
        root = palm + across * (finger - 1.5) * width * 0.85
        tip = palm + up * length + across * (offset * 1.3 + bend)
        layer.limb(np.array([root, palm + up * 0.5 * length + across * offset, tip]), 0.9 * width, color)
    thumb = np.array(
        [palm - up * 0.2 * edge, palm + across * 1.9 * width, palm + across * 2.5 * width + up * 0.2 * edge]
    )
    layer.limb(thumb, width, color)


def _microphone(rng: np.random.Generator, center: np.ndarray, edge: float, layer: Layer, skin: np.ndarray) -> None:
    center = center + [0.0, 0.15 * edge]
    tilt = rng.normal(0.0, 0.5)
    end = center + np.array([np.sin(tilt), np.cos(tilt)]) * edge
    grey = rng.uniform(0.05, 0.3)
    layer.limb(np.array([center, end]), 0.1 * edge, np.full(3, grey))
    layer.limb(np.array([center, center + 0.05 * (end - center)]), 0.2 * edge, np.full(3, grey + 0.15))
    x, y = (int(v) for v in center)
    reach = int(0.12 * edge)
    head = layer.color[max(y - reach, 0) : y + reach, max(x - reach, 0) : x + reach]
    head *= 1.0 + 0.25 * rng.standard_normal((*head.shape[:2], 1), dtype=np.float32)  # its grille
    np.clip(head, 0.0, 1.0, out=head)
    if rng.random() < 0.5:
        _fist(rng, center + 0.45 * (end - center), edge, layer, skin)


def _fist(rng: np.random.Generator, center: np.ndarray, edge: float, layer: Layer, skin: np.ndarray) -> None:
    """Fingers around something upright."""
    color, side = skin * rng.uniform(0.75, 1.05), rng.choice([-1.0, 1.0])
    layer.limb(
        np.array([center + [side * 0.25 * edge, 0.6 * edge], center + [side * 0.1 * edge, 0.1 * edge]]),
        0.28 * edge,
        color,
    )
    for finger in range(4):
        row = center + [0.0, (finger - 1.0) * 0.095 * edge]
        layer.limb(
            np.array([row + [side * 0.13 * edge, 0.02 * edge], row - [side * 0.07 * edge, 0.0]]), 0.1 * edge, color
        )


def _card(rng: np.random.Generator, center: np.ndarray, edge: float, layer: Layer, skin: np.ndarray) -> None:
    """A telephone, a sheet of paper, a book; some are held."""
    size = rng.uniform(0.12, 0.5, 2) * edge
    corners = cv2.boxPoints((center.tolist(), size.tolist(), float(rng.uniform(0, 180)))).astype(np.int32)
    color = np.clip(rng.uniform(0.03, 0.9) * (1.0 + rng.normal(0, 0.2, 3)), 0.0, 1.0)
    cv2.fillConvexPoly(layer.color, corners, tuple(float(v) for v in color), cv2.LINE_AA)
    cv2.fillConvexPoly(layer.mask, corners, 1.0)
    inner = ((corners - corners.mean(0)) * 0.8 + corners.mean(0)).astype(np.int32)
    printed = tuple(float(v) for v in np.clip(color * rng.uniform(0.5, 1.5), 0, 1))
    cv2.fillConvexPoly(layer.color, inner, printed, cv2.LINE_AA)
    layer.color *= np.linspace(rng.uniform(0.7, 1.0), rng.uniform(0.7, 1.0), len(layer.color), dtype=np.float32)[
        :, None, None
    ]
    if rng.random() < 0.5:
        _fist(rng, center + [0.0, 0.3 * size.max()], 0.8 * edge, layer, skin)


def _cup(rng: np.random.Generator, center: np.ndarray, edge: float, layer: Layer, skin: np.ndarray) -> None:
    color = np.clip(rng.uniform(0.1, 1.0) * (1.0 + rng.normal(0, 0.25, 3)), 0, 1)
    layer.limb(np.array([center + [0, 0.05 * edge], center + [0, 0.35 * edge]]), 0.3 * edge, color)
    _fist(rng, center + [0.0, 0.25 * edge], 0.9 * edge, layer, skin)


def _plant(rng: np.random.Generator, center: np.ndarray, edge: float, layer: Layer, _: np.ndarray) -> None:
    color = np.clip(rng.uniform(0.1, 0.9, 3), 0, 1)
    center = center + [0.0, 0.15 * edge]
    for _leaf in range(rng.integers(5, 14)):
        start = center + rng.normal(0, 0.12, 2) * edge
        angle = rng.uniform(0, 2 * np.pi)
        leaf = np.array([start, start + np.array([np.cos(angle), np.sin(angle)]) * rng.uniform(0.08, 0.2) * edge])
        layer.limb(leaf, rng.uniform(0.03, 0.09) * edge, np.clip(color * rng.uniform(0.6, 1.3), 0, 1))


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
