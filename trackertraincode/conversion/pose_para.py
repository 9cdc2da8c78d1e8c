"""Labels of 300W-LP and AFLW2000-3D: `Pose_Para`, 3DDFA coefficients, head boxes.

The one-pixel shift in `h - y` and the factor w / 224 are the published conversion's, kept so that files stay
interchangeable.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from trackertraincode.conversion.archive import Archive, naming, open_archive
from trackertraincode.conversion.matfile import numbers, read_mat, text
from trackertraincode.errors import ArchiveError
from trackertraincode.facemodel.embedded import embedded_head
from trackertraincode.facemodel.head_model import COEFFICIENT_COUNT, EXPRESSION_COUNT, SHAPE_COUNT, HeadModel
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
class StoredPose:
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


def _poses(parameters: np.ndarray, sizes: np.ndarray) -> list[StoredPose]:
    """(n, 7) `Pose_Para`: pitch, yaw, roll, tx, ty, tz, scale; (n, 2) widths and heights of the images."""
    matrices = aflw_to_matrix(torch.from_numpy(parameters[:, :3]))
    quats, rotations = matrix_to_quat(matrices).numpy(), matrices.numpy()
    radius = 0.5 * parameters[:, 6] / 224.0 * sizes[:, 0] * 100e3
    shift = (rotations @ ORIGIN_OFFSET)[:, :2] * radius[:, None]
    heads = np.stack([parameters[:, 3] + shift[:, 0], sizes[:, 1] - parameters[:, 4] + shift[:, 1], radius], axis=1)
    return list(map(StoredPose, rotations, quats, np.rad2deg(parameters[:, :3]), heads))


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


@dataclass(frozen=True)
class FaceModels:
    """Which head model stands for the coefficients of an archive; small, so that it can travel to workers."""

    path: str | None  # of BFM; None: from $DATADIR, else there is none
    coefficients_of: str  # name of the face model

    @property
    def known(self) -> HeadModel | None:
        """The model that the coefficients belong to, None where the user has no copy."""
        model = OWN_MODELS[self.coefficients_of]() if self.coefficients_of in OWN_MODELS else _load(self.path)
        return model if model.name == self.coefficients_of else None

    @property
    def used(self) -> HeadModel:
        """That model, or the embedded head, whose mean stands in for it."""
        return self.known or embedded_head()


@cache
def _load(path: str | None) -> HeadModel:
    return load_head_model(None if path is None else Path(path))


@dataclass(frozen=True)
class MatFace:
    """An image and what its .mat says of the head."""

    stem: str
    image: bytes
    mat: dict[str, np.ndarray]  # variables
    pose: StoredPose
    shape: np.ndarray | None  # (50,) coefficients; None where their model isn't known
    box: np.ndarray | None = None  # (4,) of the face mesh: forehead to chin, ear to ear

    @property
    def coefficients(self) -> np.ndarray:
        """(50,) of the model that is used."""
        return np.zeros(COEFFICIENT_COUNT) if self.shape is None else self.shape


def read_faces(archive: Path, models: FaceModels, stems: Sequence[str], *, boxes: bool) -> list[MatFace | ArchiveError]:
    """STEM.jpg and STEM.mat of each stem; poses and boxes of all at once, which is several times faster.

    Errors name the member that is missing or damaged, or has coefficients of another face model.
    """
    found = [_read(open_archive(archive), stem, models.coefficients_of) for stem in stems]
    read = [one for one in found if isinstance(one, _Read)]
    if not read:
        return [one for one in found if isinstance(one, ArchiveError)]
    poses = _poses(np.array([one.parameters for one in read]), np.array([one.size for one in read]))
    known = models.known is not None
    faces = [MatFace(r.stem, r.image, r.mat, p, r.coefficients if known else None) for r, p in zip(read, poses)]
    if boxes:
        faces = [replace(face, box=box) for face, box in zip(faces, _boxes(faces, models.used))]
    good = iter(faces)
    return [next(good) if isinstance(one, _Read) else one for one in found]


class _Read(NamedTuple):
    stem: str
    image: bytes
    size: Size
    mat: dict[str, np.ndarray]
    parameters: np.ndarray  # (7,) `Pose_Para`
    coefficients: np.ndarray  # (50,)


def _read(archive: Archive, stem: str, coefficients_of: str) -> _Read | ArchiveError:
    name = f"{stem}.mat"
    try:
        image = archive.read(f"{stem}.jpg")
        with naming(f"{stem}.jpg"):
            size = check_image(image)
        mat = read_mat(archive.read(name), name, _MAT_VARIABLES)
        if _coefficient_model(mat) != coefficients_of:
            raise ArchiveError(f"{name}: coefficients of another face model than {coefficients_of}.")
        parameters = numbers(mat, name, "Pose_Para", (1, 7))[0]
        return _Read(stem, image, size, mat, parameters, _read_coefficients(mat, name))
    except ArchiveError as error:
        return error


def _boxes(faces: Sequence[MatFace], model: HeadModel) -> np.ndarray:
    """(n, 4) of the posed meshes."""
    turns = np.array([face.pose.matrix[:2] * face.pose.head[2] for face in faces])
    local = model.face_hull_points(np.array([face.coefficients for face in faces]))
    points = turns @ local.swapaxes(1, 2)
    middle = np.array([face.pose.head[:2] for face in faces])
    return np.concatenate([points.min(2) + middle, points.max(2) + middle], axis=1)
