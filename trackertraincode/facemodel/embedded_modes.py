"""How the embedded head deforms: 40 shape modes (people) and 10 expression modes, each a smooth field on the mesh.

A shape coefficient of 0.3 is one standard deviation; the amplitudes below are head radii (100 mm) at that coefficient.
An expression coefficient of 1 is the full expression. Whatever of a shape mode would turn, move or scale all 68
landmarks together is taken out, so that pose labels keep their meaning for every person.
"""

from typing import NamedTuple

import numpy as np

from trackertraincode.facemodel.embedded_mesh import inside_lids, inside_mouth, lid_heights
from trackertraincode.facemodel.similarity import without_similarity

SHAPE_STD = 0.3


class Bump(NamedTuple):
    """Push everything near a place; with `x` > 0 the mirrored place is pushed the mirrored way."""

    x: float
    y: float
    z: float
    radius: float
    push: tuple[float, float, float]  # head radii at one standard deviation
    stretch: tuple[float, float, float] = (1.0, 1.0, 1.0)  # of the radius along the axes


SHAPE_MODES: dict[str, tuple[Bump, ...]] = {
    "jaw_width": (Bump(0.62, 0.75, 0.55, 0.40, (0.045, 0.0, 0.0)),),
    "jaw_length": (Bump(0.0, 1.1, 0.1, 0.45, (0.0, 0.06, 0.0), (1.6, 1.0, 1.2)),),
    "jaw_corner": (Bump(0.65, 0.65, 0.65, 0.25, (0.02, 0.04, -0.02)),),
    "chin_forward": (Bump(0.0, 1.02, -0.1, 0.28, (0.0, 0.0, -0.05)),),
    "chin_width": (Bump(0.2, 1.03, 0.0, 0.18, (0.035, 0.0, 0.0)),),
    "chin_cleft_height": (Bump(0.0, 0.87, -0.18, 0.14, (0.0, 0.0, 0.02)),),
    "nose_length": (Bump(0.0, 0.40, -0.33, 0.20, (0.0, 0.035, 0.0)),),
    "nose_forward": (Bump(0.0, 0.33, -0.40, 0.18, (0.0, 0.0, -0.045)),),
    "nose_width": (Bump(0.13, 0.40, -0.22, 0.10, (0.022, 0.0, 0.0)),),
    "nose_bridge_height": (Bump(0.0, 0.08, -0.26, 0.13, (0.0, 0.0, -0.03)),),
    "nose_bridge_width": (Bump(0.06, 0.12, -0.23, 0.09, (0.015, 0.0, 0.0)),),
    "nose_tip_up": (Bump(0.0, 0.35, -0.42, 0.10, (0.0, -0.03, -0.005)),),
    "nose_hump": (Bump(0.0, 0.17, -0.34, 0.08, (0.0, 0.0, -0.018)),),
    "eye_spacing": (Bump(0.31, 0.0, -0.02, 0.24, (0.018, 0.0, 0.0)),),
    "eye_width": (Bump(0.45, 0.01, 0.03, 0.12, (0.018, 0.0, 0.0)), Bump(0.17, 0.015, -0.02, 0.09, (-0.01, 0.0, 0.0))),
    "eye_opening": (
        Bump(0.31, -0.04, -0.05, 0.09, (0.0, -0.009, 0.0), (1.5, 0.6, 1.0)),
        Bump(0.31, 0.04, -0.04, 0.09, (0.0, 0.006, 0.0), (1.5, 0.6, 1.0)),
    ),
    "eye_tilt": (Bump(0.45, 0.0, 0.03, 0.12, (0.0, -0.015, 0.0)), Bump(0.17, 0.01, -0.02, 0.09, (0.0, 0.008, 0.0))),
    "eye_depth": (Bump(0.31, 0.0, -0.03, 0.22, (0.0, 0.0, 0.025)),),
    "eye_height": (Bump(0.31, 0.0, -0.03, 0.26, (0.0, 0.018, 0.0)),),
    "brow_ridge": (Bump(0.32, -0.17, -0.12, 0.22, (0.0, 0.0, -0.03), (1.6, 0.8, 1.0)),),
    "brow_height": (Bump(0.38, -0.22, -0.08, 0.2, (0.0, -0.028, 0.0), (1.5, 1.0, 1.0)),),
    "brow_tilt": (Bump(0.54, -0.17, 0.05, 0.16, (0.0, -0.022, 0.0)), Bump(0.2, -0.2, -0.17, 0.12, (0.0, 0.012, 0.0))),
    "forehead_slope": (Bump(0.0, -0.6, -0.05, 0.42, (0.0, 0.0, 0.06), (1.6, 1.0, 1.0)),),
    "forehead_width": (Bump(0.55, -0.45, 0.2, 0.38, (0.035, 0.0, 0.0)),),
    "temples": (Bump(0.64, -0.12, 0.38, 0.25, (0.028, 0.0, 0.0)),),
    "cheekbones_wide": (Bump(0.62, 0.15, 0.25, 0.25, (0.03, 0.0, 0.0)),),
    "cheekbones_forward": (Bump(0.45, 0.2, -0.02, 0.22, (0.008, 0.0, -0.03)),),
    "cheeks_full": (Bump(0.5, 0.55, 0.15, 0.28, (0.035, 0.0, -0.02)),),
    "cheeks_low": (Bump(0.5, 0.75, 0.22, 0.25, (0.03, 0.02, -0.01)),),
    "mouth_width": (Bump(0.24, 0.67, -0.1, 0.14, (0.025, 0.0, 0.006)),),
    "mouth_height": (Bump(0.0, 0.67, -0.2, 0.24, (0.0, 0.03, 0.0), (1.6, 0.8, 1.0)),),
    "mouth_forward": (Bump(0.0, 0.65, -0.22, 0.22, (0.0, 0.0, -0.03), (1.3, 1.0, 1.0)),),
    "upper_lip_full": (Bump(0.0, 0.59, -0.26, 0.09, (0.0, -0.012, -0.014), (2.0, 0.7, 1.0)),),
    "lower_lip_full": (Bump(0.0, 0.73, -0.23, 0.09, (0.0, 0.015, -0.014), (2.0, 0.7, 1.0)),),
    "philtrum_length": (Bump(0.0, 0.56, -0.25, 0.12, (0.0, 0.018, 0.0), (2.0, 1.0, 1.0)),),
    "skull_height": (Bump(0.0, -1.05, 0.75, 0.7, (0.0, -0.06, 0.0)),),
    "skull_length": (Bump(0.0, -0.3, 1.7, 0.8, (0.0, 0.0, 0.07)),),
    "skull_width": (Bump(0.75, -0.3, 0.95, 0.6, (0.04, 0.0, 0.0)),),
    "neck_width": (Bump(0.5, 1.5, 0.9, 0.55, (0.06, 0.0, 0.0)), Bump(0.0, 1.5, 0.5, 0.4, (0.0, 0.0, -0.04))),
    "ears_out": (Bump(0.85, 0.1, 0.95, 0.22, (0.03, 0.0, 0.01)),),
}

EXPRESSIONS = (
    "close_left_eye", "close_right_eye", "open_jaw", "smile", "pucker", "brows_up", "brows_together", "upper_lip_up",
    "corners_down", "cheeks_puffed",
)  # fmt: skip

# The spread of everyday faces, per expression. Lids and jaw only close or open: draw them as absolute values.
EXPRESSION_STD = np.array([0.35, 0.35, 0.35, 0.45, 0.3, 0.4, 0.4, 0.3, 0.3, 0.25])

_BUMPS: dict[str, tuple[Bump, ...]] = {
    "smile": (
        Bump(0.24, 0.66, -0.09, 0.16, (0.075, -0.075, 0.045)),
        Bump(0.42, 0.40, 0.0, 0.2, (0.02, -0.045, -0.035)),
        Bump(0.0, 0.68, -0.22, 0.12, (0.0, -0.012, 0.02), (1.5, 1.0, 1.0)),
    ),
    "pucker": (
        Bump(0.22, 0.67, -0.1, 0.13, (-0.085, 0.0, -0.05)),
        Bump(0.0, 0.66, -0.23, 0.14, (0.0, 0.0, -0.08), (1.0, 1.0, 1.0)),
    ),
    "brows_up": (Bump(0.36, -0.24, -0.08, 0.2, (0.0, -0.085, 0.0), (1.5, 0.9, 1.5)),),
    "brows_together": (
        Bump(0.2, -0.19, -0.17, 0.12, (-0.035, 0.045, -0.01)),
        Bump(0.4, -0.2, -0.08, 0.14, (0.0, 0.025, 0.0)),
    ),
    "upper_lip_up": (
        Bump(0.0, 0.61, -0.25, 0.1, (0.0, -0.05, -0.005), (2.2, 0.55, 1.5)),
        Bump(0.13, 0.41, -0.22, 0.09, (0.008, -0.02, 0.0)),
    ),
    "corners_down": (Bump(0.24, 0.68, -0.09, 0.12, (0.0, 0.06, 0.0)),),
    "cheeks_puffed": (Bump(0.45, 0.58, 0.05, 0.22, (0.09, 0.0, -0.06)),),
}


def shape_basis(vertices: np.ndarray, keypoints: np.ndarray) -> np.ndarray:
    """(40, V, 3) per unit coefficient."""
    fields = np.stack([_sum_of_bumps(vertices, bumps) for bumps in SHAPE_MODES.values()]) / SHAPE_STD
    return np.stack([without_similarity(field, vertices, keypoints) for field in fields])


def expression_basis(vertices: np.ndarray) -> np.ndarray:
    """(10, V, 3) per unit coefficient."""
    special = {
        "close_left_eye": lambda: _close_eye(vertices, "left"),
        "close_right_eye": lambda: _close_eye(vertices, "right"),
        "open_jaw": lambda: _open_jaw(vertices),
    }
    return np.stack([special[n]() if n in special else _sum_of_bumps(vertices, _BUMPS[n]) for n in EXPRESSIONS])


def _sum_of_bumps(vertices: np.ndarray, bumps: tuple[Bump, ...]) -> np.ndarray:
    """(V, 3) -> (V, 3) moves."""
    total = np.zeros_like(vertices)
    for bump in bumps:
        for mirror in (1.0, -1.0) if bump.x > 0 else (1.0,):
            side = np.array([mirror, 1.0, 1.0])
            offset = (vertices - np.array(bump[:3]) * side) / (bump.radius * np.array(bump.stretch))
            total += np.exp(-(offset**2).sum(1))[:, None] * np.array(bump.push) * side
    return total


def _close_eye(vertices: np.ndarray, side: str) -> np.ndarray:
    """(V, 3) moves: upper lid down to the lower one; what is between is folded away, the skin above follows and thins out."""
    upper, lower = lid_heights(vertices[:, 0], side)
    y, z = vertices[:, 1], vertices[:, 2]
    front = z < 0.3
    gap = np.clip(lower - upper, 0.0, None) * front
    inside = inside_lids(vertices, side)
    # 1 at the lid's rim, 0 at the brow 0.13 above it; the lower lid's skin meets it a little.
    above = np.clip(1.0 - (upper - y) / 0.13, 0.0, 1.0) * (y <= upper + 1e-3)
    below = np.exp(-(((y - lower) / 0.04) ** 2)) * (y >= lower - 1e-3)
    down = np.where(inside, (lower - y) - 0.1 * gap, 0.0) + (0.9 * above**1.5 - 0.1 * below) * gap * ~inside
    forward = np.where(inside, -0.02, 0.0) - 0.015 * np.exp(-(((y - upper) / 0.05) ** 2)) * (gap > 0) * ~inside
    field = np.zeros_like(vertices)
    field[:, 1] = down
    field[:, 2] = forward * np.clip(gap / 0.04, 0.0, 1.0)
    return field


def _open_jaw(vertices: np.ndarray) -> np.ndarray:
    """(V, 3) moves: the lower jaw turns about the joint before the ears by 17 degrees, more towards the lower lip."""
    joint = np.array([0.0, 0.05, 0.75])
    x, y, z = vertices.T
    angle = np.radians(17.0)
    offset = vertices - joint
    turned = np.stack([np.zeros_like(x), -offset[:, 2] * angle, offset[:, 1] * angle], axis=1)
    seam = 0.655 + 0.12 * (np.abs(x) / 0.25) ** 2 * (np.abs(x) < 0.25) + 0.12 * (np.abs(x) >= 0.25)
    width = np.where(np.abs(x) < 0.22, 0.005, 0.005 + 0.35 * (np.abs(x) - 0.22))
    weight = 1.0 / (1.0 + np.exp(-np.clip((y - seam) / width, -30, 30)))
    weight *= np.clip((0.85 - z) / 0.5, 0.0, 1.0) * np.clip((1.75 - y) / 0.5, 0.0, 1.0)
    mouth = inside_mouth(vertices)
    weight[mouth] = np.clip((y[mouth] - 0.640) / 0.027, 0.0, 1.0)
    field = turned * weight[:, None]
    field[mouth, 2] += 0.10 * np.sin(np.pi * weight[mouth])  # the mouth is hollow
    return field
