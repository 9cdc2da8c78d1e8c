"""Shut the eyes of a real face: its upper lid is drawn down over the eye, along the 68 landmarks.

    image, landmarks, rotation --visible eyes--> lid curves --column by column, cv2.remap--> image, landmarks

Each eye has a frame of its own: u runs from one corner to the other, v across, both in eye widths. In a column of that
frame, the skin between brow and upper lid is stretched down to where the lids meet, the skin under the lower lid up to
there; what lay between the lids is gone. Outside of a margin nothing changes.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.spatial.transform import Rotation

from trackertraincode.facemodel.landmarks68 import LEFT_BROW, LEFT_EYE, RIGHT_BROW, RIGHT_EYE

MEETING = 0.85  # where the lids meet: from the upper (0) to the lower one (1)
ABOVE, BELOW = 0.55, 0.25  # how far skin moves, eye widths from the lids
LID_EDGE = 0.07  # eye widths above the landmarks of the upper lid, where the skin ends and lashes begin
BROW = 0.10  # eye widths under the landmarks of the brow, which doesn't move
MIN_SKIN = 0.12  # eye widths of skin that are stretched at least, where the brow is near
LASHES, LASH_WIDTH = 0.5, 0.03  # how much darker the line is where the lids meet, and how wide; eye widths
OPEN = 0.1  # eye widths between lids that count as fully open
SIDE = 0.12  # how far the curves go on beyond the corners, where they meet, eye widths
LOOKS_ASIDE = np.radians(25.0)  # an eye's direction, from the head's
MIN_FACING = 0.35  # cosine between an eye's direction and that to the viewer; less is hidden by the nose or on edge
MIN_WIDTH = 6.0  # pixels; smaller eyes show nothing


@dataclass(frozen=True)
class _Eye:
    origin: np.ndarray  # (2,) one corner, pixels
    along: np.ndarray  # (2,) to the other corner, pixels
    across: np.ndarray  # (2,) as long, turned towards the lower lid
    upper: PchipInterpolator  # v of the upper lid at u
    lower: PchipInterpolator
    brow: np.ndarray  # (2, 5) u, rising, and v


def close_eyes(image: np.ndarray, landmarks: np.ndarray, rotation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(H, W[, 3]) uint8, (68, 3) pixels, (4,) quaternion -> image and landmarks with shut eyes; inputs stay.

    An eye that can't be seen stays as it is.
    """
    image, landmarks = image.copy(), landmarks.copy()
    for indices, brow, side in ((RIGHT_EYE, RIGHT_BROW, -1.0), (LEFT_EYE, LEFT_BROW, 1.0)):
        points = landmarks[list(indices)]
        if not _is_visible(points, rotation, side):
            continue
        eye = _eye_of(points[:, :2].astype(np.float64), landmarks[list(brow), :2])
        _move_skin(image, eye)
        lid = [indices[1], indices[2]]
        under = landmarks[[indices[5], indices[4]]]
        landmarks[lid] += MEETING * (under - landmarks[lid])
        landmarks[[indices[5], indices[4]]] += (1 - MEETING) * (points[[1, 2]] - under)
    return image, landmarks


def _is_visible(points: np.ndarray, rotation: np.ndarray, side: float) -> bool:
    aside = np.array([side * np.sin(LOOKS_ASIDE), 0.0, -np.cos(LOOKS_ASIDE)])
    facing = -(Rotation.from_quat(rotation).as_matrix() @ aside)[2]
    return bool(facing > MIN_FACING and np.linalg.norm(points[3, :2] - points[0, :2]) > MIN_WIDTH)


def _eye_of(points: np.ndarray, brow: np.ndarray) -> _Eye:
    """points: (6, 2) corner, two of the upper lid, corner, two of the lower lid; in a circle. brow: (5, 2)."""
    origin, along = points[0], points[3] - points[0]
    width = np.linalg.norm(along)
    across = np.array([-along[1], along[0]])
    if across @ (points[4:].mean(0) - points[1:3].mean(0)) < 0:
        across = -across
    to_local = np.stack([along, across], axis=1) / width**2
    local, arch = (points - origin) @ to_local, (brow - origin) @ to_local  # u, v
    curves = []
    for order in ((0, 1, 2, 3), (0, 5, 4, 3)):
        u, v = local[list(order)].T
        steps = 0.02 * np.arange(4)
        u = np.maximum.accumulate(u - steps) + steps  # rising, even where the labels don't
        curves.append(PchipInterpolator([-SIDE, *u, u[-1] + SIDE], [0.0, *v, 0.0]))
    return _Eye(origin, along, across, curves[0], curves[1], arch[np.argsort(arch[:, 0])].T)


def _move_skin(image: np.ndarray, eye: _Eye) -> None:
    """In place."""
    height, width = image.shape[:2]
    reach = [eye.origin + u * eye.along + v * eye.across for u in (-0.3, 1.3) for v in (-1.2, 1.2)]
    x0, y0 = np.floor(np.clip(np.min(reach, axis=0), 0, [width, height])).astype(int)
    x1, y1 = np.ceil(np.clip(np.max(reach, axis=0), 0, [width, height])).astype(int)
    if x1 <= x0 or y1 <= y0:
        return
    x, y = np.meshgrid(np.arange(x0, x1), np.arange(y0, y1))
    offset = np.stack([x, y], axis=-1) - eye.origin
    square = float(eye.along @ eye.along)
    u, v = offset @ eye.along / square, offset @ eye.across / square
    inside = (u > -SIDE) & (u < 1 + SIDE)
    safe = np.clip(u, -SIDE, 1 + SIDE)
    lower = eye.lower(safe)
    upper = np.minimum(eye.upper(safe), lower)
    meeting = upper + MEETING * (lower - upper)
    openness = np.clip((lower - upper) / OPEN, 0, 1)
    edge = upper - LID_EDGE * openness
    brow = np.interp(safe, *eye.brow) + BROW
    top, bottom = np.minimum(np.maximum(edge - ABOVE, brow), edge - MIN_SKIN), lower + BELOW
    source = np.where(
        v <= meeting,
        edge - (meeting - v) * (edge - top) / np.maximum(meeting - top, 1e-6),
        lower + (v - meeting) * (bottom - lower) / np.maximum(bottom - meeting, 1e-6),
    )
    inside &= (v > top) & (v < bottom)
    source = np.where(inside, source, v)
    moved = np.stack([x, y], axis=-1) + (source - v)[..., None] * eye.across
    mapping = moved.astype(np.float32)
    skin = cv2.remap(image, mapping[..., 0], mapping[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    shade = 1 - LASHES * openness * inside * np.exp(-(((v - meeting) / LASH_WIDTH) ** 2))
    shade = shade if skin.ndim == 2 else shade[..., None]
    image[y0:y1, x0:x1] = np.rint(skin * shade).astype(np.uint8)
