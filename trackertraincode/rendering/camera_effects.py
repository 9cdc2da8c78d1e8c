"""What a camera and a scene's foreground do to an image: occluders, blur, exposure, sensor noise."""

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True, kw_only=True)
class CameraEffects:
    """Drawn once, applied as a pure function (noise by its own seed)."""

    exposure: float = 1.0  # factor of all light
    gamma: float = 1.0
    noise: float = 0.0  # standard deviation of the sensor, of 1
    blur: float = 0.0  # sigma of defocus, pixels
    motion: tuple[float, float] = (0.0, 0.0)  # length in pixels, direction in radians
    grey: bool = False
    noise_seed: int = 0

    @staticmethod
    def draw(rng: np.random.Generator) -> "CameraEffects":
        """Mostly decent webcam images, some dark, blurred or noisy."""
        dark = rng.random() < 0.12
        return CameraEffects(
            exposure=float(rng.uniform(0.12, 0.45) if dark else rng.uniform(0.75, 1.25)),
            gamma=float(rng.uniform(0.8, 1.25)),
            noise=float(rng.choice([0.0, 0.01, 0.02, 0.05], p=[0.3, 0.4, 0.2, 0.1]) * rng.uniform(0.5, 1.5)),
            blur=float(rng.uniform(0.4, 1.6) if rng.random() < 0.25 else 0.0),
            motion=(float(rng.uniform(3, 9)) if rng.random() < 0.1 else 0.0, float(rng.uniform(0, np.pi))),
            grey=bool(rng.random() < 0.1),
            noise_seed=int(rng.integers(2**31)),
        )


def apply_camera(image: np.ndarray, effects: CameraEffects) -> np.ndarray:
    """(H, W, 3) float32 in [0, 1] -> uint8."""
    if effects.blur > 0:
        image = cv2.GaussianBlur(image, (0, 0), effects.blur)
    length, direction = effects.motion
    if length >= 2:
        image = cv2.filter2D(image, -1, motion_kernel(length, direction))
    image = np.clip(image * effects.exposure, 0.0, 1.0)
    if effects.gamma != 1.0:
        image = cv2.pow(image, effects.gamma)
    if effects.grey:
        image = np.repeat(image.mean(-1, keepdims=True), 3, axis=-1)
    if effects.noise > 0:
        noise = np.random.default_rng(effects.noise_seed).standard_normal(image.shape, dtype=np.float32)
        image = image + effects.noise * noise
    return np.clip(image * 255.0 + 0.5, 0, 255).astype(np.uint8)


def motion_kernel(length: float, direction: float) -> np.ndarray:
    """(K, K) float32 of sum 1: a line through the centre of a square kernel."""
    edge = int(length) // 2 * 2 + 1
    kernel = np.zeros((edge, edge), np.float32)
    middle = edge // 2
    step = np.array([np.cos(direction), np.sin(direction)]) * (length / 2)
    first, second = (tuple(round(float(middle + sign * s)) for s in step) for sign in (-1, 1))
    cv2.line(kernel, first, second, 1.0, 1)
    return kernel / kernel.sum()


def draw_occluders(rng: np.random.Generator, count: int, box: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Hands, bars and cards in front of the face. box: (4,) of the face, pixels. Returns the (H, W) bool mask."""
    mask = np.zeros(image.shape[:2], np.uint8)
    x0, y0, x1, y1 = box
    edge = float(max(x1 - x0, y1 - y0))
    for _ in range(count):
        center = (int(rng.uniform(x0, x1)), int(rng.uniform(y0 + 0.3 * (y1 - y0), y1)))
        color = tuple(float(v) for v in rng.uniform(0.05, 0.95, 3))
        angle = float(rng.uniform(0, 180))
        kind = rng.integers(0, 3)
        if kind == 0:  # fingers
            color = tuple(float(v) for v in np.array([0.85, 0.62, 0.5]) * rng.uniform(0.4, 1.0))
            for finger in range(4):
                shift = (finger - 1.5) * 0.085 * edge
                along = np.radians(angle + 90)
                place = (int(center[0] + shift * np.cos(along)), int(center[1] + shift * np.sin(along)))
                for canvas, value in ((image, color), (mask, (1,))):
                    cv2.ellipse(canvas, place, (int(0.28 * edge), int(0.045 * edge)), angle, 0, 360, value, -1)
        else:
            size = rng.uniform(0.08, 0.35, 2) * edge
            corners = cv2.boxPoints((center, tuple(float(v) for v in size), angle)).astype(np.int32)
            for canvas, value in ((image, color), (mask, (1,))):
                cv2.fillConvexPoly(canvas, corners, value, cv2.LINE_AA if canvas is image else cv2.LINE_8)
    return mask.astype(bool)
