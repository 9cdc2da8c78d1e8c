"""Light from one side on a turned sheet: a factor for each vertex, with the shadows that the head casts on itself."""

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from trackertraincode.expansion.sheet import Turned
from trackertraincode.rendering.rasterizer import Surface, rasterize, vertex_normals

VIEWER = np.array([0.0, 0.0, -1.0])
MAP_SIZE = 192  # edge of the image of depths as the light sees them
SMOOTHING = 2.0  # vertices of the grid
BIAS = 0.06  # head radii that may lie before a lit place: the map is coarse


@dataclass(frozen=True)
class Spotlight:
    """One directional light besides what light an image has."""

    direction: np.ndarray  # (3,) unit, to the light, image frame
    ambient: float  # factor where it doesn't shine
    strength: float  # added where it shines straight on

    @staticmethod
    def draw(rng: np.random.Generator) -> "Spotlight":
        """From the side and from before the face, mostly from above."""
        side = rng.choice([-1.0, 1.0])
        around, up = np.radians(rng.uniform(30.0, 85.0)), np.radians(rng.uniform(-15.0, 50.0))
        direction = np.array([side * np.sin(around) * np.cos(up), -np.sin(up), -np.cos(around) * np.cos(up)])
        return Spotlight(direction, float(rng.uniform(0.15, 0.5)), float(rng.uniform(0.8, 1.5)))


def shade(turned: Turned, light: Spotlight, radius: float) -> np.ndarray:
    """(V,) factors. radius: of the head, pixels. What isn't of the head is lit evenly, as the first vertex."""
    facing = np.clip(vertex_normals(turned.points, turned.triangles) @ light.direction, 0.0, 1.0)
    lit = light.ambient + light.strength * facing * _reached(turned, light, radius)
    count = turned.size.width * turned.size.height
    grid = lit[:count].reshape(turned.size.height, turned.size.width)
    lit[:count] = cv2.GaussianBlur(grid, (0, 0), SMOOTHING).ravel()  # its steps at the rim of the face would be lines
    even = light.ambient + 0.3 * light.strength
    on_head = turned.of_head**6
    return (lit * on_head + even * (1.0 - on_head)).astype(np.float32)


def _reached(turned: Turned, light: Spotlight, radius: float) -> np.ndarray:
    """(V,) share of the light that isn't kept off by what lies before."""
    towards, _ = Rotation.align_vectors([VIEWER], [light.direction])
    seen = towards.apply(turned.points - turned.points.mean(0)) / radius
    low = seen[:, :2].min(0)
    scale = (MAP_SIZE - 1) / float(np.ptp(seen[:, :2], axis=0).max())
    placed = np.column_stack([(seen[:, :2] - low) * scale, seen[:, 2]])
    depths = np.repeat(seen[:, 2:].astype(np.float32), 3, axis=1)
    nearest = rasterize(Surface(placed, turned.triangles, depths), MAP_SIZE, MAP_SIZE)[0][..., 0]
    x, y = np.clip(placed[:, :2].astype(int), 0, MAP_SIZE - 1).T
    return np.clip(1.5 - (seen[:, 2] - nearest[y, x]) / BIAS, 0.0, 1.0)
