"""Which part of the face each pixel shows, in the classes of Microsoft FaceSynthetics."""

from dataclasses import replace
from functools import cache

import numpy as np

from trackertraincode.facemodel.load import OWN_MODELS
from trackertraincode.rendering.materials import hairiness
from trackertraincode.rendering.person import Person
from trackertraincode.rendering.rasterizer import FAR, Surface, rasterize_before

CLASSES = {
    "background": 0, "skin": 1, "nose": 2, "eye_right": 3, "eye_left": 4, "brow_right": 5, "brow_left": 6,
    "ear_right": 7, "ear_left": 8, "mouth": 9, "upper_lip": 10, "lower_lip": 11, "neck": 12, "hair": 13, "beard": 14,
    "clothing": 15, "glasses": 16, "headwear": 17, "facewear": 18, "ignore": 255,
}  # fmt: skip
BEARD_FROM = 0.3  # strength of a beard that counts
SEEN_FROM = 0.35  # density of hair that is drawn: `strands` draws nearly none of less


OF_PART = {
    "hair": CLASSES["hair"], "frame": CLASSES["glasses"], "lenses": CLASSES["glasses"], "body": CLASSES["clothing"],
    "headwear": CLASSES["headwear"], "lashes": CLASSES["skin"],
}  # fmt: skip


@cache
def _head_classes(name: str) -> np.ndarray:
    """(V,) class of each vertex of a bare head."""
    model = OWN_MODELS[name]()
    regions, v = model.regions, model.vertices
    classes = np.full(len(v), CLASSES["skin"])
    classes[regions["nose"]] = CLASSES["nose"]
    for part in ("neck", "eye_left", "eye_right", "brow_left", "brow_right"):
        classes[regions[part]] = CLASSES[part]
    classes[regions["ears"]] = np.where(v[regions["ears"], 0] > 0, CLASSES["ear_left"], CLASSES["ear_right"])
    lips = regions["lips"]
    classes[lips] = np.where(v[lips, 1] < 0.655, CLASSES["upper_lip"], CLASSES["lower_lip"])
    classes[regions["mouth"]] = CLASSES["mouth"]
    return classes


def classes_of(person: Person, part: str, count: int, density: np.ndarray | float = 1.0) -> np.ndarray:
    """(count,) classes of the vertices of one part of a person. density: (count,) of its hair."""
    if part == "fur":  # the head's own vertices have the classes of brows and beards
        return np.full(count, CLASSES["ignore"])
    if part != "head":
        seen = (part != "hair") | (np.broadcast_to(density, count) > SEEN_FROM)
        return np.where(seen, OF_PART[part], CLASSES["ignore"])
    classes, model = _head_classes(person.head).copy(), person.model
    if person.looks.beard > BEARD_FROM:
        classes[model.regions["beard"] & (classes == CLASSES["skin"])] = CLASSES["beard"]
    if not person.bald:
        classes[hairiness(model.name, person.looks) > 0.5] = CLASSES["hair"]
    return classes


def segmentation_of(
    surfaces: list[Surface], classes: np.ndarray, width: int, height: int, hidden: np.ndarray | None
) -> np.ndarray:
    """(H, W) uint8 classes of a drawn scene. classes: (V,) of all surfaces; hidden: (H, W) bool, behind occluders.

    Hair that is too thin to count has the class "ignore", and what is behind it is seen.
    """
    depth = np.full((height, width), FAR, np.float32)
    drawn = np.zeros((height, width), np.uint8)
    start = 0
    for surface in surfaces:
        own = classes[start : start + len(surface.points)]
        start += len(own)
        colors = np.repeat((own[:, None] + 1.0) / 256.0, 3, axis=1).astype(np.float32)
        counted = surface.triangles[own[surface.triangles[:, 0]] != CLASSES["ignore"]]
        flat = rasterize_before(replace(surface, triangles=counted, colors=colors), depth, flat=True)
        drawn = np.where(flat[..., 0] > 0, np.round(flat[..., 0] * 256.0 - 1.0), drawn).astype(np.uint8)
    if hidden is not None:
        drawn[hidden] = CLASSES["facewear"]
    return drawn
