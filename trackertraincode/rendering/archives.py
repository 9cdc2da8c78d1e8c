"""Synthetic faces as archives in the layouts of 300W-LP and AFLW2000-3D, so that converters meet what they will meet.

Label arithmetic is the inverse of the published conversion. The .mat files carry `face_model`, since coefficients of
our own heads mean nothing in BFM.
"""

import io
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from scipy.io import savemat

from trackertraincode.geometry.euler import matrix_to_aflw
from trackertraincode.geometry.rotation import quat_to_matrix
from trackertraincode.sample.images import image_size
from trackertraincode.sample.moving import to_centres
from trackertraincode.sample.sample import Sample

ORIGIN_OFFSET = np.array([0.0, -0.26, -0.9])  # from the origin of `Pose_Para` to between the eyes, head radii
MAT_TEXT = b"MATLAB 5.0 MAT-file".ljust(116)  # how a .mat file begins; scipy's text has platform and time
# 68 landmarks nearest to the 21 of AFLW; those without a counterpart repeat a neighbour.
AFLW_21 = (17, 19, 21, 22, 24, 26, 36, 37, 39, 42, 44, 45, 2, 31, 30, 35, 14, 48, 66, 54, 8)


class ArchiveFile(NamedTuple):
    """A file of an archive."""

    name: str
    data: bytes


class RenderedFace(NamedTuple):
    """One rendered face and its place among the others."""

    sample: Sample
    person: int  # number of the person
    number: int  # 0 for the original, then the large poses of the same face
    face_model: str  # whose coefficients the sample has


def pose_parameters(sample: Sample) -> np.ndarray:
    """(1, 7) float64 `Pose_Para`: pitch, yaw, roll, tx, ty, tz, scale."""
    assert sample.rotation is not None
    assert isinstance(sample.image, bytes)
    size = image_size(sample.image)
    R = quat_to_matrix(torch.tensor(sample.rotation, dtype=torch.float64))
    x, y, radius = (float(v) for v in _counted(sample, "head"))
    dx, dy, _ = (R.numpy() @ ORIGIN_OFFSET) * radius
    scale = radius * 224.0 / (0.5 * size.width * 100e3)
    angles = matrix_to_aflw(R).tolist()
    return np.array([[*angles, x - dx, size.height - (y - dy), 0.0, scale]])


def _counted(sample: Sample, attribute: str) -> np.ndarray:
    """A label as the archives count it, in their precision."""
    return to_centres({attribute: getattr(sample, attribute)})[attribute].astype(np.float32)


def coefficient_parameters(sample: Sample) -> dict[str, np.ndarray]:
    """`Shape_Para` (199, 1) and `Exp_Para` (29, 1), zero beyond ours."""
    assert sample.shape is not None
    shape, expression = np.zeros((199, 1)), np.zeros((29, 1))
    shape[:40, 0] = sample.shape[:40].astype(np.float64) * 20 * 1e5
    expression[:10, 0] = sample.shape[40:].astype(np.float64) * 5
    return {"Shape_Para": shape, "Exp_Para": expression}


def _mat(**arrays: object) -> bytes:
    buffer = io.BytesIO()
    savemat(buffer, arrays, do_compression=True)
    return MAT_TEXT + buffer.getvalue()[len(MAT_TEXT) :]


def _common(face: RenderedFace) -> dict[str, object]:
    sample = face.sample
    assert sample.face_box is not None
    x0, y0, x1, y1 = sample.face_box
    margin = 0.4 * float(max(x1 - x0, y1 - y0))  # the original's boxes are far too large as well
    roi = np.array([[x0 - margin, y0 - margin, x1 + margin, y1 + margin]]).astype(np.int16)
    return {
        "Pose_Para": pose_parameters(sample), "roi": roi, "face_model": face.face_model,
        **coefficient_parameters(sample)
    }  # fmt: skip


def members_300wlp(faces: Iterator[RenderedFace]) -> Iterator[ArchiveFile]:
    """NAME_K.jpg and .mat, and the landmarks that follow large poses in a folder of their own."""
    original: Sample | None = None
    for face in faces:
        sample = face.sample
        original = sample if face.number == 0 or original is None else original
        stem = f"SYNTH_{face.person:06d}_{face.number}"
        assert isinstance(sample.image, bytes)
        points, points_of_original = (_counted(s, "landmarks_2d") for s in (sample, original))
        yield ArchiveFile(f"300W_LP/AFW/{stem}.jpg", sample.image)
        yield ArchiveFile(
            f"300W_LP/AFW/{stem}.mat", _mat(pt2d=points_of_original.T.astype(np.float64), **_common(face))
        )
        yield ArchiveFile(f"300W_LP/landmarks/AFW/{stem}_pts.mat", _mat(pts_2d=points))


def members_aflw2k(faces: Iterator[RenderedFace]) -> Iterator[ArchiveFile]:
    """imageNNNNN.jpg and .mat with 3-D landmarks, whose z points towards the viewer."""
    for index, face in enumerate(faces):
        sample = face.sample
        assert isinstance(sample.image, bytes)
        landmarks = _counted(sample, "landmarks").astype(np.float64)
        points = landmarks.T * np.array([[1.0], [1.0], [-1.0]])
        stem = f"AFLW2000/image{index + 1:05d}"
        yield ArchiveFile(f"{stem}.jpg", sample.image)
        yield ArchiveFile(f"{stem}.mat", _mat(pt3d_68=points, pt2d=landmarks[list(AFLW_21), :2].T, **_common(face)))


LAYOUTS: dict[str, Callable[[Iterator[RenderedFace]], Iterator[ArchiveFile]]] = {
    "300wlp": members_300wlp,
    "aflw2k": members_aflw2k,
}
