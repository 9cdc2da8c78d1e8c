"""A sample file to one with each face at many poses: the source of samples for the engine of the converters.

SRC.h5 --row by row--> original, copies --run_converter--> DST.h5 or an archive in the layout of 300W-LP
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from trackertraincode.conversion.archive import naming
from trackertraincode.conversion.faces import box_around, place_crop
from trackertraincode.conversion.run import Source
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset, opened
from trackertraincode.errors import SampleFormatError, UserError
from trackertraincode.expansion.draw import draw, draw_classes
from trackertraincode.expansion.eyelids import with_closed_eyes
from trackertraincode.expansion.heads import head_in, why_not
from trackertraincode.expansion.light import Spotlight, shade
from trackertraincode.expansion.mesh_file import write_mesh
from trackertraincode.expansion.opengl import draw_opengl
from trackertraincode.expansion.poses import draw_poses
from trackertraincode.expansion.sheet import Sheet, build_sheet
from trackertraincode.expansion.turning import Turn, angles_of, deep_landmarks, project, rotation_of, turn_labels
from trackertraincode.facemodel.head_model import HeadModel
from trackertraincode.facemodel.load import OWN_MODELS, load_head_model
from trackertraincode.geometry.euler import aflw_to_matrix
from trackertraincode.sample.fields import Kind
from trackertraincode.sample.images import Size, check_image, decode, decode_labels, encode_jpeg
from trackertraincode.sample.sample import LABELS, Sample

RENDERERS = ("software", "pyrender")
SAME_POINT = 0.06  # head radii between a 2-D and a 3-D landmark that mean the same place
LARGE = 1_000_000  # pixels of an image of which only the head's surroundings are drawn
ROWS_PER_TASK = 2


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What all rows of a run share; small, so that it can travel to workers."""

    source: Path
    face_model: Path | None
    yaw_step: float  # radians
    closed_eyes: float  # probability of a copy
    spotlight: float  # probability of a copy
    seed: int
    renderer: str = RENDERERS[0]
    meshes: Path | None = None  # folder for what is turned


@dataclass(frozen=True)
class Face:
    """One face ready to turn: its image, labels, head and sheet."""

    image: np.ndarray  # (H, W, 3)
    sample: Sample
    local: np.ndarray  # (V, 3)
    keypoints: np.ndarray  # (68,) vertices that are landmarks
    sheet: Sheet
    classes: np.ndarray | None  # (H, W)
    coefficients_of: str  # name of the face model of the sample's shape

    def turn_to(self, angles: np.ndarray) -> Turn:
        """To (3,) pitch, yaw, roll of AFLW."""
        assert self.sample.head is not None
        after = aflw_to_matrix(torch.as_tensor(angles, dtype=torch.float64)).numpy()
        return Turn(rotation_of(self.sample), after, self.sample.head.astype(np.float64))


def make_source(settings: Settings) -> Source:
    """All rows of the file. Raises SampleFormatError, or UserError for a file without poses."""
    with Hdf5PoseDataset(settings.source, labels=()) as dataset:
        missing = [name for name in ("rotation", "head") if name not in dataset.fields]
        if missing:
            raise UserError(
                f"{settings.source}: has no {' and no '.join('quats' if m == 'rotation' else 'coords' for m in missing)}, "
                "without which no face can be turned; `ttc fit` finds them from landmarks, `ttc pseudolabels` from images."
            )
        model = _model(settings.face_model, dataset.face_model)
        notes: tuple[str, ...] = ()
        if "shape" in dataset.fields and dataset.face_model != model.name:
            notes = (
                f"{settings.source}: its coefficients are of {dataset.face_model}; heads are drawn with {model.name}, "
                "fitted to the landmarks.",
            )
        return Source(
            items=[SourceRow(settings.source, row) for row in range(len(dataset))],
            convert=partial(expand_row, settings),
            face_model=dataset.face_model if "shape" in dataset.fields else None,
            optional=tuple(a for a in dataset.fields if a in LABELS and LABELS[a].kind is not Kind.FLAG),
            notes=notes,
            items_per_task=ROWS_PER_TASK,
        )


@dataclass(frozen=True)
class SourceRow:
    """Of the source."""

    path: Path
    number: int

    def __str__(self) -> str:
        return f"{self.path.name} row {self.number}"


@cache
def _model(path: Path | None, coefficients_of: str) -> HeadModel:
    """The user's; else that of the file's coefficients; else the embedded head."""
    own = OWN_MODELS.get(coefficients_of)
    return own() if path is None and own is not None else load_head_model(path)


def expand_row(settings: Settings, row: SourceRow) -> list[Sample]:
    """The original, then its copies. Raises SampleFormatError for a face that can't be turned."""
    dataset = opened(row.path)
    (original,) = dataset.stream([row.number], exact=True)
    original = replace(original, name=str(row), sequence=original.sequence or str(row.number))
    model = _model(settings.face_model, dataset.face_model)
    face = load_face(original, model, dataset.face_model)
    if settings.meshes is not None:
        write_mesh(settings.meshes / f"{row.number:06d}.glb", face.image, face.sheet)
    rng = np.random.default_rng([settings.seed, row.number])
    return [original, *copies(face, model, settings, rng)]


def load_face(sample: Sample, model: HeadModel, coefficients_of: str) -> Face:
    """Decode a sample and build its sheet. Raises SampleFormatError for a face that can't be turned."""
    if sample.rotation is None or sample.head is None:
        raise SampleFormatError(f"{sample.name}: has no pose; `ttc fit` finds it from landmarks.")
    with naming(sample.name):
        image, classes = _image(sample), _classes(sample)
    if classes is not None and classes.shape != image.shape[:2]:
        raise SampleFormatError(f"{sample.name}: image and label image have different sizes.")
    local = head_in(sample, model, coefficients_of)
    if reason := why_not(sample, local, model, image.shape[1], image.shape[0]):
        raise SampleFormatError(f"{sample.name}: {reason}.")
    if image.shape[0] * image.shape[1] > LARGE:
        sample, image, classes = _surroundings(sample, image, classes, local)
    assert sample.head is not None
    sheet = build_sheet(local, model, rotation_of(sample), sample.head.astype(np.float64))
    return Face(image, sample, local, model.keypoints, sheet, classes, coefficients_of)


def _image(sample: Sample) -> np.ndarray:
    if isinstance(sample.image, np.ndarray):
        return sample.image
    check_image(sample.image)
    return decode(sample.image, color=True)


def _classes(sample: Sample) -> np.ndarray | None:
    value = sample.segmentation
    return decode_labels(value) if isinstance(value, bytes) else value


def _surroundings(
    sample: Sample, image: np.ndarray, classes: np.ndarray | None, local: np.ndarray
) -> tuple[Sample, np.ndarray, np.ndarray | None]:
    """What is around the face of a large image, as converters keep it."""
    assert sample.head is not None
    box = sample.face_box
    if box is None:
        box = box_around(project(local, rotation_of(sample), sample.head.astype(np.float64)))
    placement = place_crop(Size(image.shape[1], image.shape[0]), box)
    if placement is None:
        raise SampleFormatError(f"{sample.name}: the face box lies outside of the image.")
    labels = {a: value for a in LABELS if (value := getattr(sample, a)) is not None and np.ndim(value)}
    moved = replace(sample, **placement.move_labels(labels))
    pixels = placement.move_pixels(image, cv2.INTER_AREA)
    return moved, pixels, None if classes is None else placement.move_pixels(classes, cv2.INTER_NEAREST_EXACT)


def copies(face: Face, model: HeadModel, settings: Settings, rng: np.random.Generator) -> Iterator[Sample]:
    """The face at the poses that are drawn for it."""
    shut: Face | None = None
    closed = None
    if settings.closed_eyes:
        closed = with_closed_eyes(face.sample, face.image, face.classes, face.local, model, face.coefficients_of)
    if closed is not None:
        sample, image, classes = closed
        shut = replace(face, sample=sample, image=image, classes=classes)
    poses = draw_poses(angles_of(rotation_of(face.sample)), settings.yaw_step, rng)
    for number, angles in enumerate(poses, 1):
        shown = shut if shut is not None and rng.random() < settings.closed_eyes else face
        light = Spotlight.draw(rng) if rng.random() < settings.spotlight else None
        copy = turned_copy(shown, model, shown.turn_to(angles), light, settings.renderer)
        yield replace(copy, name=f"{face.sample.name} copy {number}")


def turned_copy(
    face: Face, model: HeadModel, turn: Turn, light: Spotlight | None = None, renderer: str = RENDERERS[0]
) -> Sample:
    """One image and its labels."""
    turned = face.sheet.turned(turn)
    lit = None if light is None else shade(turned, light, float(turn.head[2]))
    labels: dict[str, Any] = turn_labels(face.sample, turn, face.local, model)
    if face.sample.landmarks_2d is not None:
        labels["landmarks_2d"] = turn.points(_lifted(face, turn))[:, :2]
    if face.classes is not None:
        labels["segmentation"] = draw_classes(face.classes, turned)
    drawn = (draw_opengl if renderer == "pyrender" else draw)(face.image, turned, lit)
    return replace(face.sample, image=encode_jpeg(drawn), **labels)


def _lifted(face: Face, turn: Turn) -> np.ndarray:
    """(68, 3): 2-D landmarks with the depth of the 3-D landmark that they mean, or of what is there in the image."""
    assert face.sample.landmarks_2d is not None
    lifted = face.sheet.on_surface(face.sample.landmarks_2d)
    if face.sample.landmarks is not None:
        points = deep_landmarks(face.sample, turn, face.local[face.keypoints])
        same = np.linalg.norm(points[:, :2] - lifted[:, :2], axis=1) < SAME_POINT * turn.head[2]
        lifted[same, 2] = points[same, 2]
    return lifted
