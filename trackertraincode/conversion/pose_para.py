"""Labels of 300W-LP and AFLW2000-3D: `Pose_Para`, 3DDFA coefficients, head boxes.

The one-pixel shift in `h - y` and the factor w / 224 are the published conversion's, kept so that files stay
interchangeable.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch

from trackertraincode.conversion.archive import Archive, naming
from trackertraincode.conversion.matfile import numbers, read_mat, text
from trackertraincode.errors import ArchiveError
from trackertraincode.facemodel.head_model import EXPRESSION_COUNT, SHAPE_COUNT, HeadModel
from trackertraincode.facemodel.load import OWN_MODELS, load_head_model
from trackertraincode.geometry.euler import aflw_to_matrix
from trackertraincode.geometry.rotation import matrix_to_quat
from trackertraincode.sample.images import Size, check_image

ORIGIN_OFFSET = np.array([0.0, -0.26, -0.9])  # from the origin of `Pose_Para` to between the eyes, head radii
_MAT_VARIABLES = ("Pose_Para", "Shape_Para", "Exp_Para", "pt2d", "pt3d_68", "face_model")
HOW_TO_GET_BFM = (
    "no face model for the coefficients of this archive: shape and 3-D landmarks are left out and boxes come from the "
    "embedded head. Get bfm_noneck_v3.pkl from the 3DDFA_V2 project: give it as --face-model or put it into $DATADIR."
)


@dataclass(frozen=True)
class Pose:
    """Rotation and position of one head."""

    matrix: np.ndarray  # (3, 3) float64
    quat: np.ndarray  # (4,) i, j, k, w
    angles: np.ndarray  # (3,) pitch, yaw, roll as they are stored; degrees
    head: np.ndarray  # (3,) x, y, radius; pixels, pixel centres from 0

    def project(self, local: np.ndarray) -> np.ndarray:
        """Head-local points (N, 3) -> (N, 3) pixels, z relative to the head's origin."""
        points = local @ (self.matrix.T * self.head[2])
        points[:, :2] += self.head[:2]
        return points


def _read_pose(mat: dict[str, np.ndarray], name: str, size: Size) -> Pose:
    """`Pose_Para` (1, 7) = pitch, yaw, roll, tx, ty, tz, scale. Raises ArchiveError naming the file."""
    pitch, yaw, roll, tx, ty, _, scale = numbers(mat, name, "Pose_Para", (1, 7))[0]
    matrix = aflw_to_matrix(torch.tensor([pitch, yaw, roll], dtype=torch.float64))
    radius = 0.5 * scale / 224.0 * size.width * 100e3
    shift = (matrix.numpy() @ ORIGIN_OFFSET)[:2] * radius
    head = np.array([tx + shift[0], size.height - ty + shift[1], radius])
    return Pose(matrix.numpy(), matrix_to_quat(matrix).numpy(), np.rad2deg([pitch, yaw, roll]), head)


def _read_coefficients(mat: dict[str, np.ndarray], name: str) -> np.ndarray:
    """(50,) coefficients in this suite's scaling. Raises ArchiveError naming the file."""
    shape = numbers(mat, name, "Shape_Para", (SHAPE_COUNT, 1), rows=SHAPE_COUNT)[:, 0]
    expression = numbers(mat, name, "Exp_Para", (EXPRESSION_COUNT, 1), rows=EXPRESSION_COUNT)[:, 0]
    return np.concatenate([shape / 20.0 / 1e5, expression / 5.0])


def _coefficient_model(mat: dict[str, np.ndarray]) -> str:
    """Which face model the coefficients of a .mat file belong to; ours says so, all others are BFM's."""
    named = text(mat, "face_model")
    return named if named in OWN_MODELS else "bfm_noneck_v3"


def coefficients_in(archive: Archive, stems: Iterable[str]) -> str:
    """The face model of the first readable .mat; an archive has one."""
    for stem in stems:
        try:
            return _coefficient_model(read_mat(archive.read(f"{stem}.mat"), f"{stem}.mat", ("face_model",)))
        except ArchiveError:
            continue
    return "bfm_noneck_v3"


def read_labelled(
    archive: Archive, stem: str, coefficients_of: str
) -> tuple[bytes, dict[str, np.ndarray], Pose, np.ndarray]:
    """STEM.jpg and STEM.mat: the image, the .mat file's variables, its pose and its coefficients (50,).

    Raises ArchiveError naming the member that is missing or damaged, or has coefficients of another face model.
    """
    image = archive.read(f"{stem}.jpg")
    with naming(f"{stem}.jpg"):
        size = check_image(image)
    name = f"{stem}.mat"
    mat = read_mat(archive.read(name), name, _MAT_VARIABLES)
    if _coefficient_model(mat) != coefficients_of:
        raise ArchiveError(f"{name}: coefficients of another face model than {coefficients_of}.")
    return image, mat, _read_pose(mat, name, size), _read_coefficients(mat, name)


@dataclass(frozen=True)
class FaceModels:
    """Which head model stands for which coefficients; small, so that it can travel to workers."""

    path: str | None  # of BFM; None: from $DATADIR, else there is none

    def for_coefficients(self, of: str) -> HeadModel | None:
        """The model that these coefficients belong to, None where the user has no copy."""
        model = OWN_MODELS[of]() if of in OWN_MODELS else _load(self.path)
        return model if model.name == of else None


@cache
def _load(path: str | None) -> HeadModel:
    return load_head_model(None if path is None else Path(path))


def head_box(pose: Pose, model: HeadModel, coefficients: np.ndarray) -> np.ndarray:
    """(4,) box of the posed face mesh: forehead to chin, ear to ear."""
    turned = (pose.matrix[:2] * pose.head[2]).astype(np.float32) @ model.face_hull_points(coefficients).T
    return np.concatenate([turned.min(1) + pose.head[:2], turned.max(1) + pose.head[:2]])
