"""Which part of the face each pixel shows, in the classes of Microsoft FaceSynthetics."""

from functools import cache

import numpy as np

from trackertraincode.facemodel.load import OWN_MODELS
from trackertraincode.rendering.materials import hairiness
from trackertraincode.rendering.person import Person
from trackertraincode.rendering.rasterizer import Surface, rasterize

CLASSES = {
    "background": 0, "skin": 1, "nose": 2, "eye_right": 3, "eye_left": 4, "brow_right": 5, "brow_left": 6,
    "ear_right": 7, "ear_left": 8, "mouth": 9, "upper_lip": 10, "lower_lip": 11, "neck": 12, "hair": 13, "beard": 14,
    "clothing": 15, "glasses": 16, "headwear": 17, "facewear": 18, "ignore": 255,
}  # fmt: skip
BEARD_FROM = 0.3  # strength of a beard that counts


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


def classes_of(person: Person, part: str, count: int) -> np.ndarray:
    """(count,) classes of the vertices of one part of a person."""
    if part != "head":
        return np.full(count, OF_PART[part])
    classes, model = _head_classes(person.head).copy(), person.model
    if person.looks.beard > BEARD_FROM:
        classes[model.regions["beard"] & (classes == CLASSES["skin"])] = CLASSES["beard"]
    if not person.bald:
        classes[hairiness(model, person.looks) > 0.5] = CLASSES["hair"]
    return classes


def segmentation_of(
    surface: Surface, classes: np.ndarray, width: int, height: int, hidden: np.ndarray | None
) -> np.ndarray:
    """(H, W) uint8 classes of a drawn scene. classes: (V,); hidden: (H, W) bool, where an occluder is in front."""
    colors = np.repeat(classes[:, None] / 255.0, 3, axis=1).astype(np.float32)
    flat, _ = rasterize(Surface(surface.points, surface.triangles, colors), width, height, flat=True)
    drawn = np.round(flat[..., 0] * 255.0).astype(np.uint8)
    if hidden is not None:
        drawn[hidden] = CLASSES["facewear"]
    return drawn
