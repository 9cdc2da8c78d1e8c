"""Hair that covers a part of the head like fur: scalp, beard, moustache, brows; as shells over the skin."""

from dataclasses import replace
from functools import cache
from typing import NamedTuple

import numpy as np

from trackertraincode.facemodel.head_model import HeadModel
from trackertraincode.facemodel.load import OWN_MODELS
from trackertraincode.rendering.hair import Hair, lie, outward, unit
from trackertraincode.rendering.materials import Looks, growth_at, static_weights

ENOUGH = 800  # triangles of brows


class Patch(NamedTuple):
    """A part of a head's mesh, perhaps finer. A point lies in the middle between its two parents, vertices of the head."""

    parents: np.ndarray  # (P, 2)
    triangles: np.ndarray  # (T, 3) of points

    def of(self, values: np.ndarray) -> np.ndarray:
        """(V, ...) of the head's vertices -> (P, ...) of the points."""
        return 0.5 * (values[self.parents[:, 0]] + values[self.parents[:, 1]])


class Cover(NamedTuple):
    """A shell of hair, in the head's frame."""

    points: np.ndarray  # (P, 3)
    triangles: np.ndarray  # (T, 3)
    normals: np.ndarray  # (P, 3)
    tangents: np.ndarray  # (P, 3) along the hair
    density: np.ndarray  # (P,)


def _patch(model: HeadModel, chosen: np.ndarray) -> Patch:
    """The triangles of a model with a chosen vertex (V,)."""
    triangles = model.triangles[chosen[model.triangles].any(1)]
    used, triangles = np.unique(triangles, return_inverse=True)
    return Patch(np.stack([used, used], axis=1), triangles.reshape(-1, 3))


def _halved(patch: Patch) -> Patch:
    """Each triangle as four."""
    a, b, c = patch.triangles.T
    edges = np.sort(np.concatenate([np.stack(pair, axis=1) for pair in ((a, b), (b, c), (c, a))]), axis=1)
    middles, index = np.unique(edges, axis=0, return_inverse=True)
    ab, bc, ca = (len(patch.parents) + index.reshape(3, -1)).astype(int)
    triangles = np.concatenate([np.stack(t, axis=1) for t in ((a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca))])
    return Patch(np.concatenate([patch.parents, patch.parents[:, 0][middles]]), triangles)


@cache
def patches(name: str) -> dict[str, Patch]:
    """Where hair can grow on a head model."""
    model = OWN_MODELS[name]()
    weights = static_weights(name)
    skin = ~(model.regions["ears"] | model.regions["mouth"])
    chosen = {
        "scalp": (_widest(model.vertices) > 0) & skin & ~model.regions["neck"],
        "beard": (np.maximum(weights["beard"], weights["moustache"]) > 0.03) & skin & ~model.regions["lips"],
        "brows": (weights["brows"] < 0.06) & skin,
    }
    found = {key: _patch(model, where) for key, where in chosen.items()}
    coarse = len(found["brows"].triangles) < ENOUGH
    return found | {"brows": _halved(found["brows"]) if coarse else found["brows"]}


def _widest(points: np.ndarray) -> np.ndarray:
    """(N, 3) -> (N,) growth below the lowest of all hairlines."""
    looks = Looks.draw(np.random.default_rng(0))
    return growth_at(points, replace(looks, hair_top=-0.4, temples=0.0, sideburns=0.4))


def scalp(model: HeadModel, local: np.ndarray, normals: np.ndarray, looks: Looks, hair: Hair) -> Cover:
    """The mass of hair, as thick as its style wants it. local, normals: (V, 3) of the deformed head."""
    patch = patches(model.name)["scalp"]
    growth = growth_at(patch.of(model.vertices), looks) * patch.of(
        (~model.regions["ears"] & ~model.regions["neck"]) + 0.0
    )
    points, out = patch.of(local), outward(patch.of(local))
    up = np.clip(-out[:, 1], 0.0, 1.0)
    thickness = 0.008 + hair.volume * (0.4 + 0.6 * up) * np.sqrt(growth)
    direction = lie(points, hair)
    return Cover(
        points + thickness[:, None] * out,
        patch.triangles,
        patch.of(normals),
        _along(direction, out),
        hair.density * growth,
    )


def beard(model: HeadModel, local: np.ndarray, normals: np.ndarray, looks: Looks) -> Cover:
    """Beard and moustache, with a gap under the nose, of a head's vertices (V, 3) and normals (V, 3)."""
    patch, weights = patches(model.name)["beard"], static_weights(model.name)
    points, n, mean = patch.of(local), unit(patch.of(normals)), patch.of(model.vertices)
    lips = patch.of(model.regions["lips"] + 0.0)
    whiskers, moustache = patch.of(weights["beard"]), patch.of(weights["moustache"])
    moustache = moustache * np.clip(0.25 + np.abs(mean[:, 0]) / 0.05, 0.0, 1.0)
    density = np.maximum(looks.beard * whiskers, looks.moustache * moustache) * (1.0 - lips)
    long = np.maximum(looks.beard**3 * whiskers, 0.5 * looks.moustache**3 * moustache)
    side = np.sign(mean[:, :1]) * [[1.0, 0.0, 0.0]]
    direction = np.where((moustache > whiskers)[:, None], 0.9 * side + [0.0, 0.5, 0.0], 0.25 * side + [0.0, 1.0, 0.15])
    thickness = 0.006 + long * (0.05 + 0.06 * np.clip(mean[:, 1] - 0.9, 0.0, 1.0))
    return Cover(points + thickness[:, None] * n, patch.triangles, n, _along(direction, n), density)


def brows(model: HeadModel, local: np.ndarray, normals: np.ndarray, looks: Looks) -> Cover:
    """Eyebrows of vertices (V, 3) with normals (V, 3): upright at their inner ends, outwards farther out."""
    patch, weights = patches(model.name)["brows"], static_weights(model.name)
    points, n, mean = patch.of(local), unit(patch.of(normals)), patch.of(model.vertices)
    density = 1.1 * looks.brow_strength * np.exp(-((patch.of(weights["brows"]) / looks.brow_width) ** 4))
    inner = np.clip(1.5 - np.abs(mean[:, :1]) / 0.2, 0.0, 1.0)
    direction = np.sign(mean[:, :1]) * [[1.0, 0.0, 0.0]] + inner * [[0.0, -1.2, 0.0]]
    return Cover(points + 0.006 * n, patch.triangles, n, _along(direction, n), density)


def _along(direction: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Directions (N, 3) within surfaces, unit vectors."""
    return unit(direction - (direction * normals).sum(1, keepdims=True) * normals)
