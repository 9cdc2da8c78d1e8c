"""Meshes to images through OpenCV's software rasteriser, under exact weak perspective."""

from dataclasses import dataclass

import cv2
import numpy as np

NEAR, FAR = 2.0, 3.0  # depths that all vertices are mapped to
FOV = np.pi / 2  # half the image's height is 1 at depth 1


@dataclass(frozen=True)
class Surface:
    """Triangles in pixels, ready to draw."""

    points: np.ndarray  # (V, 3) float: x, y in pixels of the image, z growing away from the viewer
    triangles: np.ndarray  # (T, 3) int; both sides of each are drawn
    colors: np.ndarray  # (V, 3) float32 in [0, 1]
    reach: tuple[float, float] | None = None  # nearest and farthest z, those that hide it included; None: of its points


def front_faces(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """(V, 3), (T, 3) -> (N, 3): those wound towards the viewer: all that shows of a closed mesh, in half the time."""
    x, y = np.ascontiguousarray(points[:, :2].T, np.float32)
    a, b, c = triangles.T
    ax, ay = x[a], y[a]
    return triangles[(x[b] - ax) * (y[c] - ay) < (y[b] - ay) * (x[c] - ax)]


def rasterize(surface: Surface, width: int, height: int, *, flat: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Draw -> (H, W, 3) float32 colours, black where nothing is, and (H, W) bool coverage.

    flat: triangles take their first vertex' colour, for label images.
    """
    depth = np.full((height, width), FAR, np.float32)
    color = rasterize_before(surface, depth, flat=flat)
    return color, depth < FAR


def rasterize_before(surface: Surface, depth: np.ndarray, *, flat: bool = False) -> np.ndarray:
    """Draw what is nearer than depth (H, W) float32, which takes its depth -> (H, W, 3) float32, black elsewhere.

    Surfaces that hide each other have the same reach. The rasteriser is perspective only: multiplying x and y by the
    depth makes its division harmless.
    """
    height, width = depth.shape
    z = surface.points[:, 2]
    low, high = surface.reach or (float(z.min()), float(z.max()))
    away = NEAR + 0.001 + (z - low) * ((FAR - NEAR - 0.002) / max(high - low, 1e-6))
    half = 0.5 * height
    vertices = np.empty((len(z), 3), np.float32)
    vertices[:, 0] = (surface.points[:, 0] - 0.5 * width) / half * away
    vertices[:, 1] = -(surface.points[:, 1] - half) / half * away
    vertices[:, 2] = -away
    color = np.zeros((height, width, 3), np.float32)
    settings = cv2.TriangleRasterizeSettings()
    settings.setCullingMode(cv2.RASTERIZE_CULLING_NONE)
    settings.setShadingType(cv2.RASTERIZE_SHADING_FLAT if flat else cv2.RASTERIZE_SHADING_SHADED)
    cv2.triangleRasterize(
        vertices, np.ascontiguousarray(surface.triangles, np.int32), np.ascontiguousarray(surface.colors, np.float32),
        color, depth, np.eye(4, dtype=np.float32), FOV, NEAR, FAR, settings,
    )  # fmt: skip
    return color


def vertex_normals(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """(V, 3) float32 unit normals, area weighted; those of outward wound triangles point outwards."""
    a, b, c = (points[triangles[:, i]].T for i in range(3))
    ux, uy, uz = b - a
    vx, vy, vz = c - a
    index = triangles.ravel()
    normals = np.empty((len(points), 3))
    for axis, area in enumerate((uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx)):
        normals[:, axis] = np.bincount(index, np.repeat(area, 3), minlength=len(points))
    length = np.sqrt(normals[:, 0] ** 2 + normals[:, 1] ** 2 + normals[:, 2] ** 2)
    return (normals / np.maximum(length, 1e-12)[:, None]).astype(np.float32)
