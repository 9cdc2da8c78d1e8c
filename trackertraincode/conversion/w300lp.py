"""300W-LP: images with 3DDFA labels, and the same faces turned to large poses.

300W_LP/{AFW,HELEN,IBUG,LFPW}/NAME_K.{jpg,mat}     K = 0 is the image itself, K > 0 synthesised larger poses
300W_LP/landmarks/SUBSET/NAME_K_pts.mat             2-D landmarks that follow the synthesised rotation
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from trackertraincode.conversion.archive import Archive, one_of_each, open_archive, unknown_images
from trackertraincode.conversion.faces import box_around, check_on_face
from trackertraincode.conversion.matfile import numbers, read_mat
from trackertraincode.conversion.pose_para import HOW_TO_GET_BFM, FaceModels, MatFace, coefficients_in, read_faces
from trackertraincode.conversion.run import Source
from trackertraincode.errors import ArchiveError
from trackertraincode.facemodel.landmarks68 import centered_depth
from trackertraincode.sample.moving import from_centres
from trackertraincode.sample.sample import Sample

SUBSETS = ("AFW", "HELEN", "IBUG", "LFPW")
_IMAGE = re.compile(rf"^(?:.*/)?(?P<subset>{'|'.join(SUBSETS)})/(?P<name>[^/]+)_(?P<pose>\d+)\.jpg$", re.IGNORECASE)


@dataclass(frozen=True)
class Item:
    """One image of the archive."""

    stem: str  # member name without extension
    landmarks: str | None  # member with its 2-D landmarks
    sequence: str
    pose: int

    def __str__(self) -> str:
        return self.stem


def make_source(archive: Path, face_model: Path | None, subset: str, reconstruct_head_bbox: bool) -> Source:
    """List the archive. Raises ArchiveError when it is none, ModelFileError for a bad face model."""
    opened = open_archive(archive)
    items, copies = list_items(opened, subset)
    if not items:
        raise ArchiveError(f"{archive}: no 300W_LP/SUBSET/NAME_K.jpg in it; give 300W-LP.zip or its folder.")
    path, stems = None if face_model is None else str(face_model), (item.stem for item in items)
    models = FaceModels(path, coefficients_in(opened, stems))
    model = models.known
    if reconstruct_head_bbox:
        models.used.find_hull()  # once for all workers
    return Source(
        items=items,
        prepare=partial(read_items, archive, models, reconstruct_head_bbox),
        convert=partial(convert_item, archive, models),
        face_model=None if model is None else model.name,
        optional=("landmarks_2d",) if any(_has_landmarks(item) for item in items) else (),
        notes=(
            *((HOW_TO_GET_BFM,) if model is None else ()),
            *copies,
            *_without_landmarks(items),
            *unknown_images(opened, lambda name: _IMAGE.match(name) or "_flip/" in name.lower()),
        ),
    )


def list_items(archive: Archive, subset: str) -> tuple[list[Item], tuple[str, ...]]:
    """Images in published order: subset and name, then the pose's number compared as text; a note on copies of them.

    Mirrored ones aren't among them.
    """

    def key(name: str) -> tuple[str, str, str] | None:
        match = _IMAGE.match(name)
        if match is None or "/landmarks/" in f"/{name}":
            return None
        if (subset == "original" and int(match["pose"]) > 0) or (subset == "large" and int(match["pose"]) == 0):
            return None
        return match["subset"].upper(), match["name"], match["pose"]

    found, copies = one_of_each(archive.names, key, lambda name: f"{name[:-4]}.mat" in archive)
    items = []
    for _, name in sorted(found.items()):
        match = _IMAGE.match(name)
        assert match is not None
        folder = name[: match.start("subset")]
        stem = f"{match['subset']}/{match['name']}_{match['pose']}"
        landmarks = f"{folder}landmarks/{stem}_pts.mat"
        sequence = f"{match['subset']}/{match['name']}"
        items.append(Item(name[:-4], landmarks if landmarks in archive else None, sequence, int(match["pose"])))
    return items, copies


def _has_landmarks(item: Item) -> bool:
    """Whether 2-D landmarks that fit the image are there: `pt2d` of the .mat fits only the original pose."""
    return item.landmarks is not None or item.pose == 0


def _without_landmarks(items: Sequence[Item]) -> tuple[str, ...]:
    """A note where some images lack the file of their landmarks that others have."""
    lacking = [item for item in items if not _has_landmarks(item)]
    if not lacking or all(item.landmarks is None for item in items):
        return ()
    return (
        f"{len(lacking)} of {len(items)} images have no landmarks/SUBSET/NAME_pts.mat, such as {lacking[0].stem}; they are "
        "stored without 2-D landmarks",
    )


def read_items(
    archive: Path, models: FaceModels, head_bbox: bool, items: Sequence[Item]
) -> list[tuple[Item, MatFace | ArchiveError]]:
    """Images and what is said of their heads, or which member is missing, damaged or wrong."""
    stems = [item.stem for item in items]
    return list(zip(items, read_faces(archive, models, stems, boxes=head_bbox)))


def convert_item(path: Path, models: FaceModels, read: tuple[Item, MatFace | ArchiveError]) -> list[Sample]:
    """One image -> one sample. Raises ArchiveError naming the member that is missing, damaged or wrong."""
    item, face = read
    if isinstance(face, ArchiveError):
        raise face
    archive, pose = open_archive(path), face.pose
    points = centered_depth(pose.project(models.used.keypoints68(face.coefficients).astype(float)))
    landmarks_2d = None
    if item.landmarks is not None:
        mat_2d = read_mat(archive.read(item.landmarks), item.landmarks, ("pts_2d",))
        landmarks_2d = numbers(mat_2d, item.landmarks, "pts_2d", (68, 2))
        check_on_face(landmarks_2d, box_around(points), item.landmarks)
    elif item.pose == 0:
        landmarks_2d = numbers(face.mat, f"{item.stem}.mat", "pt2d", (2, 68)).T
    return [
        Sample(
            image=face.image,
            name=f"{item.stem}.jpg",
            sequence=item.sequence,
            rotation=pose.quat,
            face_box=box_around(points) if face.box is None else face.box,
            shape=face.shape,
            **from_centres(
                {"head": pose.head, "landmarks": None if face.shape is None else points, "landmarks_2d": landmarks_2d}
            ),
        )
    ]
