"""The user's own copy of the 3DDFA face model, `bfm_noneck_v3.pkl`, in the local frame of this suite.

Its licence forbids us to ship it. A pickle can run any code, so only NumPy arrays are let through.
"""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from trackertraincode.errors import ModelFileError
from trackertraincode.facemodel.head_model import EXPRESSION_COUNT, SHAPE_COUNT, HeadModel

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

_ALLOWED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
}


class _ArrayUnpickler(pickle.Unpickler):
    """Lets NumPy arrays through and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no face model needs")
        if name == "_reconstruct":
            return np._core.multiarray._reconstruct  # type: ignore[attr-defined]
        return getattr(np, name)


def load_array_pickle(path: Path) -> Any:
    """Unpickle a file of NumPy arrays. Raises ModelFileError for anything else that it holds."""
    try:
        return _ArrayUnpickler(io.BytesIO(path.read_bytes()), encoding="latin1").load()
    except FileNotFoundError as error:
        raise ModelFileError(
            f"{path}: no such file; give the path of {NAME}.pkl, or leave --face-model out."
        ) from error
    except Exception as error:  # a damaged pickle can raise anything
        raise ModelFileError(
            f"{path}: refused or damaged ({error}); use the {NAME}.pkl of the 3DDFA authors."
        ) from error


def load_bfm(path: Path) -> HeadModel:
    """Read `bfm_noneck_v3.pkl`, and `tri.pkl` beside it for the triangles where it exists.

    Raises ModelFileError when the file is missing, refused, damaged, or not this model.
    """
    content = load_array_pickle(path)
    mean, shape, expression = (_array(path, content, key) for key in ("u", "w_shp", "w_exp"))
    keypoints = _array(path, content, "keypoints").reshape(-1, 3)[:, 0] // 3
    expected = {"u": (3 * VERTEX_COUNT, 1), "w_shp": (3 * VERTEX_COUNT, SHAPE_COUNT)}
    expected["w_exp"] = (3 * VERTEX_COUNT, EXPRESSION_COUNT)
    for key, array in (("u", mean), ("w_shp", shape), ("w_exp", expression)):
        if array.shape != expected[key]:
            raise ModelFileError(f"{path}: '{key}' has shape {array.shape}, expected {expected[key]}; not {NAME}.")
    axes = np.array([1.0, -1.0, -1.0])
    vertices = mean.reshape(-1, 3) * MEAN_SCALE * axes - ORIGIN
    basis = np.concatenate([shape.T * SHAPE_SCALE, expression.T * EXPRESSION_SCALE]).reshape(-1, VERTEX_COUNT, 3) * axes
    keypoints = keypoints.astype(np.int64)
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
    """(T, 3); empty where the file is missing: only drawing the mesh needs them."""
    if not path.is_file():
        return np.zeros((0, 3), dtype=np.int32)
    triangles = np.asarray(load_array_pickle(path))
    triangles = triangles.T if triangles.shape[0] == 3 else triangles
    first = triangles.min()
    # The file winds them inwards.
    return np.ascontiguousarray((triangles - first)[:, ::-1]).astype(np.int32)


def _array(path: Path, content: Any, key: str) -> np.ndarray:
    if not isinstance(content, dict) or not isinstance(content.get(key), np.ndarray):
        found = ", ".join(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise ModelFileError(f"{path}: no array '{key}' (found: {found}); use the {NAME}.pkl of the 3DDFA authors.")
    return content[key]
