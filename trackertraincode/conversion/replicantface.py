"""ReplicantFace: rendered heads with their meshes and cameras, by the authors of OpNet.

face_NUMBER[_VARIATION].npz        modelview, projection (4, 4), vertices (N, 3) of the head in metres, resolution
face_NUMBER[_VARIATION]_img.jpg    the image, a square
face_NUMBER[_VARIATION]_mask.png   classes as colours
head_indices.npz, landmark_indices.npz    which vertices of the whole mesh are the N, and which are the 68 landmarks

Cameras are OpenGL's: y up, z towards the viewer. Variations of one number form a sequence.
"""

import re
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import cv2
import numpy as np
import torch

from trackertraincode.conversion.archive import naming, one_of_each, open_archive, unknown_images
from trackertraincode.conversion.faces import check_on_face
from trackertraincode.conversion.npzfile import read_npz
from trackertraincode.conversion.run import Source
from trackertraincode.errors import ArchiveError
from trackertraincode.facemodel.landmarks68 import COUNT, centered_depth
from trackertraincode.geometry.rotation import matrix_to_quat
from trackertraincode.sample.images import check_image, decode
from trackertraincode.sample.sample import Sample

EYES = np.array([0.0, -0.064, -0.086])  # from the head bone's origin to between the eyes, metres, our axes
HEAD_RADIUS = 0.1  # metres, of all heads
FACE, CLOTHES, BACKGROUND = (220, 57, 33), (135, 198, 199), (0, 0, 0)  # colours of the mask
COLOR_TOLERANCE = 20
SMALLEST_BOX, LARGEST_SHARE = 32, 2 / 3  # pixels, and of the image: other boxes are left out
DARK = 20  # mean grey, and the brightest 2 %, of images that show nothing
_FLIP = np.diag([1.0, -1.0, -1.0])  # OpenGL's axes <-> ours
_LABELS = re.compile(r"^(?:.*/)?face_(?P<number>\d+)(?:_(?P<variation>[^/]+))?\.npz$", re.IGNORECASE)


@dataclass(frozen=True)
class Item:
    """One head."""

    stem: str  # member without .npz
    number: int
    in_sequence: bool

    def __str__(self) -> str:
        return self.stem


def make_source(archive: Path) -> Source:
    """List the heads by number and variation. Raises ArchiveError when it is none, or its lists of vertices are wrong."""
    opened = open_archive(archive)

    def key(name: str) -> tuple[int, str] | None:
        match = _LABELS.match(name)
        return match and (int(match["number"]), match["variation"] or "")

    found, copies = one_of_each(opened.names, key, lambda name: f"{name[:-4]}_img.jpg" in opened)
    if not found:
        raise ArchiveError(f"{archive}: no face_NUMBER.npz in it; give the folder of ReplicantFace, or a zip of it.")
    in_sequence = any(variation for _, variation in found)
    items = [Item(name[:-4], number, in_sequence) for (number, _), name in sorted(found.items())]
    landmark_rows(archive, _folder(items[0].stem))
    notes = (*copies, *unknown_images(opened, lambda name: re.search(r"_(img\.jpg|mask\.png)$", name, re.IGNORECASE)))
    return Source(items=items, convert=partial(convert_item, archive), notes=notes)


def _folder(stem: str) -> str:
    return stem[: stem.rfind("/") + 1]


@cache
def landmark_rows(archive: Path, folder: str) -> np.ndarray:
    """(68,) rows of `vertices` that are landmarks. Raises ArchiveError when the lists of vertices don't fit."""
    head, landmarks = (
        read_npz(open_archive(archive).read(name), name, {"indices": (None,)})["indices"].astype(np.int64)
        for name in (f"{folder}head_indices.npz", f"{folder}landmark_indices.npz")
    )
    row_of = {vertex: row for row, vertex in enumerate(head.tolist())}
    if len(landmarks) != COUNT or not set(landmarks.tolist()) <= set(row_of):
        raise ArchiveError(
            f"{folder}landmark_indices.npz: {len(landmarks)} vertices, expected {COUNT} of those of the head."
        )
    return np.array([row_of[vertex] for vertex in landmarks.tolist()])


def convert_item(archive: Path, item: Item) -> list[Sample]:
    """One head -> one sample. Raises ArchiveError naming the member that is missing, damaged or wrong."""
    opened = open_archive(archive)
    labels, photo, mask = f"{item.stem}.npz", f"{item.stem}_img.jpg", f"{item.stem}_mask.png"
    shapes = {"modelview": (4, 4), "projection": (4, 4), "vertices": (None, 3), "resolution": ()}
    arrays = read_npz(opened.read(labels), labels, shapes)
    image = opened.read(photo)
    with naming(photo):
        size = check_image(image)
        grey = decode(image)
    edge = float(arrays["resolution"])
    if size != (edge, edge):
        raise ArchiveError(f"{photo}: {size.width} × {size.height} pixels, {labels} is for {edge:g} × {edge:g}.")
    if grey.mean() < DARK and np.percentile(grey, 98) < DARK:
        raise ArchiveError(f"{photo}: too dark to show a face.")
    with naming(mask):
        box = face_box(decode(opened.read(mask), color=True), mask)
    rows = landmark_rows(archive, _folder(item.stem))
    if rows.max() >= len(arrays["vertices"]):
        raise ArchiveError(f"{labels}: {len(arrays['vertices'])} vertices, the landmarks need {rows.max() + 1}.")
    rotation, head, landmarks = project(
        arrays["modelview"], arrays["projection"], arrays["vertices"][rows], edge, labels
    )
    check_on_face(landmarks[:, :2], box, labels)
    return [
        Sample(
            image=image,
            name=photo,
            sequence=str(item.number) if item.in_sequence else None,
            rotation=matrix_to_quat(torch.from_numpy(rotation)).numpy(),
            head=head,
            face_box=box,
            landmarks=landmarks,
            individual=item.number,
        )
    ]


def project(
    modelview: np.ndarray, projection: np.ndarray, points: np.ndarray, edge: float, name: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rotation (3, 3), head (3,) and landmarks (68, 3) of an image of `edge` pixels, from its corner.

    modelview, projection: (4, 4) OpenGL. points: (68, 3) metres. Landmarks are in weak perspective at the depth of the
    eyes. Raises ArchiveError naming the file when the head isn't turned by a rotation or isn't before the camera.
    """
    rotation = _FLIP @ modelview[:3, :3] @ _FLIP
    if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3) or np.linalg.det(rotation) < 0:
        raise ArchiveError(f"{name}: 'modelview' {modelview.round(3).tolist()} isn't a rotation with a shift.")
    eyes = rotation @ EYES + _FLIP @ modelview[:3, 3]
    scale = projection[0, 0] * edge / 2  # pixels per metre at a metre
    if eyes[2] <= HEAD_RADIUS or not np.isclose(projection[0, 0], projection[1, 1]) or scale <= 0:
        raise ArchiveError(f"{name}: a head {eyes[2]:.3f} m before a camera of {projection[0, 0]:.3f} can't be seen.")
    clip = projection @ [*(_FLIP @ eyes), 1.0]
    xy = (clip[:2] / clip[3] * [1, -1] + 1) / 2 * edge
    seen = (points @ modelview[:3, :3].T + modelview[:3, 3]) @ _FLIP / eyes[2] * scale
    landmarks = centered_depth(seen + [edge / 2, edge / 2, 0.0])
    return rotation, np.array([*xy, HEAD_RADIUS * scale / eyes[2]]), landmarks


def face_box(mask: np.ndarray, name: str) -> np.ndarray:
    """(H, W, 3) mask -> (4,) box of the face, or where it is hidden of all but clothes and background.

    Raises ArchiveError when there is none of a usual size.
    """

    def is_class(color: tuple[int, int, int]) -> np.ndarray:
        return np.abs(mask.astype(np.int16) - color).max(-1) < COLOR_TOLERANCE

    face = is_class(FACE)
    if not face.any():
        face = ~(is_class(CLOTHES) | is_class(BACKGROUND))
    x, y, width, height = cv2.boundingRect(face.astype(np.uint8))
    if (
        min(width, height) < SMALLEST_BOX
        or width > LARGEST_SHARE * mask.shape[1]
        or height > LARGEST_SHARE * mask.shape[0]
    ):
        raise ArchiveError(
            f"{name}: the face is {width} × {height} pixels of {mask.shape[1]} × {mask.shape[0]}; left out."
        )
    return np.array([x, y, x + width, y + height], dtype=np.float64)
