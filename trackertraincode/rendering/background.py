"""Procedural backgrounds: a colour gradient with blurred clutter, cheap because it is made small and enlarged."""

import cv2
import numpy as np


def draw_background(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """(H, W, 3) float32 in [0, 1]."""
    rows, columns = 60, max(2, round(60 * width / height))
    corners = rng.uniform(0.0, 1.0, (2, 2, 3)) * rng.uniform(0.3, 1.0)
    small = cv2.resize(corners.astype(np.float32), (columns, rows), interpolation=cv2.INTER_LINEAR)
    for _ in range(rng.integers(0, 14)):
        _draw_shape(rng, small)
    if rng.random() < 0.35:
        small += rng.normal(0.0, rng.uniform(0.02, 0.15), (rows, columns, 1)).astype(np.float32)
    blur = rng.choice([0.0, 0.7, 1.5, 4.0])
    if blur:
        small = cv2.GaussianBlur(small, (0, 0), blur)
    return np.clip(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), 0.0, 1.0)


def _draw_shape(rng: np.random.Generator, image: np.ndarray) -> None:
    rows, columns = image.shape[:2]
    color = tuple(float(v) for v in rng.uniform(0.0, 1.0, 3))
    first, second = ((int(rng.integers(-5, columns + 5)), int(rng.integers(-5, rows + 5))) for _ in range(2))
    kind = rng.integers(0, 4)
    if kind == 0:
        cv2.rectangle(image, first, second, color, -1)
    elif kind == 1:
        cv2.circle(image, first, int(rng.integers(2, 16)), color, -1, cv2.LINE_AA)
    elif kind == 2:
        cv2.line(image, first, second, color, int(rng.integers(1, 7)), cv2.LINE_AA)
    else:
        axes = (int(rng.integers(3, 14)), int(rng.integers(3, 22)))  # a blurred passer-by
        cv2.ellipse(image, first, axes, float(rng.uniform(0, 180)), 0, 360, color, -1, cv2.LINE_AA)
