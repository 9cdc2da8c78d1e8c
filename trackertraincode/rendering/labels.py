"""Which part of the face each pixel shows, in the classes of Microsoft FaceSynthetics."""

from collections.abc import Mapping
from functools import cache

import numpy as np

from trackertraincode.facemodel.embedded import embedded_head
from trackertraincode.rendering.materials import hairiness
from trackertraincode.rendering.person import Person
from trackertraincode.rendering.rasterizer import Surface, join_surfaces, rasterize

CLASSES = {
    "background": 0, "skin": 1, "nose": 2, "eye_right": 3, "eye_left": 4, "brow_right": 5, "brow_left": 6,
    "ear_right": 7, "ear_left": 8, "mouth": 9, "upper_lip": 10, "lower_lip": 11, "neck": 12, "hair": 13, "beard": 14,
    "clothing": 15, "glasses": 16, "facewear": 18, "ignore": 255,
}  # fmt: skip
BEARD_FROM = 0.3  # strength of a beard that counts


@cache
def _head_classes() -> np.ndarray:
    """(V,) class of each vertex of the bare head."""
    regions, v = embedded_head().regions, embedded_head().vertices
    classes = np.full(len(v), CLASSES["skin"])
    classes[regions["nose"]] = CLASSES["nose"]
    for name in ("neck", "eye_left", "eye_right", "brow_left", "brow_right"):
        classes[regions[name]] = CLASSES[name]
    classes[regions["ears"]] = np.where(v[regions["ears"], 0] > 0, CLASSES["ear_left"], CLASSES["ear_right"])
    lips = regions["lips"]
    classes[lips] = np.where(v[lips, 1] < 0.655, CLASSES["upper_lip"], CLASSES["lower_lip"])
    classes[regions["mouth"]] = CLASSES["mouth"]
    return classes


def segmentation_of(
    person: Person, surfaces: Mapping[str, Surface], width: int, height: int, hidden: np.ndarray | None
) -> np.ndarray:
    """(H, W) uint8 classes of a drawn scene. hidden: (H, W) bool, where an occluder is in front."""
    head = _head_classes().copy()
    if person.looks.beard > BEARD_FROM:
        head[embedded_head().regions["beard"] & (head == CLASSES["skin"])] = CLASSES["beard"]
    head[hairiness(person.looks) > 0.5] = CLASSES["hair"]
    of_part = {
        "hair": CLASSES["hair"], "frame": CLASSES["glasses"], "lenses": CLASSES["glasses"], "body": CLASSES["clothing"]
    }  # fmt: skip
    labelled = []
    for name, surface in surfaces.items():
        values = head if name == "head" else np.full(len(surface.points), of_part[name])
        colors = np.repeat(values[:, None] / 255.0, 3, axis=1).astype(np.float32)
        labelled.append(Surface(surface.points, surface.triangles, colors))
    flat, _ = rasterize(join_surfaces(labelled), width, height, flat=True)
    classes = np.round(flat[..., 0] * 255.0).astype(np.uint8)
    if hidden is not None:
        classes[hidden] = CLASSES["facewear"]
    return classes
