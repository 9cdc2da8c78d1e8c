"""Meshes to images through OpenCV's software rasteriser, under exact weak perspective."""

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.sparse import csc_array

NEAR, FAR = 2.0, 3.0  # depths that all vertices are mapped to
MARGIN = 0.001  # that the nearest and the farthest vertex keep from them
FOV = np.pi / 2  # half the image's height is 1 at depth 1


@dataclass(frozen=True)
class Surface:
    """Triangles in pixels, ready to draw."""

    points: np.ndarray  # (V, 3) float: x, y in pixels of the image, z growing away from the viewer
    triangles: np.ndarray  # (T, 3) int; both sides of each are drawn
    colors: np.ndarray  # (V, 3) float32 in [0, 1]
    reach: tuple[float, float] | None = None  # nearest and farthest z, those that hide it included; None: of its points


def facets(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """(V, 3), (T, 3) -> (3, T) float32 normals of triangles, twice as long as their areas; outwards if wound that way."""
    corners = np.ascontiguousarray(triangles.T)
    (ax, ux, vx), (ay, uy, vy), (az, uz, vz) = (plane.take(corners) for plane in planes(points))
    for start, *ends in ((ax, ux, vx), (ay, uy, vy), (az, uz, vz)):
        for end in ends:
            end -= start
    return np.stack([uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx])


def planes(values: np.ndarray) -> np.ndarray:
    """(N, C) -> (C, N) float32: NumPy takes ten times as long for rows of three."""
    return np.ascontiguousarray(values.T, np.float32)


def facing(
    triangles: np.ndarray, normals: np.ndarray, direction: np.ndarray | tuple[float, float, float]
) -> np.ndarray:
    """Those triangles (T, 3) whose normals (3, T) point against a direction: all that is seen that way of a closed mesh."""
    return triangles.compress(np.array(direction, np.float32) @ normals < 0, axis=0)


def front_faces(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """(V, 3), (T, 3) -> (N, 3): those wound towards the viewer: all that shows of a closed mesh, in half the time."""
    return facing(triangles, facets(points, triangles), (0.0, 0.0, 1.0))


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
    color = np.zeros((height, width, 3), np.float32)
    settings = _settings(cv2.RASTERIZE_SHADING_FLAT if flat else cv2.RASTERIZE_SHADING_SHADED)
    cv2.triangleRasterize(
        _placed(surface.points, surface.reach or reach_of(surface.points), width, height),
        np.ascontiguousarray(surface.triangles, np.int32), np.ascontiguousarray(surface.colors, np.float32), color, depth,
        np.eye(4, dtype=np.float32), FOV, NEAR, FAR, settings,
    )  # fmt: skip
    return color


def nearest_depth(points: np.ndarray, triangles: np.ndarray, width: int, height: int) -> np.ndarray:
    """(V, 3) in pixels, (T, 3) -> (H, W) float32 z of what is nearest, infinite where nothing is."""
    low, high = reach_of(points)
    depth = np.full((height, width), FAR, np.float32)
    cv2.triangleRasterizeDepth(
        _placed(points, (low, high), width, height), np.ascontiguousarray(triangles, np.int32), depth,
        np.eye(4, dtype=np.float32), FOV, NEAR, FAR, _settings(cv2.RASTERIZE_SHADING_WHITE),
    )  # fmt: skip
    return np.where(depth < FAR, low + (depth - (NEAR + MARGIN)) / _per_z(low, high), np.inf).astype(np.float32)


def reach_of(points: np.ndarray) -> tuple[float, float]:
    """The nearest and the farthest z of points (V, 3)."""
    return float(points[:, 2].min()), float(points[:, 2].max())


def _per_z(low: float, high: float) -> float:
    """The rasteriser's depth for a pixel of z."""
    return (FAR - NEAR - 2.0 * MARGIN) / max(high - low, 1e-6)


def _placed(points: np.ndarray, reach: tuple[float, float], width: int, height: int) -> np.ndarray:
    """Points (V, 3) in pixels as the rasteriser wants them, float32."""
    low, high = reach
    away = NEAR + MARGIN + (points[:, 2] - low) * _per_z(low, high)
    half = 0.5 * height
    vertices = np.empty((len(points), 3), np.float32)
    vertices[:, 0] = (points[:, 0] - 0.5 * width) / half * away
    vertices[:, 1] = (half - points[:, 1]) / half * away
    vertices[:, 2] = -away
    return vertices


def _settings(shading: int) -> cv2.TriangleRasterizeSettings:
    settings = cv2.TriangleRasterizeSettings()
    settings.setCullingMode(cv2.RASTERIZE_CULLING_NONE)
    settings.setShadingType(shading)
    return settings


def vertex_normals(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """(V, 3) float32 unit normals, area weighted; those of outward wound triangles point outwards."""
    return smooth_normals(facets(points, triangles), triangles, len(points))


def smooth_normals(normals: np.ndarray, triangles: np.ndarray, count: int) -> np.ndarray:
    """Those of triangles (3, T) -> (count, 3) float32 unit normals of their vertices."""
    edges = np.arange(0, triangles.size + 1, 3, dtype=np.int32)
    around = csc_array((np.ones(triangles.size, np.float32), triangles.ravel(), edges), shape=(count, len(triangles)))
    x, y, z = (around @ plane for plane in normals)
    share = 1.0 / np.maximum(np.sqrt(x * x + y * y + z * z), np.float32(1e-12))
    return np.stack([x * share, y * share, z * share], axis=1)
