"""What the head's vertices look like before light: skin, eyes, brows, lips, teeth, beard, roots of the hair."""

from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise

import numpy as np

from trackertraincode.facemodel.head_model import HeadModel
from trackertraincode.facemodel.load import OWN_MODELS
from trackertraincode.facemodel.regions import curves_through
from trackertraincode.rendering.lighting import openness
from trackertraincode.rendering.rasterizer import vertex_normals

SKIN_TONES = np.array(
    [[0.96, 0.80, 0.72], [0.90, 0.70, 0.59], [0.80, 0.58, 0.45], [0.62, 0.42, 0.31], [0.36, 0.24, 0.18]]
)
TONE_SHARES = (0.34, 0.3, 0.18, 0.1, 0.08)
HAIR_COLORS = np.array(
    [[0.03, 0.025, 0.025], [0.10, 0.06, 0.04], [0.22, 0.13, 0.08], [0.58, 0.43, 0.25], [0.36, 0.14, 0.07],
     [0.62, 0.61, 0.6]]
)  # fmt: skip
HAIR_SHARES = (0.34, 0.22, 0.18, 0.14, 0.05, 0.07)
IRIS_COLORS = np.array([[0.10, 0.06, 0.04], [0.17, 0.11, 0.06], [0.20, 0.28, 0.36], [0.19, 0.25, 0.17]])
SCLERA = np.array([0.82, 0.79, 0.77])
TEETH = np.array([0.90, 0.87, 0.80])
MOUTH = np.array([0.22, 0.06, 0.06])
IRIS_RADIUS = 0.06


@dataclass(frozen=True, kw_only=True)
class Looks:
    """A person's colours; stays when pose and expression change."""

    skin: tuple[float, float, float]
    hair: tuple[float, float, float]
    iris: tuple[float, float, float]
    lip_redness: float  # 0 skin, 1 lipstick
    eye_shadow: float  # 0 none, 1 strong make-up
    brow_strength: float
    brow_width: float  # head radii
    beard: float  # 0 shaved, 1 full
    moustache: float
    hair_top: float  # y of the hairline over the forehead; above the skull: bald
    temples: float  # how far the hairline recedes beside the forehead
    hair_thickness: float  # head radii
    shine: float  # of the skin
    blotches: float
    texture_seed: int

    @staticmethod
    def draw(rng: np.random.Generator) -> "Looks":
        """A plausible mixture of all people."""
        tone = int(rng.choice(len(SKIN_TONES), p=TONE_SHARES))
        other = min(tone + 1, len(SKIN_TONES) - 1)
        skin = SKIN_TONES[tone] + rng.random() * (SKIN_TONES[other] - SKIN_TONES[tone])
        hair = HAIR_COLORS[rng.choice(len(HAIR_COLORS), p=HAIR_SHARES)] * rng.uniform(0.6, 1.4)
        bearded, made_up = rng.random() < 0.22, rng.random() < 0.25
        return Looks(
            skin=_triple(np.clip(skin * rng.uniform(0.9, 1.05) * rng.uniform(0.95, 1.05, 3), 0, 1)),
            hair=_triple(np.clip(hair if tone < 3 else 0.4 * hair, 0, 1)),
            iris=_triple(IRIS_COLORS[rng.integers(len(IRIS_COLORS))] * rng.uniform(0.7, 1.3)),
            lip_redness=float(rng.uniform(0.6, 1.0) if made_up else rng.uniform(0.1, 0.6)),
            eye_shadow=float(rng.uniform(0.3, 1.0) if made_up else rng.uniform(0.0, 0.2)),
            brow_strength=float(rng.uniform(0.5, 1.0)),
            brow_width=float(rng.uniform(0.025, 0.055)),
            beard=float(rng.uniform(0.2, 1.0)) if bearded else float(rng.uniform(0.0, 0.1)),
            moustache=float(rng.uniform(0.2, 1.0)) if bearded or rng.random() < 0.05 else 0.0,
            hair_top=float(rng.uniform(-0.78, -0.5)),
            temples=float(abs(rng.normal(0.0, 0.15))),
            hair_thickness=float(rng.uniform(0.01, 0.05)),
            shine=float(abs(rng.normal(0.0, 0.16))),
            blotches=float(rng.uniform(0.01, 0.06)),
            texture_seed=int(rng.integers(2**31)),
        )


@dataclass(frozen=True)
class Skin:
    """All that light needs to know of a head's vertices."""

    albedo: np.ndarray  # (V, 3) float in [0, 1]
    gloss: np.ndarray  # (V,)
    sharpness: np.ndarray  # (V,)


def _triple(values: np.ndarray) -> tuple[float, float, float]:
    r, g, b = (float(v) for v in values)
    return r, g, b


@cache
def static_weights(name: str) -> dict[str, np.ndarray]:
    """Weights (V,) of things that don't depend on the person, from the mean of a head model."""
    head = OWN_MODELS[name]()
    v, k = head.vertices.astype(float), head.keypoint_mean.astype(float)
    curves = curves_through(k)
    skin = ~(head.regions["mouth"] | head.regions["eye_left"] | head.regions["eye_right"])
    lashes, shadow = np.zeros(len(v)), np.zeros(len(v))
    for side in ("left", "right"):
        for lid, strength in (("upper", 1.0), ("lower", 0.5)):
            line = curves[f"{lid}_lid_{side}"]
            distance = _distance(v, line)
            lashes = np.maximum(lashes, strength * np.exp(-((distance / 0.016) ** 2)) * (v[:, 2] < 0.2))
            if lid == "upper":
                above = np.clip((line[:, 1].mean() + 0.03 - v[:, 1]) / 0.05, 0, 1)
                shadow = np.maximum(shadow, np.exp(-((distance / 0.07) ** 2)) * above)
    brows = [np.minimum(_distance(v, _dense(k[list(ids)])), 1.0) for ids in (range(17, 22), range(22, 27))]
    cheeks = sum(np.exp(-((v - [s * 0.42, 0.3, 0.0]) ** 2).sum(1) / 0.03) for s in (1, -1))
    nose_tip = np.exp(-((v - k[30]) ** 2).sum(1) / 0.02)
    sockets = sum(np.exp(-((v - [s * 0.28, 0.0, 0.0]) ** 2).sum(1) / 0.02) for s in (1, -1))
    nostrils = sum(np.exp(-((v - [s * 0.065, 0.435, -0.25]) ** 2).sum(1) / 0.0012) for s in (1, -1))
    creases = _distance(v, np.linspace(k[35], k[54] + [0.05, 0, 0], 12)) + 0.0
    creases = np.minimum(creases, _distance(v, np.linspace(k[31], k[48] - [0.05, 0, 0], 12)))
    oily = np.exp(-((v - [0.0, -0.4, -0.15]) ** 2).sum(1) / 0.12) + nose_tip + 0.7 * cheeks
    return {
        "lashes": lashes * skin, "eye_shadow": shadow * skin, "brows": np.minimum(*brows), "blush": cheeks + nose_tip,
        "sockets": sockets * skin, "nostrils": nostrils * skin, "creases": np.exp(-((creases / 0.03) ** 2)) * skin,
        "oily": 0.4 + oily, "open": _openness(head),
        "beard": _soft(head, "beard"), "moustache": _soft(head, "moustache"),
    }  # fmt: skip


def _openness(head: HeadModel) -> np.ndarray:
    """(V,) share of the surroundings that is seen with open eyes and a smile: teeth aren't as dark as behind closed lips."""
    seen = openness(head.vertices, head.triangles, vertex_normals(head.vertices, head.triangles))
    if "teeth" in head.regions:
        teeth = head.regions["teeth"]
        depth = head.vertices[teeth, 2] - head.vertices[teeth, 2].min()
        seen[teeth] = np.clip(1.9 - 3.0 * depth, 0.3, 1.7)  # more than all: lips would keep lamps away
    return seen


def _distance(v: np.ndarray, line: np.ndarray) -> np.ndarray:
    """(V, 3), (N, 3) -> (V,) to the nearest of the line's points."""
    return np.sqrt(((v[:, None] - line[None]) ** 2).sum(-1)).min(1)


def _dense(points: np.ndarray) -> np.ndarray:
    return np.concatenate([np.linspace(a, b, 8) for a, b in pairwise(points)])


def _soft(head: HeadModel, region: str) -> np.ndarray:
    """(V,) the share of a vertex' neighbours that are in a region, twice: edges of beards are soft."""
    weight = head.regions[region].astype(float)
    corners = head.triangles.ravel()
    count = np.maximum(np.bincount(corners, minlength=len(weight)), 1)
    for _ in range(3):
        mean = weight[head.triangles].mean(1)
        weight = np.bincount(corners, np.repeat(mean, 3), minlength=len(weight)) / count
    return weight


def hairiness(model: HeadModel, looks: Looks) -> np.ndarray:
    """(V,) 0 skin to 1 full hair: above the hairline, in front of it the forehead, behind it the whole scalp."""
    x, y, z = model.vertices.T
    top = looks.hair_top - looks.temples * np.exp(-(((np.abs(x) - 0.42) / 0.16) ** 2))
    line = top + np.clip((z - 0.15) / 0.5, 0.0, 1.0) * (0.05 - top)
    edge = np.clip((line - y) / 0.08, 0.0, 1.0)
    sides = np.clip((z - 0.78) / 0.1, 0.0, 1.0) * np.clip((0.75 - y) / 0.15, 0.0, 1.0)
    return np.maximum(edge, sides) * ~model.regions["ears"] * ~model.regions["neck"]


def paint_skin(
    model: HeadModel, looks: Looks, coefficients: np.ndarray, gaze: tuple[float, float], growth: np.ndarray
) -> Skin:
    """coefficients: (50,); gaze: shift of the irises right and down, head radii; growth: (V,) of the scalp's hair."""
    weights, regions = static_weights(model.name), model.regions
    texture = _texture(model.name, looks.texture_seed)
    skin, hair = np.array(looks.skin), np.array(looks.hair)
    colors = skin * (1.0 + looks.blotches * texture[:, :1])
    colors += weights["blush"][:, None] * skin * [0.04, -0.05, -0.05]
    dark = 0.13 * weights["sockets"] + 0.1 * weights["creases"] + 0.5 * looks.eye_shadow * weights["eye_shadow"]
    colors *= (1.0 - dark)[:, None] * (1.0 - 0.8 * weights["nostrils"][:, None])
    strands = 1.0 + 0.35 * texture[:, 1:2]
    lips = regions["lips"]
    red = skin * [0.9, 0.6, 0.6] * (1 - looks.lip_redness) + looks.lip_redness * (0.3 * skin + [0.42, 0.1, 0.12])
    colors[lips] = red * (1.0 + 0.05 * texture[lips, :1])
    for name, strength in (("beard", looks.beard), ("moustache", looks.moustache)):
        cover = strength * np.clip(0.85 + 0.25 * texture[:, 1], 0, 1) * weights[name] * ~lips
        colors += cover[:, None] * (hair * strands - colors)
    brows = np.exp(-((weights["brows"] / looks.brow_width) ** 4)) * looks.brow_strength
    brows *= np.clip(0.8 + 0.4 * texture[:, 2], 0, 1)
    colors += brows[:, None] * (0.6 * hair - colors)
    colors *= 1.0 - 0.8 * weights["lashes"][:, None]
    colors += growth[:, None] * (0.8 * hair * strands - colors)
    gloss, sharpness = looks.shine * weights["oily"], np.full(len(colors), 14.0)
    gloss[lips], sharpness[lips] = 0.1 + 0.3 * looks.lip_redness, 25.0
    _paint_mouth(model, colors, coefficients)
    gloss[regions["mouth"]] = 0.1
    for side, closure in (("left", coefficients[40]), ("right", coefficients[41])):
        shut = _paint_eye(model, colors, side, looks, gaze, float(closure))
        gloss[regions[f"eye_{side}"]], sharpness[regions[f"eye_{side}"]] = 0.8 * (1.0 - shut), 70.0
    return Skin(np.clip(colors, 0.0, 1.0), gloss * (1.0 - growth), sharpness)


def _paint_mouth(model: HeadModel, colors: np.ndarray, coefficients: np.ndarray) -> None:
    """In colors (V, 3): dark, with teeth. The embedded head has none: they are painted along the upper lip."""
    inside = model.regions["mouth"]
    colors[inside] = MOUTH
    if "teeth" in model.regions:
        colors[model.regions["cavity"]] = MOUTH
        colors[model.regions["teeth"]] = TEETH
        return
    teeth = np.clip((0.652 - model.vertices[inside, 1]) / 0.004, 0.0, 1.0)[:, None]
    colors[inside] += teeth * float(np.clip(coefficients[42] * 4, 0.0, 1.0)) * (TEETH - MOUTH)


def _paint_eye(
    model: HeadModel, colors: np.ndarray, side: str, looks: Looks, gaze: tuple[float, float], closure: float
) -> float:
    """In colors (V, 3): sclera, iris and pupil, or the lid where eyeball and lid are one mesh. closure: 1 for shut.

    Returns how shut such a lid is.
    """
    inside = model.regions[f"eye_{side}"]
    x, y, _ = model.vertices[inside].T
    ids = range(42, 48) if side == "left" else range(36, 42)
    center = model.keypoint_mean[list(ids), :2].mean(0)
    upper = model.keypoint_mean[list(ids)[1:3], 1].mean()
    distance = np.hypot(x - center[0] - gaze[0], y - center[1] - gaze[1])[:, None]
    iris = np.clip((IRIS_RADIUS - distance) / 0.012, 0.0, 1.0)
    pupil = np.clip((0.45 * IRIS_RADIUS - distance) / 0.01, 0.0, 1.0)
    rim = 0.4 * np.exp(-(((distance - IRIS_RADIUS) / 0.012) ** 2))
    eye = SCLERA * (1 - iris) + np.array(looks.iris) * iris * (1 - pupil) * (1 + 2 * distance / IRIS_RADIUS) / 2
    eye = eye * (1 - rim) * (1.0 - 0.5 * np.exp(-np.clip(y - upper, 0, None) / 0.02))[:, None]  # the lid's shadow
    shut = 0.0 if "cavity" in model.regions else float(np.clip((closure - 0.6) / 0.3, 0.0, 1.0))
    colors[inside] = eye * (1 - shut) + 0.5 * np.array(looks.skin) * shut
    return shut


@cache
def _texture_waves(name: str) -> np.ndarray:
    """(V, 3 · 24) waves over a head's surface, from coarse to fine, to be mixed by a person's seed."""
    rng = np.random.default_rng(7)
    v = OWN_MODELS[name]().vertices.astype(float)
    frequencies = np.geomspace(2.0, 45.0, 24)
    waves = [np.sin(v @ (rng.normal(size=3) * f) + rng.uniform(0, 6.28)) for f in np.repeat(frequencies, 3)]
    return np.stack(waves, axis=1).astype(np.float32)


@lru_cache(maxsize=8)  # a person is often drawn several times in a row
def _texture(name: str, seed: int) -> np.ndarray:
    """(V, 3) smooth noise of unit spread: blotches, strands, fine strands."""
    rng = np.random.default_rng(seed)
    count = _texture_waves(name).shape[1]
    weights = rng.normal(size=(count, 3)).astype(np.float32)
    weights[: 2 * count // 3, 1:] *= 0.12  # strands are fine
    weights /= np.linalg.norm(weights, axis=0) * np.float32(0.707)
    return _texture_waves(name) @ weights
