"""Faces to measure stability on: of a sample file, or rendered with the embedded head.

sample file or scenes --> images, boxes, rotations --crops--> (n, S, S) uint8
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from trackertraincode.augmentation.warp import cut_and_resize
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.datasets.hdf5_images import decoding
from trackertraincode.datasets.spread import evenly_spread
from trackertraincode.errors import EvaluationError, SampleFormatError
from trackertraincode.evaluation.protocols import Context, aflw_rows, landmark_box, stored_box
from trackertraincode.geometry.boxes import square_crop_box
from trackertraincode.rendering.scene import FaceScene, render_scene
from trackertraincode.sample.images import ImageDecodeError, decode, image_size
from trackertraincode.sample.places import unusable
from trackertraincode.sample.sample import Sample

EDGE = 256  # of rendered images, pixels
YAWS = tuple(range(-60, 61, 15))  # degrees, of a sweep
SEED = 0  # of all scenes: score cards are compared
MILD = 0.6  # share of the usual spread of angles: with eyes that can be seen


@dataclass(frozen=True)
class Faces:
    """Images with known poses."""

    source: str  # in words
    images: tuple[bytes, ...]  # n encoded images
    boxes: Tensor  # (n, 4) x0, y0, x1, y1; pixels
    rotations: Tensor  # (n, 4) unit quaternions, float32

    def __len__(self) -> int:
        return len(self.images)

    def decoded(self, channels: int) -> list[np.ndarray]:
        """(H, W) grey or (H, W, 3) RGB, decoded. Raises SampleFormatError."""
        try:
            return [decode(data, color=channels == 3) for data in self.images]
        except ImageDecodeError as error:
            raise SampleFormatError(
                f"{self.source}: an image doesn't decode ({error}); convert the archive again."
            ) from error


def cut(image: np.ndarray, box: Tensor, factor: float, size: int, shift: Sequence[float] = (0.0, 0.0)) -> np.ndarray:
    """(H, W[, 3]) -> (S, S[, 3]) square crop around a box (4,), as evaluation makes it. shift: of the box, pixels."""
    square = square_crop_box(box, factor, torch.tensor(shift, dtype=box.dtype))
    return cut_and_resize(image, square.numpy(), size)


def faces_of_file(path: Path, count: int) -> Faces:
    """At most `count` faces, evenly spread over those with all angles within ±99 degrees.

    Boxes are those of the landmarks, or the file's own where it has no landmarks. Raises SampleFormatError,
    EvaluationError.
    """
    with Hdf5PoseDataset(path) as dataset:
        rows = aflw_rows(dataset)
        box = landmark_box if "landmarks" in dataset.labels else stored_box
        boxes, what, _ = box(Context(dataset), rows)
        known = torch.isfinite(boxes).all(-1).numpy()
        rows, boxes = rows[known], boxes[torch.from_numpy(known)]
        if not len(rows):
            raise EvaluationError(f"{path}: none of its {len(dataset)} rows has both a pose within ±99° and a box.")
        chosen = evenly_spread(len(rows), count)
        rows, boxes = rows[chosen], boxes[torch.from_numpy(chosen)]
        rotations = torch.from_numpy(dataset.labels["rotation"][rows].copy())
        images = dataset.images(rows)
        for row, image, place in zip(rows, images, boxes.numpy()):
            with decoding(path, row):
                wrong = unusable(place, image_size(image))
            if wrong:
                raise EvaluationError(f"{path}: row {row}: its box {np.round(place, 1).tolist()} {wrong}.")
        return Faces(f"{path.name}, box: {what}", tuple(images), boxes, rotations)


def rendered_faces(count: int) -> Faces:
    """Random faces of random persons."""
    rng = np.random.default_rng([SEED, 0])
    return _as_faces([render_scene(FaceScene.draw(rng), EDGE) for _ in range(count)])


def blink_pairs(count: int) -> tuple[Faces, Faces]:
    """The same scenes with both eyes open and shut; the boxes are those of the open ones."""
    rng = np.random.default_rng([SEED, 1])
    scenes = [_plain(FaceScene.draw(rng, spread=MILD)) for _ in range(count)]
    opened = [replace(s, expression=np.concatenate([[0.0, 0.0], s.expression[2:]])) for s in scenes]
    pair = [
        _as_faces([render_scene(s, EDGE) for s in half]) for half in (opened, [s.with_closed_eyes() for s in scenes])
    ]
    return pair[0], replace(pair[1], boxes=pair[0].boxes)


def yaw_sweeps(count: int) -> Faces:
    """`count` scenes, each at all of YAWS with pitch and roll 0; scene by scene."""
    rng = np.random.default_rng([SEED, 2])
    scenes = [_plain(FaceScene.draw(rng)) for _ in range(count)]
    turned = [replace(s, pitch_yaw_roll=(0.0, float(np.radians(yaw)), 0.0)) for s in scenes for yaw in YAWS]
    return _as_faces([render_scene(s, EDGE) for s in turned])


def _plain(scene: FaceScene) -> FaceScene:
    """Nothing in front of the eyes."""
    return replace(scene, person=replace(scene.person, glasses=""), occluders=0)


def _as_faces(samples: Sequence[Sample]) -> Faces:
    boxes, images, rotations = [], [], []
    for sample in samples:
        assert isinstance(sample.image, bytes)
        assert sample.landmarks is not None
        assert sample.rotation is not None
        points = sample.landmarks[:, :2]
        boxes.append(np.concatenate([points.min(0), points.max(0)]))
        images.append(sample.image)
        rotations.append(sample.rotation)
    quats = torch.from_numpy(np.stack(rotations))
    return Faces(
        "rendered faces, box: of the 68 landmarks", tuple(images), torch.from_numpy(np.stack(boxes)).float(), quats
    )
