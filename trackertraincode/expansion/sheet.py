"""An image as one sheet without holes: a grid over the head and its surroundings, as deep as what it shows.

On the face it lies on the posed head model, around it on an average head with neck, and from there it falls off to the
background. A turn takes the head along as a whole; what is beside it twists less, the further away the less.
"""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from trackertraincode.expansion.turning import Turn, project
from trackertraincode.facemodel.embedded import embedded_head
from trackertraincode.facemodel.head_model import HeadModel
from trackertraincode.rendering.rasterizer import Surface, front_faces, rasterize
from trackertraincode.sample.images import Size

# All in head radii.
SPACING = 0.022  # of the grid
FALL_OFF = 0.85  # distance from the head where the background is, which stays
FACE_BLEND = 0.3  # distance from the face model where the average head is
BACKGROUND_DEPTH = 1.8  # behind the eyes
SMOOTHING = 0.05  # of what isn't the face


@dataclass(frozen=True)
class Sheet:
    """A grid of vertices, rows first; pixels of the image, z from the head's origin into the screen."""

    points: np.ndarray  # (V, 3)
    triangles: np.ndarray  # (T, 3) int32, wound towards the viewer
    follows: np.ndarray  # (V,) in [0, 1]: how far it takes part in a turn
    columns: int  # vertices of a row

    def on_surface(self, points: np.ndarray) -> np.ndarray:
        """(N, 2) pixels -> (N, 3): with the depth of the sheet there."""
        step = self.points[1, 0] - self.points[0, 0]
        rows = len(self.points) // self.columns
        place = np.rint((points - self.points[0, :2]) / step).astype(int)
        x, y = np.clip(place, 0, [self.columns - 1, rows - 1]).T
        return np.column_stack([points, self.points[y * self.columns + x, 2]])

    def turned(self, turn: Turn) -> np.ndarray:
        """(V, 3) after the turn."""
        rotvec = Rotation.from_matrix(turn.delta).as_rotvec()
        angle = float(np.linalg.norm(rotvec))
        axis = rotvec / max(angle, 1e-9)
        offset = self.points - turn.pivot
        c, s = np.cos(angle * self.follows)[:, None], np.sin(angle * self.follows)[:, None]
        along = (offset @ axis)[:, None] * axis
        return turn.pivot + along + (offset - along) * c + np.cross(axis, offset) * s


def build_sheet(local: np.ndarray, model: HeadModel, R: np.ndarray, head: np.ndarray) -> Sheet:
    """local: (V, 3) the head's vertices; R: (3, 3); head: (3,) x, y, radius in pixels."""
    radius = float(head[2])
    step = SPACING * radius
    average = embedded_head()
    skull = project(average.vertices, R, head)
    neck = average.regions["neck"]
    reach = skull[~neck, :2]
    corner = np.floor(reach.min(0) - FALL_OFF * radius) - 2 * step
    columns, rows = np.ceil((reach.max(0) + FALL_OFF * radius - corner) / step).astype(int) + 2
    size = Size(int(columns), int(rows))

    def depth(points: np.ndarray, triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(H, W) depth in head radii and where there is any."""
        placed = np.column_stack([(points[:, :2] - corner) / step, points[:, 2]])
        z = np.repeat(points[:, 2:].astype(np.float32) / radius, 3, axis=1)
        values, covered = rasterize(Surface(placed, front_faces(placed, triangles), z), *size)
        return values[..., 0], covered

    face, on_face = depth(project(local, R, head), face_triangles(model))
    whole, on_whole = depth(skull, average.triangles)
    on_head = on_face | depth(skull, triangles_within(average, ~neck))[1]
    z = _filled(face, on_face, whole, on_whole)
    distance = _distance(on_head) * SPACING
    x, y = np.meshgrid(np.arange(size.width) + 0.5, np.arange(size.height) + 0.5)
    points = np.stack([x * step + corner[0], y * step + corner[1], z * radius], axis=-1).reshape(-1, 3)
    return Sheet(points, _grid_triangles(size), 1.0 - _smooth_step(distance / FALL_OFF).ravel(), size.width)


def _filled(face: np.ndarray, on_face: np.ndarray, whole: np.ndarray, on_whole: np.ndarray) -> np.ndarray:
    """(H, W) depths in head radii where there are any -> everywhere."""
    to_head = _smooth_step(_distance(on_whole) * SPACING / FALL_OFF)
    around = _nearest(whole, on_whole) * (1 - to_head) + BACKGROUND_DEPTH * to_head
    to_face = _smooth_step(_distance(on_face) * SPACING / FACE_BLEND)
    z = _nearest(face, on_face) * (1 - to_face) + around * to_face
    smooth = cv2.GaussianBlur(z, (0, 0), SMOOTHING / SPACING)
    return np.where(on_face, z, smooth + (z - smooth) * np.exp(-_distance(on_face)))


def _distance(mask: np.ndarray) -> np.ndarray:
    """(H, W) grid steps to the nearest place of the mask."""
    return cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)


def _nearest(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(H, W): the value of the nearest place of the mask."""
    _, labels = cv2.distanceTransformWithLabels(
        (~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    of_label = np.zeros(int(labels.max()) + 1, np.float32)
    of_label[labels[mask]] = values[mask]
    return of_label[labels]


def _smooth_step(t: np.ndarray) -> np.ndarray:
    t = np.clip(t, 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def triangles_within(model: HeadModel, mask: np.ndarray) -> np.ndarray:
    """(T, 3) whose vertices are all in a mask (V,)."""
    return model.triangles[mask[model.triangles].all(1)]


def face_triangles(model: HeadModel) -> np.ndarray:
    """(T, 3) of what the model knows of a head's surface: all but the neck."""
    return _face_triangles(model)


@cache
def _face_triangles(model: HeadModel) -> np.ndarray:
    neck = model.regions.get("neck")
    return model.triangles if neck is None else triangles_within(model, ~neck)


def _grid_triangles(size: Size) -> np.ndarray:
    index = np.arange(size.width * size.height, dtype=np.int32).reshape(size.height, size.width)
    a, b, c, d = (part.ravel() for part in (index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]))
    return np.concatenate([np.stack([a, c, b], axis=1), np.stack([b, c, d], axis=1)])
