"""People of all ages and origins as MakeHuman describes them: six axes that they lie on, and local changes of the head.

rng --draw_people--> (N, V, 3) vertices of heads, from which `anny_head` takes the modes that matter
"""

import itertools

import numpy as np

from trackertraincode.facemodel.makehuman import BaseMesh, read_target, target_names

ORIGINS = {"african": 0.4, "asian": 0.4, "caucasian": 0.7}  # of mixtures: most people have mostly one
GENDERS = ("female", "male")
AGES = {"baby": 0.0, "child": 0.1875, "young": 0.5, "old": 1.0}
LEVELS = ("min", "average", "max")  # of muscle and of weight
LOCAL_FOLDERS = ("head", "forehead", "eyebrows", "eyes", "nose", "cheek", "mouth", "chin", "ears", "neck")
LOCAL_SPREAD = 0.12  # standard deviation of a local change: 0.4 gives caricatures
LOCAL_MEANS = {"nose/nose-scale-depth-decr": -0.5}  # MakeHuman's noses are flatter than measured ones
HEAD_SHAPES = ("diamond", "invertedtriangular", "oval", "rectangular", "round", "square", "triangular")
OPPOSITES = (
    ("incr", "decr"), ("up", "down"), ("in", "out"), ("forward", "backward"), ("convex", "concave"),
    ("compress", "uncompress"),
)  # fmt: skip


def draw_people(rng: np.random.Generator, mesh: BaseMesh, ids: np.ndarray, count: int) -> np.ndarray:
    """(count, len(ids), 3) float32 vertices of random people, without expression."""
    weights = weights_of_targets(rng, count)
    targets = [read_target(name, len(mesh.vertices))[ids] for name in weights]
    amounts = np.stack(list(weights.values()), axis=1).astype(np.float32)
    moves = amounts @ np.stack(targets).reshape(len(targets), -1).astype(np.float32)
    return mesh.vertices[ids].astype(np.float32) + moves.reshape(count, len(ids), 3)


def weights_of_targets(rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
    """Shape change -> how much of it each of `count` random people has, (count,)."""
    weights: dict[str, np.ndarray] = {}
    male = rng.beta(0.4, 0.4, count)
    gender = {"male": male, "female": 1.0 - male}
    origin = dict(zip(ORIGINS, rng.dirichlet(list(ORIGINS.values()), count).T))
    age = _between(np.where(rng.random(count) < 0.12, rng.uniform(0.05, 0.3, count), rng.uniform(0.35, 1, count)), AGES)
    muscle, weight = (
        _between(np.clip(rng.normal(0.5, 0.2, count), 0, 1), dict(zip(LEVELS, (0.0, 0.5, 1.0)))) for _ in range(2)
    )
    for g, a in itertools.product(GENDERS, AGES):
        share = gender[g] * age[a]
        for o in ORIGINS:
            weights[f"macrodetails/{o}-{g}-{a}"] = share * origin[o]
        for m, w in itertools.product(LEVELS, LEVELS):
            weights[f"macrodetails/universal-{g}-{a}-{m}muscle-{w}weight"] = share * muscle[m] * weight[w]
    for positive, negative in local_changes():
        amount = rng.normal(LOCAL_MEANS.get(positive[0], 0.0), LOCAL_SPREAD, count)
        weights |= dict.fromkeys(positive, np.clip(amount, 0, None))
        weights |= dict.fromkeys(negative, np.clip(-amount, 0, None))
    return weights


def local_changes() -> list[tuple[list[str], list[str]]]:
    """Pairs of opposite changes, each the names that belong together: both sides of the face change alike."""
    names = [n for folder in LOCAL_FOLDERS for n in target_names(folder)]
    changes: list[tuple[list[str], list[str]]] = []
    for name in names:
        folder, _, short = name.partition("/")
        if short.startswith("r-") or "trans-in" in short or "trans-out" in short or "angle-out" in short:
            continue  # with its mirror image, or a shift to one side
        if short.startswith("measure") or "head-angle" in short:
            continue
        stem, _, ending = short.rpartition("-")
        opposite = {a: b for pair in OPPOSITES for a, b in (pair, pair[::-1])}.get(ending)
        other = f"{folder}/{stem}-{opposite}"
        if opposite is not None and other in names:
            if opposite < ending:
                continue  # is the other end of an earlier pair
            changes.append((_both_sides(name), _both_sides(other)))
        elif ending in HEAD_SHAPES or folder in ("chin", "ears", "eyes"):
            changes.append((_both_sides(name), []))
    return changes


def _both_sides(name: str) -> list[str]:
    return [name, name.replace("/l-", "/r-")] if "/l-" in name else [name]


def _between(position: np.ndarray, anchors: dict[str, float]) -> dict[str, np.ndarray]:
    """(N,) places among named anchors -> for each anchor its weights (N,); they sum to 1."""
    places = list(anchors.values())
    return {name: np.interp(position, places, np.eye(len(places))[i]) for i, name in enumerate(anchors)}
