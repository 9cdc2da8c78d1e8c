"""What is wrong with some rows of a sample file: labels that can't be, images that don't decode, labels that disagree.

labels, images of the rows --check_rows--> Fault(row, field, what is wrong), in no order
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from trackertraincode.datasets.plausibility import DIGEST, Whole
from trackertraincode.datasets.sample_file import NO_INDEX, bad_quaternions
from trackertraincode.datasets.shards import Samples
from trackertraincode.errors import SampleFormatError
from trackertraincode.facemodel.head_model import HeadModel
from trackertraincode.facemodel.landmarks68 import EYE_CORNERS
from trackertraincode.geometry.camera import project_weak_perspective
from trackertraincode.geometry.euler import matrix_to_aflw
from trackertraincode.geometry.rotation import quat_to_matrix
from trackertraincode.sample.fields import Kind
from trackertraincode.sample.images import ImageDecodeError, Size, check_image, decode_labels
from trackertraincode.sample.places import SIZES, misplaced, sizes_in_boxes
from trackertraincode.sample.sample import BY_ATTRIBUTE, LABELS

LANDMARK_TOLERANCE = 0.2  # head radii, mean over the 68 points; 1,599 real samples stay below 0.05
COMPARED = ("rotation", "head", "landmarks", "shape")  # labels that must agree with each other


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong."""

    row: int | None  # None: of the whole file
    field: str  # HDF5 name, empty for the file itself
    message: str

    def __str__(self) -> str:
        where = "" if self.row is None else f"row {self.row}: "
        return f"{where}{self.field}: {self.message}" if self.field else f"{where}{self.message}"


def check_rows(
    file: Samples, usable: Sequence[str], rows: range, model: HeadModel | None, whole: Whole
) -> Iterator[Fault]:
    """All faults of some rows. usable: attributes whose structure is right. whole: gets what is remembered of them."""
    labels: dict[str, np.ndarray] = {}
    for attribute in usable:
        if attribute in LABELS:
            try:
                labels[attribute] = file.raw(attribute, rows)
            except SampleFormatError as error:
                yield Fault(None, "", without_path(error, file.path))
    sizes: dict[int, Size] = {}
    for attribute in ("image", "segmentation"):
        if attribute in usable:
            yield from _check_images(file, attribute, rows, sizes, whole)
    of_rows = [sizes.get(row) for row in rows]
    _remember(whole, labels, of_rows)
    for attribute, values in labels.items():
        for i, message in (*check_values(attribute, values), *check_places(attribute, values, of_rows)):
            yield Fault(rows[i], file.name(attribute), message)
    if model is not None:
        for i, message in check_landmarks(labels, model):
            yield Fault(rows[i], file.name("landmarks"), message)


def _remember(whole: Whole, labels: dict[str, np.ndarray], sizes: Sequence[Size | None]) -> None:
    """What `whole` judges all rows by. labels: (n, ...) each, by attribute."""
    whole.sizes.append(np.array([size or (np.inf, np.inf) for size in sizes], np.float32))
    if "face_box" in labels:
        whole.boxes.append(labels["face_box"])
        for name in SIZES.keys() & labels.keys():
            whole.in_boxes[name].append(sizes_in_boxes(labels["face_box"], name, labels[name]))
    if "rotation" in labels:
        angles = np.degrees(matrix_to_aflw(quat_to_matrix(torch.from_numpy(labels["rotation"]))).numpy())
        stored = labels.get("stored_angles", angles)
        whole.angles.append(np.where(np.isfinite(stored), stored, angles))


def check_values(attribute: str, values: np.ndarray) -> Iterator[tuple[int, str]]:
    """(n, ...) rows of one label -> index and fault. A row of nothing but NaN lacks the label, which is fine."""
    kind = LABELS[attribute].kind
    if kind is Kind.INDEX:
        yield from (
            (int(i), f"{values[i]}, expected a person's number, from 0") for i in np.flatnonzero(values < NO_INDEX)
        )
    if values.dtype.kind != "f":
        return
    flat = values.reshape(len(values), -1)
    absent = np.isnan(flat).all(1)
    known = values[..., :2].reshape(len(values), -1) if kind is Kind.POINTS else flat
    depths_wrong = np.zeros(len(values), bool)
    if attribute == "landmarks":  # depths may be unknown, then all of them
        depths = values[..., 2]
        depths_wrong = ~(np.isfinite(depths).all(1) | np.isnan(depths).all(1))
    infinite = ~absent & (~np.isfinite(known).all(1) | depths_wrong)
    for i in np.flatnonzero(infinite):
        yield int(i), f"{(~np.isfinite(flat[i])).sum()} of {flat.shape[1]} numbers are NaN or infinite"
    fine = ~absent & ~infinite
    if kind is Kind.ROTATION:
        for i in np.flatnonzero(fine & bad_quaternions(values)):
            yield int(i), f"norm {np.linalg.norm(values[i]):.4f}, expected 1"
    elif kind is Kind.HEAD:
        for i in np.flatnonzero(fine & ~(values[:, 2] > 0)):
            yield int(i), f"head radius {values[i, 2]:.2f}, expected more than 0 pixels"
    elif kind is Kind.BOX:
        for i in np.flatnonzero(fine & ~((values[:, 2:] > values[:, :2]).all(1))):
            yield int(i), f"box {np.round(values[i], 1).tolist()} has no area, expected x0 < x1 and y0 < y1"


def check_places(attribute: str, values: np.ndarray, sizes: Sequence[Size | None]) -> Iterator[tuple[int, str]]:
    """(n, ...) rows of one label and the sizes of their images, None for what doesn't decode -> index and fault."""
    for i, size in enumerate(sizes):
        if size is not None and (wrong := misplaced(LABELS[attribute].kind, values[i], size)):
            yield i, wrong


def check_landmarks(labels: dict[str, np.ndarray], model: HeadModel) -> Iterator[tuple[int, str]]:
    """Rows whose 3-D landmarks aren't where pose and coefficients put the model's key points: index and fault.

    labels: (n, ...) each, by attribute.
    """
    if any(name not in labels for name in COMPARED):
        return
    rotation, head, landmarks, shape = (labels[name] for name in COMPARED)
    finite = [np.isfinite(v).reshape(len(v), -1).all(1) for v in (rotation, head, landmarks[..., :2], shape)]
    usable = np.flatnonzero(np.all(finite, axis=0) & (head[:, 2] > 0) & ~bad_quaternions(rotation))
    if not len(usable):
        return
    points, quats, heads = model.keypoints68(shape[usable]), rotation[usable], head[usable]
    expected = project_weak_perspective(*(torch.from_numpy(v) for v in (points, quats, heads))).numpy()
    difference = landmarks[usable].astype(np.float64) - expected  # squares of huge ones would be too much for float32
    # Depths count from the eye corners; published files of rotated images shift them all by up to 0.3 head radii.
    difference[..., 2] -= difference[:, list(EYE_CORNERS), 2].mean(1, keepdims=True)
    difference[np.isnan(difference)] = 0.0  # unknown depths
    distances = np.linalg.norm(difference, axis=-1).mean(1) / heads[:, 2]
    for i in np.flatnonzero(distances > LANDMARK_TOLERANCE):
        yield (
            int(usable[i]),
            (
                f"on average {distances[i]:.2f} head radii from where pose and coefficients of {model.name} put them, "
                f"expected at most {LANDMARK_TOLERANCE}"
            ),
        )


def _check_images(file: Samples, attribute: str, rows: range, sizes: dict[int, Size], whole: Whole) -> Iterator[Fault]:
    """Decode; sizes of images are added to `sizes`, those of label images are compared with them."""
    name = BY_ATTRIBUTE[attribute]
    encoded: list[bytes | str]
    try:
        encoded = list(file.images(rows, attribute))
    except SampleFormatError:
        encoded = [_read_one(file, attribute, row) for row in rows]
    if attribute == "image":
        texts = (text.encode(errors="replace") if isinstance(text, str) else text for text in encoded)
        whole.digests += b"".join(hashlib.blake2b(text, digest_size=DIGEST).digest() for text in texts)
    for row, outcome in zip(rows, [decode_size(data, attribute) for data in encoded]):
        if isinstance(outcome, str):
            yield Fault(row, name, outcome)
        elif attribute == "image":
            sizes[row] = outcome
        elif row in sizes and outcome != sizes[row]:
            yield Fault(row, name, f"{tuple(outcome)} pixels, expected those of the image, {tuple(sizes[row])}")


def _read_one(file: Samples, attribute: str, row: int) -> bytes | str:
    """The encoded image, or what is wrong with it."""
    try:
        return file.images([row], attribute)[0]
    except SampleFormatError as error:
        return without_path(error, file.path)


def decode_size(data: bytes | str, attribute: str = "image") -> Size | str:
    """Size of an image or label image that decodes to its end, else what is wrong. A text is passed through."""
    if isinstance(data, str):
        return data
    try:
        return check_image(data) if attribute == "image" else Size(*reversed(decode_labels(data).shape))
    except ImageDecodeError as error:
        return str(error)


def without_path(error: Exception, path: Path) -> str:
    """What an error says, for a list that names the file itself."""
    return str(error).removeprefix(f"{path}: ")
