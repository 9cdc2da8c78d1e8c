"""What the head's vertices look like before light: skin, eyes, brows, lips, teeth, beard, roots of the hair."""

from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise

import numpy as np

from trackertraincode.facemodel.head_model import HeadModel
from trackertraincode.facemodel.load import OWN_MODELS
from trackertraincode.facemodel.regions import curves_through
from trackertraincode.rendering.eyes import paint_ball
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
IRIS_COLORS = np.array([[0.13, 0.08, 0.06], [0.22, 0.14, 0.09], [0.27, 0.35, 0.43], [0.25, 0.31, 0.23]])
IRIS_SHARES = (0.4, 0.25, 0.2, 0.15)
TEETH = np.array([0.84, 0.80, 0.73])
MOUTH = np.array([0.22, 0.06, 0.06])
SOCKET = np.array([0.6, 0.42, 0.4])  # of the skin's colour, beside the eyeballs
BEARD_LINE = ((-0.3, -0.05, 0.2, 0.42, 0.55, 0.65), (0.62, 0.6, 0.55, 0.42, 0.2, -0.1))  # z, y of its upper edge


@dataclass(frozen=True, kw_only=True)
class Looks:
    """A person's colours; stays when pose and expression change."""

    skin: tuple[float, float, float]
    hair: tuple[float, float, float]
    iris: tuple[float, float, float]
    lip_redness: float  # 0 skin, 1 lipstick
    eye_shadow: float  # 0 none, 1 strong make-up
    lid_shadow: float  # on the eyeballs
    lashes: float  # their length, head radii
    lash_line: float  # width of the upper lid's dark edge, head radii
    brow_strength: float
    brow_width: float  # head radii
    beard: float  # 0 shaved, 1 full
    moustache: float
    hair_top: float  # y of the hairline over the forehead; above the skull: bald
    temples: float  # how far the hairline recedes beside the forehead
    sideburns: float  # y to which they come down
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
            iris=_triple(IRIS_COLORS[rng.choice(len(IRIS_COLORS), p=IRIS_SHARES)] * rng.uniform(0.7, 1.3)),
            lip_redness=float(rng.uniform(0.6, 1.0) if made_up else rng.uniform(0.1, 0.6)),
            eye_shadow=float(rng.uniform(0.3, 1.0) if made_up else rng.uniform(0.0, 0.2)),
            lid_shadow=float(rng.uniform(0.3, 0.7)),
            lashes=float(rng.uniform(0.06, 0.12) if made_up else rng.uniform(0.03, 0.08)),
            lash_line=float(rng.uniform(0.025, 0.045) if made_up else rng.uniform(0.01, 0.03)),
            brow_strength=float(rng.uniform(0.3, 0.95)),
            brow_width=float(rng.uniform(0.022, 0.046)),
            beard=float(0.15 + 0.85 * rng.random() ** 1.6) if bearded else float(rng.uniform(0.0, 0.1)),
            moustache=float(rng.uniform(0.2, 1.0)) if bearded or rng.random() < 0.05 else 0.0,
            hair_top=float(rng.uniform(-0.78, -0.5)),
            temples=float(abs(rng.normal(0.0, 0.15))),
            sideburns=float(rng.uniform(-0.05, 0.3)),
            shine=float(abs(rng.normal(0.0, 0.16))),
            blotches=float(rng.uniform(0.01, 0.06)),
            texture_seed=int(rng.integers(2**31)),
        )


@dataclass(frozen=True)
class Skin:
    """All that light needs to know of a head's vertices."""

    albedo: np.ndarray  # (3, V) float32 in [0, 1]
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
    weights = {
        "lashes": lashes * skin, "eye_shadow": shadow * skin, "brows": np.minimum(*brows), "blush": cheeks + nose_tip,
        "sockets": sockets * skin, "nostrils": nostrils * skin, "creases": np.exp(-((creases / 0.03) ** 2)) * skin,
        "oily": 0.4 + oily, "open": _openness(head),
        "beard": _whiskers(v) * skin * ~head.regions["lips"], "moustache": _soft(head, "moustache"),
        "lips": _soft(head, "lips", 1), "hollow": _hollow(head) * skin,
    }  # fmt: skip
    return {key: weight.astype(np.float32) for key, weight in weights.items()}


def _whiskers(v: np.ndarray) -> np.ndarray:
    """(V,) where beards grow: below a line from the sideburns past the corners of the mouth to the lower lip."""
    x, y, z = v.T
    cheek = np.interp(z, *BEARD_LINE)
    lip = np.where(np.abs(x) < 0.2, 0.82, -1.0)
    low = 1.12 + 0.25 * np.clip(z, 0.0, 0.3)
    return (
        np.clip((y - np.maximum(cheek, lip)) / 0.08 + 0.5, 0.0, 1.0) * np.clip((low - y) / 0.12, 0.0, 1.0)
        * np.clip((0.68 - z) / 0.06, 0.0, 1.0)
    )  # fmt: skip


def _openness(head: HeadModel) -> np.ndarray:
    """(V,) share of the surroundings that is seen with open eyes and a smile: teeth aren't as dark as behind closed lips."""
    seen = openness(head.vertices, head.triangles, vertex_normals(head.vertices, head.triangles))
    if "teeth" in head.regions:
        teeth = head.regions["teeth"]
        depth = head.vertices[teeth, 2] - head.vertices[teeth, 2].min()
        seen[teeth] = np.clip(1.6 - 3.0 * depth, 0.3, 1.3)  # more than all: lips would keep lamps away
    return seen


def _hollow(head: HeadModel) -> np.ndarray:
    """(V,) 0 to 1: eye sockets, beside the nose, under the lip; what lies below its surroundings, smoothed 40 times."""
    smooth = head.vertices.astype(float)
    for _ in range(40):
        smooth = _spread(head, smooth)
    height = ((head.vertices - smooth) * vertex_normals(head.vertices, head.triangles)).sum(1)
    return np.clip((0.012 - height) / 0.03, 0.0, 1.0) * np.clip((1.1 - head.vertices[:, 1]) / 0.1, 0.0, 1.0)


def _spread(head: HeadModel, values: np.ndarray) -> np.ndarray:
    """(V, C): the mean of each vertex' triangles."""
    corners, mean = head.triangles.ravel(), np.repeat(values[head.triangles].mean(1), 3, axis=0)
    count = np.maximum(np.bincount(corners, minlength=len(values)), 1)
    return np.stack([np.bincount(corners, column, minlength=len(values)) / count for column in mean.T], axis=1)


def _distance(v: np.ndarray, line: np.ndarray) -> np.ndarray:
    """(V, 3), (N, 3) -> (V,) to the nearest of the line's points."""
    return np.sqrt(((v[:, None] - line[None]) ** 2).sum(-1)).min(1)


def _dense(points: np.ndarray) -> np.ndarray:
    return np.concatenate([np.linspace(a, b, 8) for a, b in pairwise(points)])


def _soft(head: HeadModel, region: str, times: int = 3) -> np.ndarray:
    """(V,) the share of a vertex' neighbours that are in a region, and of theirs: edges of beards are soft."""
    weight = head.regions[region].astype(float)[:, None]
    for _ in range(times):
        weight = _spread(head, weight)
    return weight[:, 0]


@lru_cache(maxsize=8)  # a person is often drawn several times in a row
def hairiness(name: str, looks: Looks) -> np.ndarray:
    """(V,) 0 skin to 1 full hair: above the hairline, in front of it the forehead, behind it the whole scalp."""
    vertices, ids = OWN_MODELS[name]().vertices, _hairy(name)
    growth = np.zeros(len(vertices), np.float32)
    growth[ids] = growth_at(vertices[ids], looks)
    return growth


@cache
def _hairy(name: str) -> np.ndarray:
    """Ids of the vertices where hair can grow on a head."""
    head = OWN_MODELS[name]()
    high = (head.vertices[:, 1] < -0.3) | (head.vertices[:, 2] > 0.4)
    return np.flatnonzero(high & ~head.regions["ears"] & ~head.regions["neck"])


def growth_at(points: np.ndarray, looks: Looks) -> np.ndarray:
    """(N, 3) places on the mean head -> (N,) 0 skin to 1 full hair; sideburns come down in front of the ears."""
    x, y, z = points.T
    top = looks.hair_top - looks.temples * np.exp(-(((np.abs(x) - 0.42) / 0.16) ** 2))
    temple = np.clip((z - 0.2) / 0.3, 0.0, 1.0)
    line = top + temple * (-0.12 - top)
    line += np.clip((z - 0.48) / 0.1, 0.0, 1.0) * (looks.sideburns + 0.12)
    edge = np.clip((line - y) / 0.08, 0.0, 1.0)
    sides = np.clip((z - 0.78) / 0.1, 0.0, 1.0) * np.clip((0.75 - y) / 0.15, 0.0, 1.0)
    return np.maximum(edge, sides)


def paint_skin(
    model: HeadModel, looks: Looks, coefficients: np.ndarray, gaze: tuple[float, float], growth: np.ndarray
) -> Skin:
    """coefficients: (50,); gaze: shift of the irises right and down, head radii; growth: (V,) of the scalp's hair."""
    weights, regions = static_weights(model.name), model.regions
    blotches, strands = _texture(model.name, looks.texture_seed)
    skin, hair, *tints = (
        np.array(c, np.float32)[:, None]
        for c in (looks.skin, looks.hair, (0.04, -0.05, -0.05), (0.9, 0.6, 0.6), (0.42, 0.1, 0.12))
    )
    blush, lips, lipstick = tints
    colors = skin * (1.0 + looks.blotches * blotches) + (blush * skin) * weights["blush"]
    dark = 0.13 * weights["sockets"] + 0.1 * weights["creases"] + 0.5 * looks.eye_shadow * weights["eye_shadow"]
    colors *= (1.0 - dark) * (1.0 - 0.8 * weights["nostrils"]) * (1.0 - 0.8 * weights["lashes"])
    red = lips * skin + looks.lip_redness * (0.3 * skin + lipstick - lips * skin)
    colors += weights["lips"] * (red * (1.0 + 0.05 * blotches) - colors)
    strands = hair * (1.0 + 0.35 * strands)
    for name, strength in (("beard", looks.beard), ("moustache", looks.moustache)):
        cover = 0.5 * strength * weights[name] * ~regions["lips"]  # strands lie over it
        colors += cover * (strands - colors)
    brows = np.exp(-((weights["brows"] / looks.brow_width) ** 4)) * looks.brow_strength
    colors += 0.4 * brows * (0.6 * hair - colors)
    colors += growth * (0.8 * strands - colors)
    gloss, sharpness = looks.shine * weights["oily"], np.full(len(growth), np.float32(14.0))
    gloss[regions["lips"]], sharpness[regions["lips"]] = 0.1 + 0.3 * looks.lip_redness, 25.0
    if "cavity" in regions:
        colors[:, regions["cavity"]] = SOCKET[:, None] * skin  # the eyes': the mouth's follows
    _paint_mouth(model, colors, coefficients)
    gloss[regions["mouth"]] = 0.1
    for side, closure in (("left", coefficients[40]), ("right", coefficients[41])):
        eye = regions[f"eye_{side}"]
        # Where eyeball and lid are one mesh, the lid is painted.
        shut = 0.0 if "cavity" in regions else float(np.clip((closure - 0.6) / 0.3, 0.0, 1.0))
        ball = paint_ball(model, side, np.array(looks.iris), gaze, looks.lid_shadow)
        colors[:, eye] = ball.T * (1 - shut) + 0.5 * skin * shut
        gloss[eye], sharpness[eye] = 0.8 * (1.0 - shut), 70.0
    return Skin(np.clip(colors, 0.0, 1.0), gloss * (1.0 - growth), sharpness)


def _paint_mouth(model: HeadModel, colors: np.ndarray, coefficients: np.ndarray) -> None:
    """In colors (3, V): dark, with teeth. The embedded head has none: they are painted along the upper lip."""
    inside = model.regions["mouth"]
    colors[:, inside] = MOUTH[:, None]
    jaw, smile, raised = (float(v) for v in coefficients[[42, 43, 47]])
    if "teeth" in model.regions:
        # Lips that are nearly shut leave no light.
        seen = np.clip(0.1 + 2.5 * jaw + 0.8 * smile + 0.7 * raised, 0.1, 1.0)
        colors[:, model.regions["teeth"]] = (MOUTH + seen * (TEETH - MOUTH))[:, None]
        return
    teeth = np.clip((0.652 - model.vertices[inside, 1]) / 0.004, 0.0, 1.0)
    colors[:, inside] += teeth * float(np.clip(jaw * 4, 0.0, 1.0)) * (TEETH - MOUTH)[:, None]


@cache
def _texture_waves(name: str) -> np.ndarray:
    """(3 · 24, V) waves over a head's surface, from coarse to fine, to be mixed by a person's seed."""
    rng = np.random.default_rng(7)
    v = OWN_MODELS[name]().vertices.astype(float)
    frequencies = np.geomspace(2.0, 45.0, 24)
    waves = [np.sin(v @ (rng.normal(size=3) * f) + rng.uniform(0, 6.28)) for f in np.repeat(frequencies, 3)]
    return np.stack(waves).astype(np.float32)


@lru_cache(maxsize=8)  # a person is often drawn several times in a row
def _texture(name: str, seed: int) -> np.ndarray:
    """(2, V) smooth noise of unit spread: blotches, strands."""
    rng = np.random.default_rng(seed)
    count = len(_texture_waves(name))
    weights = rng.normal(size=(count, 3)).astype(np.float32)[:, :2]
    weights[: 2 * count // 3, 1:] *= 0.12  # strands are fine
    weights /= np.linalg.norm(weights, axis=0) * np.float32(0.707)
    return weights.T @ _texture_waves(name)
