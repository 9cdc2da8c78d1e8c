"""AFLW2000-3D: `AFLW2000/imageNNNNN.{jpg,mat}`, the images that head pose methods are compared on."""

import re
from functools import partial
from pathlib import Path

import numpy as np

from trackertraincode.conversion.archive import one_of_each, open_archive, unknown_images
from trackertraincode.conversion.closed_eyes import close_eyes as with_closed_eyes
from trackertraincode.conversion.matfile import numbers
from trackertraincode.conversion.pose_para import HOW_TO_GET_BFM, FaceModels, MatFace, coefficients_in, read_faces
from trackertraincode.conversion.run import Source
from trackertraincode.errors import ArchiveError
from trackertraincode.facemodel.landmarks68 import centered_depth
from trackertraincode.sample.images import decode, encode_jpeg
from trackertraincode.sample.moving import from_centres
from trackertraincode.sample.sample import Sample

_IMAGE = re.compile(r"^(?:.*/)?image\d+\.jpg$", re.IGNORECASE)


def make_source(archive: Path, face_model: Path | None, close_eyes: bool = False) -> Source:
    """List the archive; with `close_eyes`, images get shut eyes as they are converted.

    Raises ArchiveError when it is none, ModelFileError for a bad face model.
    """
    opened = open_archive(archive)
    found, copies = one_of_each(
        opened.names,
        lambda name: name.rsplit("/", 1)[-1].lower() if _IMAGE.match(name) else None,
        lambda name: f"{name[:-4]}.mat" in opened,
    )
    stems = [name[:-4] for _, name in sorted(found.items())]
    if not stems:
        raise ArchiveError(f"{archive}: no AFLW2000/imageNNNNN.jpg in it; give AFLW2000-3D.zip or its folder.")
    models = FaceModels(None if face_model is None else str(face_model), coefficients_in(opened, stems))
    model = models.known
    models.used.find_hull()  # once for all workers
    return Source(
        items=stems,
        prepare=partial(read_faces, archive, models, boxes=True),
        convert=partial(convert_item, close_eyes),
        face_model=None if model is None else model.name,
        notes=(
            *((HOW_TO_GET_BFM.replace("shape and 3-D landmarks are", "shape is"),) if model is None else ()),
            *copies,
            *unknown_images(opened, _IMAGE.match),
        ),
    )


def convert_item(close_eyes: bool, face: MatFace | ArchiveError) -> list[Sample]:
    """One image -> one sample. Raises ArchiveError naming the member that is missing, damaged or wrong."""
    if isinstance(face, ArchiveError):
        raise face
    name, image, mat, pose = f"{face.stem}.mat", face.image, face.mat, face.pose
    landmarks = numbers(mat, name, "pt3d_68", (3, 68)).T * [1.0, 1.0, -1.0]  # theirs points towards the viewer
    if close_eyes:
        shut, landmarks = with_closed_eyes(decode(image, color=True), landmarks, pose.quat)
        image = encode_jpeg(shut)
    return [
        Sample(
            image=image,
            name=f"{face.stem}.jpg",
            rotation=pose.quat,
            stored_angles=pose.angles,
            face_box=face.box,
            points_box=_points_box(mat, name),
            **from_centres({"head": pose.head, "landmarks": centered_depth(landmarks)}),
            shape=face.shape,
        )
    ]


def _points_box(mat: dict[str, np.ndarray], name: str) -> np.ndarray:
    """(4,) box of the published points as they are, -1 where a point is hidden; NaN without them.

    Raises ArchiveError when they aren't (2, n) finite numbers.
    """
    if "pt2d" not in mat:
        return np.full(4, np.nan, np.float32)
    points = numbers(mat, name, "pt2d", (2, mat["pt2d"].shape[-1] if mat["pt2d"].size else 1))  # 21, sometimes 23
    return np.concatenate([points.min(1), points.max(1)])
