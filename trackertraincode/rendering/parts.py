"""Everything of a scene that has a surface: head, hair, headwear, glasses, body; placed in the image, ready for light."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from trackertraincode.facemodel.embedded_modes import EXPRESSIONS
from trackertraincode.facemodel.load import OWN_MODELS
from trackertraincode.rendering import assets, covers
from trackertraincode.rendering.clothes import Body, dressed, tucked
from trackertraincode.rendering.eyes import lashes
from trackertraincode.rendering.hair import STYLES, Hair, Ribbons, grow
from trackertraincode.rendering.materials import Looks, hairiness, paint_skin, static_weights
from trackertraincode.rendering.person import Person
from trackertraincode.rendering.rasterizer import facets, facing, planes, smooth_normals, vertex_normals

RELIEF = 0.6  # share of the light that hollows of a face lack
BODY_FOLLOWS = 0.4  # share of the head's yaw that the shoulders turn as well


@dataclass(frozen=True)
class Part:
    """A mesh in head radii around the head's origin, axes of the image, before light."""

    name: str  # key of labels.OF_PART, "head", or "fur" on its skin
    points: np.ndarray  # (V, 3)
    triangles: np.ndarray  # (T, 3)
    normals: np.ndarray  # (V, 3)
    albedo: np.ndarray  # (3, V)
    gloss: np.ndarray | float = 0.0  # (V,)
    sharpness: np.ndarray | float = 20.0  # (V,)
    openness: np.ndarray | float = 1.0  # (V,)
    tangents: np.ndarray | None = None  # (V, 3) of hair
    density: np.ndarray | float = 1.0  # (V,) share of what is behind that hair hides
    length: float = 1.0  # of the hair's texture, of that of long hair
    closed: bool = False  # only what faces the viewer can be seen
    flat: np.ndarray | None = None  # (3, T) normals of the triangles, where they are known

    def facing(self, direction: tuple[float, float, float]) -> np.ndarray:
        """Its triangles (N, 3) whose normals point against a direction."""
        flat = facets(self.points, self.triangles) if self.flat is None else self.flat
        return facing(self.triangles, flat, direction)


def parts_of(
    person: Person, local: np.ndarray, expression: np.ndarray, gaze: tuple[float, float], R: np.ndarray
) -> list[Part]:
    """All parts, hair last. local: (V, 3) vertices of the deformed head in its own frame; R: (3, 3) head to image."""
    R = R.astype(np.float32)
    parts = [
        *_head_and_hair(person, local, expression, gaze, R), *_headwear(person, R), *_glasses(person, local, R),
        _body(person, R),
    ]  # fmt: skip
    return sorted(parts, key=lambda part: part.tangents is not None)


def _head_and_hair(
    person: Person, local: np.ndarray, expression: np.ndarray, gaze: tuple[float, float], R: np.ndarray
) -> Iterator[Part]:
    model, looks = person.model, person.looks
    local = tucked(model, local).astype(np.float32)
    growth = hairiness(model.name, looks) * np.float32(not person.bald)
    flat = facets(local, model.triangles)
    normals = smooth_normals(flat, model.triangles, len(local))
    weights = static_weights(model.name)
    hair = person.hair.pressed() if person.headwear else person.hair
    painted = growth * min(hair.density, 1.0)
    skin = paint_skin(model, looks, np.concatenate([person.shape, expression]), gaze, painted)
    yield Part(
        "head", local @ R.T, model.triangles, normals @ R.T, skin.albedo, skin.gloss, skin.sharpness,
        (0.25 + 0.75 * weights["open"]) * (1.0 - RELIEF * weights["hollow"]), closed=True, flat=R @ flat,
    )  # fmt: skip
    color = np.array(looks.hair)
    yield _lashes(person, local, expression, R)
    yield _fur("fur", covers.brows(model, local, normals, looks), 0.75 * color, R, 0.3)
    if max(looks.beard, looks.moustache) > 0.12:
        yield _fur("fur", covers.beard(model, local, normals, looks), 0.85 * color, R, 0.4)
    if person.headwear == "headscarf" or person.bald:
        return
    yield _fur("hair", covers.scalp(model, local, normals, looks, hair), 0.8 * color, R, 1.0)
    end = STYLES[person.hair.style].shell
    if end:
        mesh = assets.hanging_hair(end)
        yield replace(_plain("hair", mesh, 0.6 * color, R), tangents=np.tile(R[:, 1], (len(mesh[0]), 1)), openness=0.7)
    locks = _locks(person.head, tuple(person.shape.tolist()), looks, hair)
    if locks is not None:
        yield Part(
            "hair", locks.vertices @ R.T, locks.triangles, locks.normals @ R.T, np.outer(color, locks.tone),
            0.10 + 0.2 * color.mean(), 40.0, 0.85, locks.tangents @ R.T,
        )  # fmt: skip


@lru_cache(maxsize=8)  # a person is often drawn several times in a row
def _locks(head: str, shape: tuple[float, ...], looks: Looks, hair: Hair) -> Ribbons | None:
    """As on a calm face: no expression moves the scalp."""
    model = OWN_MODELS[head]()
    calm = model.deform(np.array([*shape, *np.zeros(len(EXPRESSIONS))]))
    return grow(hair, model, calm, hairiness(head, looks))


def _lashes(person: Person, local: np.ndarray, expression: np.ndarray, R: np.ndarray) -> Part:
    looks = person.looks
    mesh = lashes(person.model, local, expression[:2], looks.lashes, looks.lash_line)
    color = _all(0.25 * np.array(looks.hair) + 0.02, len(mesh.vertices))
    return Part("lashes", mesh.vertices @ R.T, mesh.triangles, mesh.normals @ R.T, color, openness=0.6)


def _all(color: np.ndarray, count: int) -> np.ndarray:
    """(3,) -> (3, count)."""
    return np.repeat(color[:, None], count, axis=1)


def _fur(name: str, cover: covers.Cover, color: np.ndarray, R: np.ndarray, length: float) -> Part:
    a, b, c = (cover.density > 0.02).take(cover.triangles.T)
    return Part(
        name, cover.points @ R.T, cover.triangles.compress(a | b | c, axis=0), cover.normals @ R.T,
        _all(color, len(cover.points)),
        0.05 + 0.1 * color.mean(), 40.0, 0.85, cover.tangents @ R.T, cover.density, length,
    )  # fmt: skip


def _headwear(person: Person, R: np.ndarray) -> Iterator[Part]:
    if person.headwear:
        yield _plain("headwear", assets.HEADWEAR[person.headwear](), np.array(person.second_clothes), R)


def _glasses(person: Person, local: np.ndarray, R: np.ndarray) -> Iterator[Part]:
    """Moved to where this head's nose bridge is."""
    if not person.glasses:
        return
    bridge = local[person.model.keypoints[27]] - [0.0, 0.0, -0.215]
    frame, lenses = assets.glasses(person.round_lenses)
    shift = np.array([0.0, float(bridge[1]), float(bridge[2])])
    yield _plain("frame", (frame[0] + shift, frame[1]), np.array(person.glasses_color), R, gloss=0.5)
    if person.glasses == "dark":
        yield _plain("lenses", (lenses[0] + shift, lenses[1]), np.array([0.03, 0.03, 0.04]), R, gloss=0.9)


def _body(person: Person, R: np.ndarray) -> Part:
    """Shoulders that stay upright, follow the head's yaw a little, and stay below and behind the face."""
    body = _clothed(
        person.neckline, person.pattern, person.cloth_seed, person.clothes, person.second_clothes, person.looks.skin
    )
    yaw = BODY_FOLLOWS * np.arctan2(R[0, 2], R[2, 2])
    sine, cosine = np.sin(yaw), np.cos(yaw)
    turn = np.array([[cosine, 0.0, sine], [0.0, 1.0, 0.0], [-sine, 0.0, cosine]], np.float32)
    neck = np.maximum(R @ np.array([0.0, 1.3, 0.9]), [-np.inf, 1.05, 0.1])
    return Part(
        "body",
        body.vertices @ turn.T + neck,
        body.triangles,
        body.normals @ turn.T,
        planes(body.colors),
        0.02,
        closed=True,
    )


@lru_cache(maxsize=8)
def _clothed(neckline: str, pattern: str, seed: int, *colors: tuple[float, float, float]) -> Body:
    first, second, skin = (np.array(c) for c in colors)
    return dressed(neckline, pattern, seed, first, second, skin)


def _plain(name: str, mesh: assets.Mesh, color: np.ndarray, R: np.ndarray, gloss: float = 0.02) -> Part:
    vertices, triangles = mesh
    normals = vertex_normals(vertices, triangles) @ R.T
    return Part(name, vertices @ R.T, triangles, normals, _all(color, len(vertices)), gloss)
