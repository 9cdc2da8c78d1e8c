"""Hair: strands that grow from the scalp, fall by their style and are drawn as ribbons.

roots on the scalp --comb: direction, gravity, curls, the skull in the way--> paths (N, K, 3) --ribbons--> mesh
"""

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np

from trackertraincode.facemodel.head_model import HeadModel
from trackertraincode.facemodel.load import OWN_MODELS

SKULL_CENTER = np.array([0.0, -0.08, 0.76])
SKULL_RADII = np.array([0.79, 1.03, 0.98])
STEPS = 9  # pieces of a strand
ROOTS = 6000  # candidates, spread evenly over the head


@dataclass(frozen=True, kw_only=True)
class Style:
    """How hair is worn. Lengths in head radii."""

    length: tuple[float, float]
    strands: int
    width: float  # of a strand's ribbon
    back: tuple[float, float]  # combed backwards (1), to the sides (0) or to the front (-1)
    fringe: float = 0.0  # probability of a fringe over the forehead
    gravity: float = 0.5  # 0: keeps its direction, 1: hangs at once
    lift: tuple[float, float] = (0.02, 0.08)  # distance from the skull
    curls: tuple[float, float] = (0.0, 0.03)
    shell: float = 0.0  # y to which a dark mass hangs down behind; 0: none
    weight: float = 1.0  # how often, next to the others


STYLES: dict[str, Style] = {
    "bald": Style(length=(0.0, 0.0), strands=0, width=0.0, back=(0.0, 0.0), weight=0.08),
    "shaved": Style(length=(0.06, 0.1), strands=250, width=0.05, back=(0.0, 0.5), lift=(0.005, 0.02), weight=0.1),
    "short": Style(length=(0.25, 0.5), strands=380, width=0.06, back=(-0.6, 1.0), fringe=0.25, weight=0.26),
    "tousled": Style(
        length=(0.35, 0.7), strands=380, width=0.06, back=(-0.8, 0.6), fringe=0.4, lift=(0.06, 0.2), curls=(0.04, 0.14),
        weight=0.1,
    ),
    "swept": Style(length=(0.8, 1.3), strands=360, width=0.07, back=(0.5, 1.0), gravity=0.25, weight=0.08),
    "tied": Style(length=(0.9, 1.2), strands=330, width=0.08, back=(1.0, 1.4), gravity=0.1, fringe=0.3, weight=0.1),
    "bob": Style(
        length=(1.3, 1.9), strands=460, width=0.085, back=(-0.2, 0.4), fringe=0.5, lift=(0.03, 0.12), shell=0.75,
        weight=0.1,
    ),
    "long": Style(
        length=(2.2, 3.2), strands=520, width=0.095, back=(-0.25, 0.45), fringe=0.35, lift=(0.03, 0.14), shell=1.6,
        weight=0.2,
    ),
    "wavy": Style(
        length=(1.8, 2.8), strands=520, width=0.09, back=(-0.3, 0.4), fringe=0.25, lift=(0.06, 0.2), curls=(0.05, 0.14),
        shell=1.4, weight=0.12,
    ),
    "curly": Style(
        length=(0.7, 1.3), strands=520, width=0.08, back=(-0.6, 0.6), fringe=0.3, gravity=0.3, lift=(0.12, 0.35),
        curls=(0.12, 0.22), weight=0.08,
    ),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Hair:
    """What somebody's hair is like; stays when the pose changes."""

    style: str
    length: float
    back: float
    lift: float
    curls: float
    fringe: float  # y to which it reaches; above the hairline: none
    parting: float  # x from which hair falls to both sides
    cover: float  # how far side hair falls over the cheeks, head radii
    seed: int

    @staticmethod
    def draw(rng: np.random.Generator) -> "Hair":
        weights = np.array([s.weight for s in STYLES.values()])
        name = str(rng.choice(list(STYLES), p=weights / weights.sum()))
        style = STYLES[name]
        fringe = rng.random() < style.fringe
        return Hair(
            style=name,
            length=float(rng.uniform(*style.length)),
            back=float(rng.uniform(*style.back)),
            lift=float(rng.uniform(*style.lift)),
            curls=float(rng.uniform(*style.curls)),
            fringe=float(rng.uniform(-0.32, -0.02)) if fringe else -2.0,
            parting=float(rng.choice([0.0, -0.3, 0.3, -0.45, 0.45]) + rng.normal(0, 0.04)),
            cover=float(abs(rng.normal(0.0, 0.12)) if rng.random() < 0.6 else 0.0),
            seed=int(rng.integers(2**31)),
        )


class Ribbons(NamedTuple):
    """Strands as a mesh in the head's frame."""

    vertices: np.ndarray  # (V, 3)
    triangles: np.ndarray  # (T, 3)
    normals: np.ndarray  # (V, 3) as if the strands were one smooth surface
    tangents: np.ndarray  # (V, 3) along the strands
    tone: np.ndarray  # (V,) brightness around 1


class Roots(NamedTuple):
    """Places on a head's triangles."""

    triangles: np.ndarray  # (R, 3) vertex ids
    shares: np.ndarray  # (R, 3) of the three corners


@cache
def root_candidates(head: str) -> Roots:
    """Places spread evenly over a head model's skin, in random order."""
    model = OWN_MODELS[head]()
    rng = np.random.default_rng(11)
    skin = ~model.regions["ears"] & ~model.regions["mouth"]
    triangles = model.triangles[skin[model.triangles].all(1)]
    a, b, c = (model.vertices[triangles[:, i]] for i in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    chosen = triangles[rng.choice(len(triangles), ROOTS, p=area / area.sum())]
    return Roots(chosen, rng.dirichlet([1.0, 1.0, 1.0], ROOTS))


def grow(hair: Hair, model: HeadModel, vertices: np.ndarray, growth: np.ndarray) -> Ribbons | None:
    """Strands on a head. vertices: (V, 3) of the deformed head; growth: (V,) 0 skin to 1 full hair. None where bald."""
    style = STYLES[hair.style]
    if style.strands == 0:
        return None
    roots = root_candidates(model.name)
    density = (growth[roots.triangles] * roots.shares).sum(1)
    ids = np.flatnonzero(density > 0.5)[: style.strands]
    if len(ids) == 0:
        return None
    start = np.einsum("rc,rcd->rd", roots.shares[ids], vertices[roots.triangles[ids]])
    rng = np.random.default_rng(hair.seed)
    return _ribbons(_comb(start, hair, style, rng), style.width, rng)


def _comb(start: np.ndarray, hair: Hair, style: Style, rng: np.random.Generator) -> np.ndarray:
    """(N, 3) roots -> (N, STEPS + 1, 3) paths."""
    count = len(start)
    x, y, z = start.T
    outward = (start - SKULL_CENTER) / SKULL_RADII**2
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    side = np.sign(x - hair.parting)
    direction = np.stack([side * (1.0 - 0.5 * abs(hair.back)), 0.1 + 0.0 * x, hair.back + 0.0 * x], axis=1)
    length = hair.length * rng.uniform(0.75, 1.1, count)
    front = (z < 0.55) & (y < -0.3)
    in_fringe = front & (hair.fringe > -1.0) & (np.abs(x) < 0.62)
    direction[in_fringe] = [0.0, 0.4, -1.0] + rng.normal(0, 0.25, (int(in_fringe.sum()), 3)) * [1, 0.3, 0.3]
    direction[in_fringe, 0] += 0.35 * np.sign(hair.parting) + 0.2 * x[in_fringe]
    length[in_fringe] = np.clip(hair.fringe - y[in_fringe] + 0.25, 0.15, None) * rng.uniform(0.7, 1.1, in_fringe.sum())
    direction += rng.normal(0.0, 0.15, direction.shape)
    phase, pace = rng.uniform(0, 2 * np.pi, (2, count, 1))
    lift = 1.0 + hair.lift * rng.uniform(0.4, 1.3, count) + 0.02
    step = (length / STEPS)[:, None]
    path = [start]
    for k in range(STEPS):
        hang = style.gravity * min(1.0, 0.35 + k / STEPS)
        tangential = direction - (direction * outward).sum(1, keepdims=True) * outward
        tangential /= np.linalg.norm(tangential, axis=1, keepdims=True) + 1e-9
        move = (1.0 - hang) * tangential + hang * np.array([0.0, 1.0, 0.0])
        wave = hair.curls * np.stack([np.sin(phase + 2.1 * k), 0 * phase, np.cos(phase + (1.6 + 0.1 * pace) * k)], -1)
        place = path[-1] + step * move / (np.linalg.norm(move, axis=1, keepdims=True) + 1e-9) + wave[:, 0]
        place = _out_of_the_way(place, lift, hair.cover)
        direction = place - path[-1]
        outward = (place - SKULL_CENTER) / SKULL_RADII**2
        outward /= np.linalg.norm(outward, axis=1, keepdims=True)
        path.append(place)
    return np.stack(path, axis=1)


def _out_of_the_way(place: np.ndarray, lift: np.ndarray, cover: float) -> np.ndarray:
    """Points (N, 3) outside of the skull and the cheeks. lift: (N,) times the skull's size."""
    relative = (place - SKULL_CENTER) / SKULL_RADII
    relative[:, 1] = np.minimum(relative[:, 1], 0.0)  # below the ears, hair hangs straight down
    distance = np.linalg.norm(relative, axis=1)
    factor = np.maximum(lift / np.maximum(distance, 1e-6), 1.0)[:, None]
    moved = SKULL_CENTER + SKULL_RADII * relative * factor
    place = np.stack([moved[:, 0], np.where(place[:, 1] < SKULL_CENTER[1], moved[:, 1], place[:, 1]), moved[:, 2]], 1)
    beside = (place[:, 1] > -0.05) & (place[:, 2] < 0.5)  # what falls before the ears leaves the face free
    nearest = 0.72 - cover - 0.1 * np.clip(place[:, 1] - 0.5, 0.0, 1.0)
    x = np.where(beside & (np.abs(place[:, 0]) < nearest), np.sign(place[:, 0]) * nearest, place[:, 0])
    return np.stack([x, place[:, 1], place[:, 2]], axis=1)


def _ribbons(path: np.ndarray, width: float, rng: np.random.Generator) -> Ribbons:
    """Paths (N, K, 3) as strips that face away from the skull, narrow at their ends."""
    count, points, _ = path.shape
    tangents = np.gradient(path, axis=1)
    tangents /= np.linalg.norm(tangents, axis=-1, keepdims=True) + 1e-9
    center = np.stack([0 * path[..., 0], np.clip(path[..., 1], -0.3, None), 0 * path[..., 0] + 0.75], axis=-1)
    normals = path - center
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True) + 1e-9
    across = np.cross(tangents, normals)
    across /= np.linalg.norm(across, axis=-1, keepdims=True) + 1e-9
    along = np.linspace(0.0, 1.0, points)
    half = 0.5 * width * np.minimum(1.0, 2.5 * (1.0 - along) + 0.1)[:, None] * rng.uniform(0.5, 1.5, (count, 1, 1))
    vertices = np.stack([path - half * across, path + half * across], axis=2)
    tone = np.clip(rng.normal(1.0, 0.28, (count, 1)), 0.35, 2.0) * (0.75 + 0.4 * along)
    ids = np.arange(count * points * 2).reshape(count, points, 2)
    a, b, c, d = ids[:, :-1, 0], ids[:, :-1, 1], ids[:, 1:, 0], ids[:, 1:, 1]
    triangles = np.stack([a, b, c, b, d, c], axis=-1).reshape(-1, 3)
    both_normals, both_tangents = (np.repeat(v[:, :, None], 2, axis=2).reshape(-1, 3) for v in (normals, tangents))
    both_tones = np.repeat(tone[:, :, None], 2, axis=2).ravel()
    return Ribbons(vertices.reshape(-1, 3), triangles, both_normals, both_tangents, both_tones)
