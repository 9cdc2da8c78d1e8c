"""The embedded head, `embedded-v1`: licence-free, made by code, the same pose conventions as BFM "no neck v3"."""

from functools import cache
from itertools import pairwise

import numpy as np

from trackertraincode.facemodel import embedded_anatomy as anatomy
from trackertraincode.facemodel.embedded_mesh import Mesh, build_mesh, contour_curves, inside_lids, inside_mouth
from trackertraincode.facemodel.embedded_modes import (
    EXPRESSION_STD,
    SHAPE_MODES,
    SHAPE_STD,
    expression_basis,
    shape_basis,
)
from trackertraincode.facemodel.head_model import HeadModel

NAME = "embedded-v1"


@cache
def embedded_head() -> HeadModel:
    """Vertices, modes, landmarks and regions; the same object at each call."""
    mesh = build_mesh()
    basis = np.concatenate([shape_basis(mesh.vertices, mesh.keypoints), expression_basis(mesh.vertices)])
    return HeadModel(
        name=NAME,
        vertices=mesh.vertices.astype(np.float32),
        triangles=mesh.triangles,
        basis=basis.astype(np.float32),
        keypoints=mesh.keypoints,
        face_mask=_face_mask(mesh),
        coefficient_std=np.concatenate([np.full(len(SHAPE_MODES), SHAPE_STD), EXPRESSION_STD]).astype(np.float32),
        regions=_regions(mesh),
    )


def _face_mask(mesh: Mesh) -> np.ndarray:
    """(V,) bool: forehead to chin, ear to ear. From hairline to ear to the jaw's corner, and under the chin."""
    _, y, z = mesh.vertices.T
    top = anatomy.FACE_TOP + 0.30 * np.clip((z + 0.1) / 0.86, 0.0, 1.0) ** 1.4
    return (y > top) & (y < _jaw_line(z)) & (z < anatomy.FACE_BACK) & ~mesh.ear


def _jaw_line(z: np.ndarray) -> np.ndarray:
    """(V,) z -> (V,) y of the border between face and neck: under the chin in front, at the jaw's corner behind."""
    return 1.17 - 0.45 * np.clip((z - 0.2) / 0.56, 0.0, 1.0)


def _regions(mesh: Mesh) -> dict[str, np.ndarray]:
    """(V,) masks by name; a vertex can be in several."""
    v = mesh.vertices
    x, y, z = v.T
    front = z < 0.35
    curves, k = contour_curves(), anatomy.keypoint_positions()
    lips = _between(v, [k[48], *curves["upper_lip"], k[54]], [k[48], *curves["lower_lip"][::-1], k[54]]) & front
    mouth = inside_mouth(v)
    regions = {
        "eye_left": inside_lids(v, "left"),
        "eye_right": inside_lids(v, "right"),
        "lips": lips & ~mouth,
        "mouth": mouth,
        "ears": mesh.ear,
        "nose": front & (np.abs(x) < 0.17) & (y > 0.0) & (y < 0.47) & (z < -0.14),
        "neck": (y > _jaw_line(z)) & ~mesh.ear & ((y > 1.0) | (z > 0.75)) & (y > 0.5),
    }
    for side, ids in (("left", range(22, 27)), ("right", range(17, 22))):
        regions[f"brow_{side}"] = _near_line(v, k[list(ids)], 0.045)
    regions["scalp"] = ~_face_mask(mesh) & ~mesh.ear & ~regions["neck"] & (y < 0.75)
    regions["moustache"] = front & (np.abs(x) < 0.27) & (y > 0.475) & (y < 0.66) & ~lips & ~mouth
    jaw = (y > 0.62) | ((np.abs(x) > 0.55) & (y > 0.2))
    regions["beard"] = jaw & ~lips & ~mouth & ~mesh.ear & (z < 0.8) & (y < 1.25) & ~regions["moustache"]
    return regions


def _between(v: np.ndarray, upper: list[np.ndarray], lower: list[np.ndarray]) -> np.ndarray:
    """(V,) bool: vertices whose y lies between two lines over x, ends included."""
    bounds = []
    for line in (np.array(upper), np.array(lower)):
        line = line[np.argsort(line[:, 0])]
        bounds.append(np.interp(v[:, 0], line[:, 0], line[:, 1]))
    inside_x = (v[:, 0] >= upper[0][0]) & (v[:, 0] <= upper[-1][0])
    return inside_x & (v[:, 1] >= bounds[0] - 1e-6) & (v[:, 1] <= bounds[1] + 1e-6)


def _near_line(v: np.ndarray, points: np.ndarray, distance: float) -> np.ndarray:
    """(V,) bool: vertices within a distance of the polyline through points (N, 3)."""
    best = np.full(len(v), np.inf)
    for a, b in pairwise(points):
        t = np.clip(((v - a) @ (b - a)) / ((b - a) @ (b - a)), 0.0, 1.0)[:, None]
        best = np.minimum(best, np.linalg.norm(v - (a + t * (b - a)), axis=1))
    return best < distance
