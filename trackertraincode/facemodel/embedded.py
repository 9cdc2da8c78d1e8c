"""The embedded head, `embedded-v1`: licence-free, made by code, the same pose conventions as BFM "no neck v3"."""

from functools import cache

import numpy as np

from trackertraincode.facemodel.embedded_mesh import build_mesh, inside_lids, inside_mouth
from trackertraincode.facemodel.embedded_modes import (
    EXPRESSION_STD,
    SHAPE_MODES,
    SHAPE_STD,
    expression_basis,
    shape_basis,
)
from trackertraincode.facemodel.head_model import HeadModel
from trackertraincode.facemodel.regions import face_mask, find_regions

NAME = "embedded-v1"


@cache
def embedded_head() -> HeadModel:
    """Vertices, modes, landmarks and regions; the same object at each call."""
    mesh = build_mesh()
    v = mesh.vertices
    regions = find_regions(v, v[mesh.keypoints], mesh.ear, inside_mouth(v))
    regions |= {f"eye_{side}": inside_lids(v, side) for side in ("left", "right")}
    basis = np.concatenate([shape_basis(mesh.vertices, mesh.keypoints), expression_basis(mesh.vertices)])
    return HeadModel(
        name=NAME,
        vertices=mesh.vertices.astype(np.float32),
        triangles=mesh.triangles,
        basis=basis.astype(np.float32),
        keypoints=mesh.keypoints,
        face_mask=face_mask(v, mesh.ear),
        coefficient_std=np.concatenate([np.full(len(SHAPE_MODES), SHAPE_STD), EXPRESSION_STD]).astype(np.float32),
        regions=regions,
    )
