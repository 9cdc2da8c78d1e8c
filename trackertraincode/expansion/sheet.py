"""An image as one sheet without holes: a grid over the head and its surroundings, as deep as what it shows.

    posed head, image --build_sheet--> Sheet --turned--> vertices after a turn

On the face lies the head model itself, whose sides a grid can't follow. The grid is as deep as the model and around it
as an average head with neck; from there it falls off to the background. A turn takes the head along as a whole; what is
beside it twists less, the further away the less.
"""

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from trackertraincode.expansion.face_mesh import face_mesh, smooth_border, triangles_within
from trackertraincode.expansion.turning import Turn, project
from trackertraincode.facemodel.embedded import embedded_head
from trackertraincode.facemodel.head_model import HeadModel
from trackertraincode.geometry.pixels import HALF_PIXEL
from trackertraincode.rendering.rasterizer import Surface, front_faces, rasterize, vertex_normals
from trackertraincode.sample.images import Size

# All in head radii.
SPACING = 0.026  # of the grid
FALL_OFF = 0.85  # distance from the head where the background is, which stays
FACE_BLEND = 0.3  # distance from the face model where the average head is
BACKGROUND_DEPTH = 1.8  # behind the eyes
SMOOTHING = 0.05  # of what isn't the face
RIM = 3  # grid steps from the outline of a face in which the grid is as deep as the face's sides
HAIRLINE = -0.2  # y above which a face has no outline: it goes on as scalp
UNDER_FACE = 0.03  # how far the grid lies under the face model
SIDE = 0.5  # cosine to the viewer below which skin is seen so flat that its border may show what is behind
PULLED_AT = np.radians(45.0)  # turn at which it does so fully
PULLED_IN = 0.08  # share by which such skin is taken from nearer to the middle of the face


class Turned(NamedTuple):
    """A mesh over an image after a turn."""

    points: np.ndarray  # (V, 3)
    source: np.ndarray  # (V, 2) the pixel that it shows there
    triangles: np.ndarray  # (T, 3) int32, wound towards the viewer
    of_head: np.ndarray  # (V,) in [0, 1]: how much it is part of the head
    size: Size  # of the grid that the first vertices are


@dataclass(frozen=True)
class Sheet:
    """A grid of vertices, rows first, then those of the face; pixels, z from the head's origin into the screen."""

    points: np.ndarray  # (V, 3)
    pull: np.ndarray  # (V, 2) from what the image shows there to what it should show when it is seen from the side
    triangles: np.ndarray  # (T, 3) int32, wound towards the viewer
    follows: np.ndarray  # (V,) in [0, 1]: how far it takes part in a turn
    size: Size  # of the grid, vertices

    def on_surface(self, points: np.ndarray) -> np.ndarray:
        """(N, 2) pixels -> (N, 3): with the depth of the grid there."""
        step = self.points[1, 0] - self.points[0, 0]
        place = np.rint((points - self.points[0, :2]) / step).astype(int)
        x, y = np.clip(place, 0, np.array(self.size) - 1).T
        return np.column_stack([points, self.points[y * self.size.width + x, 2]])

    def turned(self, turn: Turn) -> Turned:
        """The mesh after the turn."""
        rotvec = Rotation.from_matrix(turn.delta).as_rotvec()
        angle = float(np.linalg.norm(rotvec))
        axis = rotvec / max(angle, 1e-9)
        offset = self.points - turn.pivot
        c, s = np.cos(angle * self.follows)[:, None], np.sin(angle * self.follows)[:, None]
        along = (offset @ axis)[:, None] * axis
        points = turn.pivot + along + (offset - along) * c + np.cross(axis, offset) * s
        source = self.points[:, :2] + self.pull * _smooth_step(np.array(angle / PULLED_AT))
        return Turned(points, source, self.triangles, self.follows, self.size)


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
    mesh = face_mesh(model)
    face_points = project(smooth_border(local[mesh.vertices], mesh.triangles), R, head)

    def depth(points: np.ndarray, triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(H, W) depth in head radii and where there is any."""
        placed = np.column_stack([(points[:, :2] - corner) / step, points[:, 2]])
        z = np.repeat(points[:, 2:].astype(np.float32) / radius, 3, axis=1)
        values, covered = rasterize(Surface(placed, front_faces(placed, triangles), z), *size)
        return values[..., 0], covered

    face, on_face = depth(face_points, mesh.triangles)
    whole, on_whole = depth(skull, average.triangles)
    on_head = on_face | depth(skull, triangles_within(average.triangles, ~neck))[1]
    inside = _distance(~on_face)
    places = (face_points[:, :2] - corner) / step
    below = _smooth_step((local[mesh.vertices, 1] - HAIRLINE) / 0.15)
    rim = _deepest(places[below > 0], face_points[below > 0, 2] / radius, size)
    z = _filled(np.where(inside > RIM, face, np.maximum(face, rim)), on_face, whole, on_whole) + UNDER_FACE * on_face
    near_outline = below * (1.0 - _smooth_step((_at(inside, places) * SPACING - 0.03) / 0.1))
    x, y = np.meshgrid(np.arange(size.width) + HALF_PIXEL, np.arange(size.height) + HALF_PIXEL)
    grid = np.stack([x * step + corner[0], y * step + corner[1], z * radius], axis=-1).reshape(-1, 3)
    follows = 1.0 - _smooth_step(_distance(on_head) * SPACING / FALL_OFF).ravel()
    return Sheet(
        points=np.concatenate([grid, face_points]),
        pull=np.concatenate(
            [np.zeros((len(grid), 2)), _pull(local[mesh.vertices], mesh.triangles, R, near_outline) * radius]
        ),
        triangles=np.concatenate([_grid_triangles(size), mesh.triangles + len(grid)]),
        follows=np.concatenate([follows, np.ones(len(face_points))]),
        size=size,
    )


def _pull(local: np.ndarray, triangles: np.ndarray, R: np.ndarray, near_outline: np.ndarray) -> np.ndarray:
    """(V, 2) head radii: a face's sides, where the outline is near (1 in (V,)), take their skin from further inside."""
    facing = -(vertex_normals(local, triangles) @ R[2])
    share = PULLED_IN * (1.0 - _smooth_step(facing / SIDE)) * near_outline
    middle = local[facing > SIDE].mean(0) if (facing > SIDE).any() else local.mean(0)
    return ((middle - local) * share[:, None]) @ R[:2].T


def _at(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """(H, W) at (N, 2) places in grid steps -> (N,)."""
    x, y = np.clip(places.astype(int), 0, np.array(values.shape[::-1]) - 1).T
    return values[y, x]


def _filled(face: np.ndarray, on_face: np.ndarray, whole: np.ndarray, on_whole: np.ndarray) -> np.ndarray:
    """(H, W) depths in head radii where there are any -> everywhere."""
    to_head = _smooth_step(_distance(on_whole) * SPACING / FALL_OFF)
    around = _nearest(whole, on_whole) * (1 - to_head) + BACKGROUND_DEPTH * to_head
    to_face = _smooth_step(_distance(on_face) * SPACING / FACE_BLEND)
    z = _nearest(face, on_face) * (1 - to_face) + around * to_face
    smooth = cv2.GaussianBlur(z, (0, 0), SMOOTHING / SPACING)
    return np.where(on_face, z, smooth + (z - smooth) * np.exp(-_distance(on_face)))


def _deepest(places: np.ndarray, depths: np.ndarray, size: Size) -> np.ndarray:
    """(H, W): the greatest depth of points (N, 2) in grid steps that are near."""
    deepest = np.full((size.height, size.width), -np.inf, np.float32)
    x, y = np.clip(places.astype(int), 0, np.array(size) - 1).T
    np.maximum.at(deepest, (y, x), depths.astype(np.float32))
    return cv2.dilate(deepest, np.ones((2 * RIM + 1, 2 * RIM + 1), np.uint8))


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


def _grid_triangles(size: Size) -> np.ndarray:
    index = np.arange(size.width * size.height, dtype=np.int32).reshape(size.height, size.width)
    a, b, c, d = (part.ravel() for part in (index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]))
    return np.concatenate([np.stack([a, c, b], axis=1), np.stack([b, c, d], axis=1)])
