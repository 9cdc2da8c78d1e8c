"""Hair: locks that grow from the scalp, fall by their style and are drawn as ribbons; `strands` gives them their texture.

roots on the scalp --comb: direction, gravity, curls, the skull in the way--> paths (N, K, 3) --ribbons--> mesh
"""

from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple

import numpy as np

from trackertraincode.facemodel.head_model import HeadModel
from trackertraincode.facemodel.load import OWN_MODELS

SKULL_CENTER = np.array([0.0, -0.08, 0.76])
SKULL_RADII = np.array([0.79, 1.03, 0.98])
STEPS = 7  # pieces of a lock
ROOTS = 6000  # candidates, spread evenly over the head
BREADTH = 1.2  # of free hair beside the neck, for each thickness of hair over the skull
TIE = np.array([0.0, -0.3, 1.74])  # where tied hair is held together


@dataclass(frozen=True, kw_only=True)
class Style:
    """How hair is worn. Lengths in head radii."""

    length: tuple[float, float] = (0.0, 0.0)
    locks: int = 0
    width: float = 0.1  # of a lock's ribbon
    back: tuple[float, float] = (-0.3, 0.5)  # combed backwards (1), to the sides (0) or to the front (-1)
    fringe: float = 0.0  # probability of a fringe over the forehead
    gravity: float = 0.5  # 0: keeps its direction, 1: hangs at once
    volume: tuple[float, float] = (0.03, 0.12)  # thickness of the mass over the skull
    density: tuple[float, float] = (0.85, 1.2)  # share of the skin that it hides, at most 1; more: at thin places, too
    frizz: tuple[float, float] = (0.0, 0.2)
    curls: tuple[float, float] = (0.0, 0.03)
    shell: float = 0.0  # y to which a dark mass hangs down behind; 0: none
    tail: int = 0  # locks of a ponytail
    weight: float = 1.0  # how often, next to the others


STYLES: dict[str, Style] = {
    "bald": Style(weight=0.05),
    "shaved": Style(volume=(0.0, 0.02), density=(0.35, 0.8), weight=0.08),
    "short": Style(
        length=(0.2, 0.45), locks=130, width=0.12, back=(-0.6, 1.0), fringe=0.25, volume=(0.03, 0.16), weight=0.26
    ),
    "tousled": Style(
        length=(0.3, 0.55), locks=160, width=0.12, back=(-0.8, 0.6), fringe=0.4, volume=(0.08, 0.24), curls=(0.02, 0.07),
        frizz=(0.1, 0.5), weight=0.1,
    ),
    "swept": Style(length=(0.6, 1.0), locks=150, width=0.14, back=(0.6, 1.2), gravity=0.2, volume=(0.06, 0.22), weight=0.08),
    "tied": Style(
        length=(0.7, 1.0), locks=110, width=0.14, back=(1.0, 1.5), gravity=0.08, fringe=0.3, volume=(0.03, 0.1), tail=40,
        weight=0.12,
    ),
    "bob": Style(
        length=(1.3, 1.8), locks=220, width=0.17, back=(0.0, 0.5), fringe=0.5, volume=(0.05, 0.18), shell=0.75, weight=0.12
    ),
    "long": Style(
        length=(2.2, 3.2), locks=260, width=0.18, back=(0.0, 0.6), fringe=0.35, volume=(0.04, 0.16), shell=1.6, weight=0.28
    ),
    "wavy": Style(
        length=(1.8, 2.8), locks=260, width=0.18, back=(0.0, 0.5), fringe=0.25, volume=(0.08, 0.25), curls=(0.03, 0.08),
        frizz=(0.1, 0.5), shell=1.4, weight=0.16,
    ),
    "curly": Style(
        length=(0.5, 1.2), locks=280, width=0.15, back=(-0.4, 0.7), fringe=0.2, gravity=0.25, volume=(0.15, 0.45),
        curls=(0.08, 0.16), frizz=(0.35, 0.8), weight=0.08,
    ),
    "afro": Style(
        length=(0.15, 0.35), locks=160, width=0.14, back=(0.0, 0.5), gravity=0.0, volume=(0.05, 0.5), curls=(0.04, 0.1),
        frizz=(0.6, 1.1), weight=0.04,
    ),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Hair:
    """What somebody's hair is like; stays when the pose changes."""

    style: str
    length: float
    back: float
    volume: float
    density: float
    frizz: float
    curls: float
    fringe: float  # y to which it reaches; above the hairline: none
    parting: float  # x from which hair falls to both sides
    cover: float  # how far side hair falls over the cheeks, head radii; negative: it is behind the ears
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
            volume=float(rng.uniform(*style.volume)),
            density=float(rng.uniform(*style.density)),
            frizz=float(rng.uniform(*style.frizz)),
            curls=float(rng.uniform(*style.curls)),
            fringe=float(rng.uniform(-0.32, -0.02)) if fringe else -2.0,
            parting=float(rng.choice([0.0, -0.3, 0.3, -0.45, 0.45]) + rng.normal(0, 0.04)),
            cover=float(rng.uniform(-0.02, 0.36) if rng.random() < 0.75 else -0.45),
            seed=int(rng.integers(2**31)),
        )

    def pressed(self) -> "Hair":
        """The same under headwear."""
        return replace(self, volume=min(self.volume, 0.02))


def outward(points: np.ndarray) -> np.ndarray:
    """(..., 3) unit normals of the skull's shape through these points."""
    return unit((points - SKULL_CENTER) / SKULL_RADII**2)


def unit(vectors: np.ndarray) -> np.ndarray:
    """(..., 3) of length 1."""
    return vectors / np.sqrt(np.einsum("...c,...c->...", vectors, vectors) + 1e-18)[..., None]


def lie(points: np.ndarray, hair: Hair) -> np.ndarray:
    """(N, 3) directions in which hair leaves the scalp at points (N, 3): away from the parting, and as it is combed."""
    x, y, z = points.T
    side = np.tanh((x - hair.parting) / 0.06) * (1.0 - 0.5 * min(abs(hair.back), 1.0))
    low = np.clip((y + 0.6) / 0.5, 0.0, 1.0)  # at the sides, hair falls
    back = hair.back + 0.4 * np.clip(0.5 - z, 0.0, 0.5) * (hair.back >= 0)
    return np.stack([side * (1.0 - low), 0.1 + low, back + 0.0 * x], axis=1)


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
    """Locks on a head. vertices: (V, 3) of the deformed head; growth: (V,) 0 skin to 1 full hair. None: none."""
    style = STYLES[hair.style]
    if style.locks == 0:
        return None
    roots = root_candidates(model.name)
    density = (growth[roots.triangles] * roots.shares).sum(1)
    ids = np.flatnonzero(density > 0.5)[: style.locks]
    if len(ids) == 0:
        return None
    start = np.einsum("rc,rcd->rd", roots.shares[ids], vertices[roots.triangles[ids]])
    rng = np.random.default_rng(hair.seed)
    paths = _comb(start, hair, style, rng)
    if style.tail:
        paths = np.concatenate([paths, _tail(style, rng)])
    return _ribbons(paths, style.width, rng)


def _comb(start: np.ndarray, hair: Hair, style: Style, rng: np.random.Generator) -> np.ndarray:
    """(N, 3) roots -> (N, STEPS + 1, 3) paths."""
    count = len(start)
    x, y, z = start.T
    out = outward(start)
    direction = lie(start, hair)
    length = hair.length * rng.uniform(0.8, 1.1, count)
    in_fringe = (z < 0.55) & (y < -0.3) & (hair.fringe > -1.0) & (np.abs(x) < 0.62)
    direction[in_fringe] = [0.0, 0.4, -1.0] + rng.normal(0, 0.2, (int(in_fringe.sum()), 3)) * [1, 0.3, 0.3]
    direction[in_fringe, 0] += 0.35 * np.sign(hair.parting) + 0.2 * x[in_fringe]
    length[in_fringe] = np.clip(hair.fringe - y[in_fringe] + 0.25, 0.15, None) * rng.uniform(0.8, 1.1, in_fringe.sum())
    direction += rng.normal(0.0, 0.08 + 0.15 * min(hair.frizz, 1.0), direction.shape)
    phase, pace = rng.uniform(0, 2 * np.pi, (2, count))
    up = np.clip(-out[:, 1], 0.0, 1.0)
    lift = 1.02 + hair.volume * (0.4 + 0.6 * up) * rng.uniform(0.6, 1.35, count)
    step = (length / STEPS)[:, None]
    path = [start]
    for k in range(STEPS):
        hang = style.gravity * min(1.0, 0.35 + k / STEPS)
        tangential = unit(direction - np.einsum("nc,nc->n", direction, out)[:, None] * out)
        move = (1.0 - hang) * tangential
        move[:, 1] += hang
        place = path[-1] + step * unit(move)
        place[:, 0] += hair.curls * np.sin(phase + 2.1 * k)
        place[:, 2] += hair.curls * np.cos(phase + (1.6 + 0.1 * pace) * k)
        place = _out_of_the_way(place, lift, hair.cover)
        direction = place - path[-1]
        out = outward(place)
        path.append(place)
    return np.stack(path, axis=1)


def _tail(style: Style, rng: np.random.Generator) -> np.ndarray:
    """(N, STEPS + 1, 3) paths of a ponytail: out of its tie, then down."""
    along = np.linspace(0.0, 1.0, STEPS + 1)[:, None]
    length = rng.uniform(0.6, 1.8)
    spread = rng.normal(0.0, 0.1, (style.tail, 1, 3)) * [1.0, 0.3, 1.0]
    course = np.concatenate([0.0 * along, length * along**1.4 - 0.1 * along, 0.35 * np.sqrt(along)], axis=1)
    return TIE + [0.0, rng.uniform(-0.3, 0.3), 0.0] + course + spread * (0.4 + along)


def _out_of_the_way(place: np.ndarray, lift: np.ndarray, cover: float) -> np.ndarray:
    """Points (N, 3) outside of the skull, and not before the face. lift: (N,) times the skull's size."""
    relative = (place - SKULL_CENTER) / SKULL_RADII
    relative[:, 1] = np.minimum(relative[:, 1], 0.0)  # below the ears, hair hangs straight down
    distance = np.sqrt(np.einsum("nc,nc->n", relative, relative))
    factor = np.maximum(lift / np.maximum(distance, 1e-6), 1.0)[:, None]
    moved = SKULL_CENTER + SKULL_RADII * relative * factor
    x, y, z = moved[:, 0], np.where(place[:, 1] < SKULL_CENTER[1], moved[:, 1], place[:, 1]), moved[:, 2]
    low = np.clip((y + 0.35) / 0.3, 0.0, 1.0)  # below the brows, hair frames the face
    z = np.maximum(z, z + low * (0.5 - cover - z))
    below, ears = np.clip(y + 0.2, 0.0, 1.0), np.clip((z - 0.3) / 0.35, 0.0, 1.0)
    nearest = 0.67 + 0.21 * ears - 0.12 * np.clip(y - 0.4, 0.0, 1.0) + BREADTH * (lift - 1.02) * below
    beside = (y > -0.2) & (z < 1.15) & (np.abs(x) < nearest)
    return np.stack([np.where(beside, np.sign(x) * nearest, x), y, z], axis=1)


def _ribbons(path: np.ndarray, width: float, rng: np.random.Generator) -> Ribbons:
    """Paths (N, K, 3) as strips that face away from the skull, narrow at their ends."""
    count, points, _ = path.shape
    tangents = unit(np.gradient(path, axis=1))
    normals = path - [0.0, 0.0, 0.75]
    normals[..., 1] = np.minimum(path[..., 1] + 0.3, 0.0)  # below the crown, hair is a column
    normals = unit(normals)
    turned = rng.normal(0.0, 1.0, (count, 1, 1)) * np.clip(path[..., 1:2] + 0.4, 0.0, 1.0)  # free ends show any side
    across = np.cross(tangents, normals)
    across = unit(np.cos(turned) * across + np.sin(turned) * np.cross(across, tangents))
    along = np.linspace(0.0, 1.0, points)
    half = 0.5 * width * np.minimum(1.0, 2.5 * (1.0 - along) + 0.1)[:, None] * rng.uniform(0.5, 1.5, (count, 1, 1))
    vertices = np.stack([path - half * across, path + half * across], axis=2)
    tone = np.clip(rng.normal(1.0, 0.16, (count, 1)), 0.5, 1.6) * (0.7 + 0.45 * along)
    ids = np.arange(count * points * 2).reshape(count, points, 2)
    a, b, c, d = ids[:, :-1, 0], ids[:, :-1, 1], ids[:, 1:, 0], ids[:, 1:, 1]
    triangles = np.stack([a, b, c, b, d, c], axis=-1).reshape(-1, 3)
    both_normals, both_tangents = (np.repeat(v[:, :, None], 2, axis=2).reshape(-1, 3) for v in (normals, tangents))
    both_tones = np.repeat(tone[:, :, None], 2, axis=2).ravel()
    return Ribbons(vertices.reshape(-1, 3), triangles, both_normals, both_tangents, both_tones)
