"""Colours of the head's vertices before light: skin, eyes, brows, lips, hair, beard."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from trackertraincode.facemodel.embedded import embedded_head
from trackertraincode.facemodel.embedded_anatomy import EYE_CENTER, IRIS_RADIUS
from trackertraincode.facemodel.embedded_mesh import contour_curves, lid_heights

SKIN_TONES = np.array(
    [[0.95, 0.80, 0.72], [0.88, 0.68, 0.56], [0.76, 0.55, 0.42], [0.55, 0.38, 0.28], [0.33, 0.22, 0.17]]
)
HAIR_COLORS = np.array(
    [
        [0.05, 0.04, 0.04],
        [0.16, 0.10, 0.07],
        [0.32, 0.20, 0.12],
        [0.62, 0.47, 0.28],
        [0.45, 0.18, 0.08],
        [0.6, 0.6, 0.6],
    ]
)
IRIS_COLORS = np.array([[0.22, 0.12, 0.07], [0.30, 0.20, 0.10], [0.25, 0.35, 0.45], [0.28, 0.38, 0.25]])
SCLERA = np.array([0.88, 0.86, 0.84])
TEETH = np.array([0.86, 0.83, 0.76])
MOUTH = np.array([0.22, 0.06, 0.06])


@dataclass(frozen=True, kw_only=True)
class Looks:
    """A person's colours; stays when pose and expression change."""

    skin: tuple[float, float, float]
    hair: tuple[float, float, float]
    iris: tuple[float, float, float]
    lip_redness: float  # 0 skin, 1 lipstick
    brow_strength: float
    beard: float  # 0 shaved, 1 full
    moustache: float
    hair_top: float  # y of the hairline over the forehead; above the skull: bald
    hair_thickness: float  # head radii
    texture_seed: int

    @staticmethod
    def draw(rng: np.random.Generator) -> "Looks":
        """A plausible mixture of all people."""
        tone = rng.uniform(0, len(SKIN_TONES) - 1)
        low = int(tone)
        skin = SKIN_TONES[low] + (tone - low) * (SKIN_TONES[min(low + 1, len(SKIN_TONES) - 1)] - SKIN_TONES[low])
        bearded = rng.random() < 0.3
        return Looks(
            skin=_triple(np.clip(skin * rng.uniform(0.9, 1.1, 3), 0, 1)),
            hair=_triple(np.clip(HAIR_COLORS[rng.integers(len(HAIR_COLORS))] * rng.uniform(0.7, 1.4), 0, 1)),
            iris=_triple(IRIS_COLORS[rng.integers(len(IRIS_COLORS))] * rng.uniform(0.7, 1.3)),
            lip_redness=float(rng.uniform(0.2, 1.0)),
            brow_strength=float(rng.uniform(0.3, 1.0)),
            beard=float(rng.uniform(0.3, 1.0)) if bearded else float(rng.uniform(0.0, 0.15)),
            moustache=float(rng.uniform(0.2, 1.0)) if bearded or rng.random() < 0.05 else 0.0,
            hair_top=float(rng.uniform(-0.75, -0.4)) if rng.random() < 0.88 else -2.0,
            hair_thickness=float(rng.uniform(0.02, 0.14)),
            texture_seed=int(rng.integers(2**31)),
        )


def _triple(values: np.ndarray) -> tuple[float, float, float]:
    r, g, b = (float(v) for v in values)
    return r, g, b


@cache
def _static_weights() -> dict[str, np.ndarray]:
    """Weights (V,) of things that don't depend on the person, from the mean head."""
    head = embedded_head()
    v = head.vertices.astype(float)
    curves = contour_curves()
    lashes = np.zeros(len(v))
    for side in ("left", "right"):
        for lid, strength in (("upper", 1.0), ("lower", 0.45)):
            line = curves[f"{lid}_lid_{side}"]
            distance = np.sqrt(((v[:, None, :2] - line[None, :, :2]) ** 2).sum(-1)).min(1)
            lashes = np.maximum(lashes, strength * np.exp(-((distance / 0.012) ** 2)) * (v[:, 2] < 0.2))
    cheeks = sum(np.exp(-((v - [s * 0.42, 0.3, 0.0]) ** 2).sum(1) / 0.03) for s in (1, -1))
    nose_tip = np.exp(-((v - [0.0, 0.36, -0.4]) ** 2).sum(1) / 0.02)
    sockets = sum(np.exp(-((v - [s * 0.28, 0.0, 0.0]) ** 2).sum(1) / 0.02) for s in (1, -1))
    nostrils = sum(np.exp(-((v - [s * 0.065, 0.435, -0.27]) ** 2).sum(1) / 0.0012) for s in (1, -1))
    return {"lashes": lashes, "blush": cheeks + 0.8 * nose_tip, "sockets": sockets, "nostrils": nostrils}


def hairiness(looks: Looks) -> np.ndarray:
    """(V,) 0 skin to 1 full hair: above the hairline, in front of it the forehead, behind it the whole scalp."""
    head = embedded_head()
    _, y, z = head.vertices.T
    line = looks.hair_top + np.clip((z - 0.15) / 0.5, 0.0, 1.0) * (0.05 - looks.hair_top) * (looks.hair_top > -1.5)
    edge = np.clip((line - y) / 0.08, 0.0, 1.0)
    sides = np.clip((z - 0.78) / 0.1, 0.0, 1.0) * np.clip((0.75 - y) / 0.15, 0.0, 1.0) * (looks.hair_top > -1.5)
    return np.maximum(edge, sides) * ~head.regions["ears"] * ~head.regions["neck"]


def head_colors(looks: Looks, coefficients: np.ndarray, gaze: tuple[float, float]) -> np.ndarray:
    """(V, 3) float albedo in [0, 1]. coefficients: (50,); gaze: shift of the irises right and down, head radii."""
    head = embedded_head()
    weights, regions = _static_weights(), head.regions
    texture = _texture(looks.texture_seed)
    skin, hair = np.array(looks.skin), np.array(looks.hair)
    colors = skin * (1.0 + 0.07 * texture[:, :1])
    colors += weights["blush"][:, None] * np.array([0.05, -0.05, -0.04])
    colors *= 1.0 - 0.22 * weights["sockets"][:, None] - 0.75 * weights["nostrils"][:, None]
    strands = 1.0 + 0.35 * texture[:, 1:2]
    lips = regions["lips"]
    red = skin * [0.95, 0.55, 0.55] * (1 - looks.lip_redness) + looks.lip_redness * np.array([0.68, 0.22, 0.24])
    colors[lips] = red * (1.0 + 0.05 * texture[lips, :1])
    for name, strength in (("beard", looks.beard), ("moustache", looks.moustache)):
        cover = strength * np.clip(0.75 + 0.5 * texture[:, 1], 0, 1) * regions[name] * ~lips
        colors = colors * (1 - cover[:, None]) + hair * strands * cover[:, None]
    brows = (
        (regions["brow_left"] | regions["brow_right"]) * looks.brow_strength * np.clip(0.8 + 0.4 * texture[:, 2], 0, 1)
    )
    colors = colors * (1 - brows[:, None]) + 0.7 * hair * brows[:, None]
    _paint_mouth(colors, coefficients)
    for side, closure in (("left", coefficients[40]), ("right", coefficients[41])):
        _paint_eye(colors, side, looks, gaze, float(closure))
    colors *= 1.0 - 0.75 * weights["lashes"][:, None]
    cover = hairiness(looks)[:, None]
    return np.clip(colors * (1 - cover) + hair * strands * cover, 0.0, 1.0).astype(np.float32)


def _paint_mouth(colors: np.ndarray, coefficients: np.ndarray) -> None:
    """In colors (V, 3): dark, with the upper teeth along the upper lip when the jaw opens."""
    head = embedded_head()
    inside = head.regions["mouth"]
    y = head.vertices[inside, 1]
    teeth = np.clip((0.652 - y) / 0.004, 0.0, 1.0)[:, None] * float(np.clip(coefficients[42] * 4, 0.0, 1.0))
    colors[inside] = MOUTH * (1 - teeth) + TEETH * teeth


def _paint_eye(colors: np.ndarray, side: str, looks: Looks, gaze: tuple[float, float], closure: float) -> None:
    """In colors (V, 3): sclera, iris and pupil, or the lid. closure: 1 for shut."""
    head = embedded_head()
    inside = head.regions[f"eye_{side}"]
    x, y, _ = head.vertices[inside].T
    sign = 1.0 if side == "left" else -1.0
    upper, _ = lid_heights(x, side)
    distance = np.hypot(x - sign * EYE_CENTER[0] - gaze[0], y - EYE_CENTER[1] - gaze[1])[:, None]
    iris = np.clip((IRIS_RADIUS - distance) / 0.012, 0.0, 1.0)
    pupil = np.clip((0.45 * IRIS_RADIUS - distance) / 0.01, 0.0, 1.0)
    eye = SCLERA * (1 - iris) + np.array(looks.iris) * iris * (1 - pupil)
    eye = eye * (1.0 - 0.5 * np.exp(-np.clip(y - upper, 0, None) / 0.015))[:, None]  # the lid's shadow
    shut = float(np.clip((closure - 0.6) / 0.3, 0.0, 1.0))
    colors[inside] = eye * (1 - shut) + 0.35 * np.array(looks.skin) * shut


@cache
def _texture_waves() -> np.ndarray:
    """(V, 3 · 24) waves over the head's surface, from coarse to fine, to be mixed by a person's seed."""
    rng = np.random.default_rng(7)
    v = embedded_head().vertices.astype(float)
    frequencies = np.geomspace(2.0, 45.0, 24)
    waves = [np.sin(v @ (rng.normal(size=3) * f) + rng.uniform(0, 6.28)) for f in np.repeat(frequencies, 3)]
    return np.stack(waves, axis=1).astype(np.float32)


def _texture(seed: int) -> np.ndarray:
    """(V, 3) smooth noise of unit spread: blotches, strands, fine strands."""
    rng = np.random.default_rng(seed)
    count = _texture_waves().shape[1]
    weights = rng.normal(size=(count, 3)).astype(np.float32)
    weights[: count // 2, 1:] *= 0.15  # strands are fine
    weights /= np.linalg.norm(weights, axis=0) * np.float32(0.707)
    return _texture_waves() @ weights
