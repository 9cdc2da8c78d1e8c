"""Evaluation protocols: complete recipes, one table. Nothing is compared across protocols.

labels --keep--> rows --box--> (n, 4) --framing--> crops --network, errors--> table
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from trackertraincode.datasets.catalog import DatasetSpec
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.datasets.mixing import with_faces
from trackertraincode.datasets.selection import converters_of
from trackertraincode.errors import EvaluationError, closest_first
from trackertraincode.evaluation.framing import SIXD, SIXD_K, SQUARE, Framing
from trackertraincode.evaluation.metrics import euler_errors, folded_euler_errors
from trackertraincode.facemodel.head_model import COEFFICIENT_COUNT, HeadModel
from trackertraincode.files import is_sample_file
from trackertraincode.geometry.boxes import bounding_box, box_from_center
from trackertraincode.geometry.camera import project_weak_perspective
from trackertraincode.geometry.euler import matrix_to_aflw
from trackertraincode.geometry.rotation import quat_to_matrix
from trackertraincode.sample.images import image_size

MAX_AFLW_ANGLE = 99.0  # degrees; 1,969 of 2,000 images remain
CENTER_SHARE = 0.6  # edge of the centre crop / shorter side of the image
GRIMACES = (
    39, 236, 0, 129, 164, 356, 359, 256, 136, 375, 226, 392, 119, 366, 293, 56, 305, 303, 397, 10, 11, 96, 173, 124, 115,
    153, 337, 29, 121, 266, 387, 122, 8, 59, 108, 380, 187, 192, 353, 257, 162, 363, 331, 14, 163,
)  # fmt: skip
PITCH_YAW, ALL_ANGLES = (0, 1), (0, 1, 2)
LABELLED_ANGLES = {"dsprocess_pointing04": PITCH_YAW}  # converter -> angles that its archive labels, where not all
ALL_AFLW = 2000  # rows of the whole archive, which the row numbers of GRIMACES count
CHUNK = 256  # rows whose meshes are in memory at a time


@dataclass(frozen=True)
class Context:
    """What boxes are made from."""

    dataset: Hdf5PoseDataset
    face_model: Path | None = None  # of --face-model


class Boxes(NamedTuple):
    """Of some rows."""

    corners: Tensor  # (n, 4) pixels
    what: str  # they are, in words
    of_mean_face: bool = False


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """One named recipe."""

    dataset: str  # name in the catalog, or a .h5 file
    keep: Callable[[Hdf5PoseDataset], np.ndarray]  # rows that are evaluated
    box: Callable[[Context, np.ndarray], Boxes]
    factor: float  # crop edge / longer box side, or what its framing makes of it
    framing: Framing = SQUARE
    euler: Callable[[Tensor, Tensor], Tensor] = euler_errors  # (n, 4) predicted, true -> (n, 3) degrees
    angles: tuple[int, ...] = ALL_ANGLES  # of pitch, yaw, roll: which are labelled
    labels: str  # where the labels come from
    alignment: str = "none"  # default of --alignment-scheme
    horizontal_fov: float | None = None  # degrees, where labels are relative to the camera
    made_with: Mapping[str, bool] = field(
        default_factory=dict
    )  # options of its file's converter -> whether they are given


def label(dataset: Hdf5PoseDataset, name: str, advice: str = "poses can't be evaluated on it") -> np.ndarray:
    """(N, ...). Raises EvaluationError when the file has no such label."""
    if name not in dataset.labels:
        raise EvaluationError(f"{dataset.path}: has no {name} labels, so {advice}.")
    return dataset.labels[name]


def labelled_angles(protocol: Protocol, dataset: Hdf5PoseDataset) -> tuple[int, ...]:
    """Of pitch, yaw and roll, those that are labelled in all rows, whatever the file is called."""
    known = [LABELLED_ANGLES.get(name, ALL_ANGLES) for name in converters_of(dataset.source)]
    return tuple(angle for angle in protocol.angles if all(angle in angles for angles in known))


def aflw_rows(dataset: Hdf5PoseDataset) -> np.ndarray:
    """Every stored angle within ±99°, head size not negative, and a face. Returns (n,) rows.

    Where angles aren't stored, those of the rotations count, which are other numbers beyond ±90°.
    """
    quats = torch.from_numpy(label(dataset, "rotation"))
    angles = torch.rad2deg(matrix_to_aflw(quat_to_matrix(quats.double()))).numpy()
    if "stored_angles" in dataset.labels:
        angles = np.where(lacks_angles(dataset)[:, None], angles, dataset.labels["stored_angles"])
    kept = (np.abs(angles) < MAX_AFLW_ANGLE).all(-1)
    if "head" in dataset.labels:
        kept &= dataset.labels["head"][:, 2] >= 0
    return with_faces(dataset, np.flatnonzero(kept))


def lacks_angles(dataset: Hdf5PoseDataset) -> np.ndarray:
    """(N,) whether a row has no stored angles."""
    stored = dataset.labels.get("stored_angles")
    return np.full(len(dataset), True) if stored is None else np.isnan(stored).any(-1)


def grimace_rows(dataset: Hdf5PoseDataset) -> np.ndarray:
    """The 45 images with grimaces. Returns (45,) rows.

    Raises EvaluationError when rows can't be those of the whole archive.
    """
    if len(dataset) != ALL_AFLW:
        raise EvaluationError(
            f"{dataset.path}: has {len(dataset)} rows; the grimaces are numbered in all {ALL_AFLW}, so convert the whole "
            "archive."
        )
    return np.array(GRIMACES)


def all_rows(dataset: Hdf5PoseDataset) -> np.ndarray:
    """Every row with a pose, of those that show a face. Returns (n,) rows."""
    return with_faces(dataset, np.flatnonzero(np.isfinite(label(dataset, "rotation")).all(-1)))


def boxed_rows(dataset: Hdf5PoseDataset) -> np.ndarray:
    """Every row with a pose and a box. Returns (n,) rows."""
    rows = all_rows(dataset)
    boxes = any_box(Context(dataset), np.arange(len(dataset)))
    return rows[torch.isfinite(boxes.corners).all(-1).numpy()[rows]]


def mesh_box(context: Context, rows: np.ndarray) -> Boxes:
    """(n, 4) boxes of the posed face mesh with each sample's shape."""
    model = _mesh(context)
    if model.name != context.dataset.face_model or "shape" not in context.dataset.labels:
        return mean_mesh_box(context, rows)
    shapes = context.dataset.labels["shape"][rows]
    return Boxes(_posed_box(context, model, rows, shapes), f"{model.name} face mesh, sample's shape")


def mean_mesh_box(context: Context, rows: np.ndarray) -> Boxes:
    """(n, 4) boxes of the posed mean face mesh: published code loses the shape by a typo."""
    model = _mesh(context)
    shapes = np.zeros((len(rows), COEFFICIENT_COUNT), np.float32)
    return Boxes(_posed_box(context, model, rows, shapes), f"{model.name} face mesh, mean shape", of_mean_face=True)


def landmark_box(context: Context, rows: np.ndarray) -> Boxes:
    """(n, 4) boxes of the 68 landmarks."""
    points = label(context.dataset, "landmarks", "there is nothing to take boxes from")
    return Boxes(bounding_box(torch.from_numpy(points[rows])), "of the 68 landmarks")


def stored_box(context: Context, rows: np.ndarray) -> Boxes:
    """(n, 4), the file's own boxes."""
    boxes = label(context.dataset, "face_box", "nothing can be cut out")
    return Boxes(torch.from_numpy(boxes[rows]), "the file's")


def any_box(context: Context, rows: np.ndarray) -> Boxes:
    """(n, 4), the file's own boxes, else those of the 68 landmarks; faces without one are left out."""
    boxes = (stored_box if "face_box" in context.dataset.labels else landmark_box)(context, rows)
    missing = len(all_rows(context.dataset)) - len(rows)
    return boxes._replace(what=f"{boxes.what}, {missing} faces without one left out") if missing > 0 else boxes


def points_box(context: Context, rows: np.ndarray) -> Boxes:
    """(n, 4) boxes of the .mat files' `pt2d`. Raises EvaluationError for files that were converted before it was kept."""
    if "points_box" not in context.dataset.labels:
        raise EvaluationError(
            f"{context.dataset.path}: has no 'rois_pt2d', the box of the .mat files' pt2d; convert the archive again "
            "with `ttc convert aflw2k`."
        )
    return Boxes(torch.from_numpy(context.dataset.labels["points_box"][rows]), "of pt2d with its −1 entries")


def center_box(context: Context, rows: np.ndarray) -> Boxes:
    """(n, 4) squares in the middle of the images."""
    sizes = [image_size(context.dataset.images([row])[0]) for row in rows]
    whole = torch.tensor([[s.width, s.height] for s in sizes], dtype=torch.float32)
    edge = whole.amin(-1, keepdim=True) * CENTER_SHARE
    corners = box_from_center(whole / 2, edge.expand(-1, 2))
    return Boxes(corners, f"image centre, {CENTER_SHARE:.0%} of its shorter side")


def _mesh(context: Context) -> HeadModel:
    """The face model of the file's coefficients where it is at hand, else the embedded head."""
    from trackertraincode.facemodel.load import OWN_MODELS, load_head_model  # with SciPy, which other boxes don't need

    own = OWN_MODELS.get(context.dataset.face_model)
    return own() if own is not None else load_head_model(context.face_model)


def _posed_box(context: Context, model: HeadModel, rows: np.ndarray, shapes: np.ndarray) -> Tensor:
    labels = {name: label(context.dataset, name, "heads have no outline") for name in ("rotation", "head")}
    boxes = []
    for start in range(0, len(rows), CHUNK):
        part = slice(start, start + CHUNK)
        points = torch.from_numpy(model.face_hull_points(shapes[part]))
        quats, heads = (torch.from_numpy(labels[name][rows[part]]) for name in ("rotation", "head"))
        boxes.append(bounding_box(project_weak_perspective(points, quats, heads)))
    return torch.cat(boxes) if boxes else torch.empty(0, 4)


_AFLW: dict[str, Any] = {
    "dataset": "aflw2k", "keep": aflw_rows, "labels": "AFLW2000-3D .mat", "made_with": {"close_eyes": False},
}  # fmt: skip
_CLOSED: dict[str, Any] = {**_AFLW, "dataset": "aflw2k_closedeyes", "made_with": {"close_eyes": True}}
_SIXD: dict[str, Any] = {**_AFLW, "box": points_box, "factor": SIXD_K, "framing": SIXD}
_BIWI: dict[str, Any] = {
    "dataset": "biwi", "keep": all_rows, "box": stored_box, "labels": "BIWI, colour camera", "horizontal_fov": 57.0,
}  # fmt: skip

PROTOCOLS: dict[str, Protocol] = {  # adding a protocol is adding an entry
    "aflw2k3d": Protocol(box=mesh_box, factor=1.1, **_AFLW),
    "aflw2k3d-published": Protocol(box=mean_mesh_box, factor=1.1, **_AFLW),
    "aflw2k3d-landmarks": Protocol(box=landmark_box, factor=1.1, **_AFLW),
    "aflw2k3d-centercrop": Protocol(box=center_box, factor=1.0, **_AFLW),
    "aflw2k3d-6drepnet": Protocol(**_SIXD),
    "aflw2k3d-6drepnet-folded": Protocol(euler=folded_euler_errors, **_SIXD),
    "aflw2k3d-grimaces": Protocol(box=mesh_box, factor=1.1, **(_AFLW | {"keep": grimace_rows})),
    "aflw2k3d-closedeyes": Protocol(box=mesh_box, factor=1.1, **_CLOSED),
    "biwi": Protocol(factor=1.1, made_with={"opal_annotation": False, "published_projection": False}, **_BIWI),
    "biwi-opal": Protocol(
        factor=0.8, alignment="opal", made_with={"opal_annotation": True, "published_projection": False}, **_BIWI
    ),
    "pointing04": Protocol(
        dataset="pointing04",
        keep=all_rows,
        box=stored_box,
        factor=1.1,
        angles=PITCH_YAW,
        labels="image names, 15° grid",
    ),
}


def find_protocol(name: str, catalog: dict[str, DatasetSpec]) -> Protocol:
    """Of the table (in the published spelling too), else one for all faces of a data set or of a .h5 file.

    Raises EvaluationError with the known names, those most alike first.
    """
    if name.replace("_", "-") in PROTOCOLS:
        return PROTOCOLS[name.replace("_", "-")]
    if name in catalog or is_sample_file(name):
        return Protocol(dataset=name, keep=boxed_rows, box=any_box, factor=1.1, labels="the file's")
    known = ", ".join(closest_first(name, [*PROTOCOLS, *(n for n in catalog if n not in PROTOCOLS)]))
    raise EvaluationError(f"protocol {name!r} is unknown; choose among {known}, or give a .h5 file.")
