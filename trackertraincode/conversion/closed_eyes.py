"""Shut the eyes of a real face: its upper lid is drawn down over the eye, along the 68 landmarks.

    image, landmarks, rotation --visible eyes--> lid curves --column by column, cv2.remap--> image, landmarks

Each eye has a frame of its own: u runs from one corner to the other, v across, both in eye widths. In a column of that
frame, the skin between brow and upper lid is stretched down to where the lids meet, the skin under the lower lid up to
there; what lay between the lids is gone. Outside of a margin nothing changes.
"""

from collections.abc import Iterator
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
    for indices, eye in _visible_eyes(landmarks, rotation):
        points = landmarks[list(indices)]
        _move_skin(image, eye)
        lid = [indices[1], indices[2]]
        under = landmarks[[indices[5], indices[4]]]
        landmarks[lid] += MEETING * (under - landmarks[lid])
        landmarks[[indices[5], indices[4]]] += (1 - MEETING) * (points[[1, 2]] - under)
    return image, landmarks


def close_eyes_in_classes(classes: np.ndarray, landmarks: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """(H, W) what each pixel shows, (68, 3) pixels, (4,) quaternion -> the same where `close_eyes` shut these eyes."""
    classes = classes.copy()
    for _, eye in _visible_eyes(landmarks, rotation):
        if (stretch := _stretch_of(classes.shape[:2], eye)) is not None:
            moved = cv2.remap(classes, *stretch.sources, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
            classes[stretch.window] = moved
    return classes


def _visible_eyes(landmarks: np.ndarray, rotation: np.ndarray) -> Iterator[tuple[range, _Eye]]:
    """Landmarks and place of each eye that can be seen."""
    for indices, brow, side in ((RIGHT_EYE, RIGHT_BROW, -1.0), (LEFT_EYE, LEFT_BROW, 1.0)):
        points = landmarks[list(indices)]
        if _is_visible(points, rotation, side):
            yield indices, _eye_of(points[:, :2].astype(np.float64), landmarks[list(brow), :2])


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


@dataclass(frozen=True)
class _Stretch:
    """What happens around an eye."""

    window: tuple[slice, slice]  # of the image
    sources: tuple[np.ndarray, np.ndarray]  # x and y in the image, of each of its pixels
    shade: np.ndarray  # of each of its pixels


def _move_skin(image: np.ndarray, eye: _Eye) -> None:
    """In place."""
    if (stretch := _stretch_of(image.shape[:2], eye)) is None:
        return
    skin = cv2.remap(image, *stretch.sources, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    shade = stretch.shade if skin.ndim == 2 else stretch.shade[..., None]
    image[stretch.window] = np.rint(skin * shade).astype(np.uint8)


def _stretch_of(size: tuple[int, ...], eye: _Eye) -> _Stretch | None:
    """size: height and width of the image. None where the eye lies outside."""
    height, width = size
    reach = [eye.origin + u * eye.along + v * eye.across for u in (-0.3, 1.3) for v in (-1.2, 1.2)]
    x0, y0 = np.floor(np.clip(np.min(reach, axis=0), 0, [width, height])).astype(int)
    x1, y1 = np.ceil(np.clip(np.max(reach, axis=0), 0, [width, height])).astype(int)
    if x1 <= x0 or y1 <= y0:
        return None
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
    shade = 1 - LASHES * openness * inside * np.exp(-(((v - meeting) / LASH_WIDTH) ** 2))
    return _Stretch((slice(y0, y1), slice(x0, x1)), (mapping[..., 0], mapping[..., 1]), shade)
