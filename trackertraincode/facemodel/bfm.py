"""The user's own copy of the 3DDFA face model, `bfm_noneck_v3.pkl`, in the local frame of this suite.

Its licence forbids us to ship it. A pickle can run any code, so it is read as plain data (`pickles`).
"""

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from trackertraincode.errors import ModelFileError
from trackertraincode.facemodel.head_model import EXPRESSION_COUNT, SHAPE_COUNT, HeadModel
from trackertraincode.facemodel.landmarks68 import COUNT
from trackertraincode.pickles import read_plain_pickle

NAME = "bfm_noneck_v3"
VERTEX_COUNT = 38365
MEAN_SCALE = 1e-5  # micrometres -> head radii of 100 mm
SHAPE_SCALE = 20.0
EXPRESSION_SCALE = 5e-5  # with exp. coefficients / 5: again 1e-5
ORIGIN = np.array([0.0, -0.26, -0.9])  # between the eyes, in the file's frame after scaling

# Published labels take the eye outlines from these vertices, which follow closing lids better.
EYE_VERTICES = {
    36: 1959, 37: 3887, 38: 5048, 39: 6216, 41: 3513, 40: 4674,
    42: 9956, 43: 11223, 44: 12384, 45: 14327, 47: 11495, 46: 12656,
}  # fmt: skip

# Spread of the rescaled coefficients of real faces: a rough unit, used only to bound how far heads deform.
COEFFICIENT_STD = 0.5


def load_array_pickle(path: Path) -> Any:
    """What a pickle of numeric arrays holds. Raises ModelFileError for anything else."""
    try:
        return read_plain_pickle(path)
    except FileNotFoundError as error:
        raise ModelFileError(
            f"{path}: no such file; give the path of {NAME}.pkl, or leave --face-model out."
        ) from error
    except pickle.UnpicklingError as error:
        raise ModelFileError(
            f"{path}: refused or damaged ({error}); use the {NAME}.pkl of the 3DDFA authors."
        ) from error


def load_bfm(path: Path) -> HeadModel:
    """Read `bfm_noneck_v3.pkl`, and `tri.pkl` beside it for the triangles where it exists.

    Raises ModelFileError when the file is missing, refused, damaged, or not this model.
    """
    content = load_array_pickle(path)
    rows = 3 * VERTEX_COUNT
    shapes = {
        "u": (rows, 1),
        "w_shp": (rows, SHAPE_COUNT),
        "w_exp": (rows, EXPRESSION_COUNT),
        "keypoints": (3 * COUNT,),
    }
    arrays = [_array(path, content, key) for key in shapes]
    for array, (key, expected) in zip(arrays, shapes.items()):
        if array.shape != expected:
            raise ModelFileError(f"{path}: '{key}' has shape {array.shape}, expected {expected}; not {NAME}.")
        if not np.isfinite(array).all():
            raise ModelFileError(f"{path}: '{key}' has values that are not finite; the file is damaged.")
    mean, shape, expression, listed = arrays
    keypoints = listed.astype(np.int64).reshape(-1, 3)[:, 0] // 3
    if not ((keypoints >= 0) & (keypoints < VERTEX_COUNT)).all():
        raise ModelFileError(f"{path}: 'keypoints' has values outside of 0 … {rows - 1}; not {NAME}.")
    axes = np.array([1.0, -1.0, -1.0])
    vertices = mean.reshape(-1, 3) * MEAN_SCALE * axes - ORIGIN
    basis = np.concatenate([shape.T * SHAPE_SCALE, expression.T * EXPRESSION_SCALE]).reshape(-1, VERTEX_COUNT, 3) * axes
    keypoints[list(EYE_VERTICES)] = list(EYE_VERTICES.values())
    return HeadModel(
        name=NAME,
        vertices=vertices.astype(np.float32),
        triangles=_triangles(path.with_name("tri.pkl")),
        basis=basis.astype(np.float32),
        keypoints=keypoints,
        face_mask=np.ones(VERTEX_COUNT, dtype=bool),
        coefficient_std=np.full(SHAPE_COUNT + EXPRESSION_COUNT, COEFFICIENT_STD, dtype=np.float32),
    )


def _triangles(path: Path) -> np.ndarray:
    """(T, 3) vertices of each triangle; none where the file is missing: only drawing the mesh needs them."""
    if not path.is_file():
        return np.zeros((0, 3), dtype=np.int32)
    triangles = load_array_pickle(path)
    whole = isinstance(triangles, np.ndarray) and triangles.dtype.kind in "iu" and triangles.size > 0
    if not whole or triangles.ndim != 2 or 3 not in triangles.shape:
        raise ModelFileError(
            f"{path}: holds no (3, N) whole numbers of triangles; use the one of the 3DDFA authors, or none."
        )
    triangles = triangles.T if triangles.shape[0] == 3 else triangles
    indices = triangles.astype(np.int64) - int(triangles.min())
    if indices.max() >= VERTEX_COUNT:
        raise ModelFileError(f"{path}: has triangles of vertices that {NAME} lacks; use its own tri.pkl, or none.")
    return np.ascontiguousarray(indices[:, ::-1]).astype(np.int32)  # the file winds them inwards


def _array(path: Path, content: Any, key: str) -> np.ndarray:
    if not isinstance(content, dict) or not isinstance(content.get(key), np.ndarray):
        found = ", ".join(map(str, list(content)[:8])) if isinstance(content, dict) else type(content).__name__
        raise ModelFileError(f"{path}: no array '{key}' (found: {found}); use the {NAME}.pkl of the 3DDFA authors.")
    return content[key]
