"""Is a sample file what the sample format says? Every row that isn't is named.

file --check_file--> Fault(row, data set, what is wrong), one after the other, in constant memory
"""

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from trackertraincode.datasets import dshdf5, plausibility
from trackertraincode.datasets.sample_file import bad_quaternions
from trackertraincode.datasets.shards import Samples, open_samples
from trackertraincode.errors import SampleFormatError
from trackertraincode.facemodel.head_model import HeadModel
from trackertraincode.facemodel.landmarks68 import EYE_CORNERS
from trackertraincode.facemodel.load import OWN_MODELS, load_head_model
from trackertraincode.files import files_of
from trackertraincode.geometry.camera import project_weak_perspective
from trackertraincode.geometry.euler import matrix_to_aflw
from trackertraincode.geometry.rotation import quat_to_matrix
from trackertraincode.sample.fields import SEQUENCE_STARTS, Kind
from trackertraincode.sample.images import ImageDecodeError, Size, check_image, decode_labels
from trackertraincode.sample.sample import BY_ATTRIBUTE, LABELS

CHUNK_ROWS = 64  # images in memory at once
LANDMARK_TOLERANCE = 0.2  # head radii, mean over the 68 points; 1,599 real samples stay below 0.05
COMPARED = ("rotation", "head", "landmarks", "shape")  # labels that must agree with each other
DIGEST = 16  # bytes
NEAR = 0.5  # image sizes by which the middle of a label may lie outside, as in images cut at the forehead


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong."""

    row: int | None  # None: of the whole file
    field: str  # data set, empty for the file itself
    message: str

    def __str__(self) -> str:
        where = "" if self.row is None else f"row {self.row}: "
        return f"{where}{self.field}: {self.message}" if self.field else f"{where}{self.message}"


@dataclass
class Whole:
    """What is remembered of all rows, for what only shows in all together: 52 bytes of each."""

    sizes: list[np.ndarray] = dataclasses.field(default_factory=list)  # (n, 2) each, infinite where not known
    digests: bytearray = dataclasses.field(default_factory=bytearray)  # of encoded images, DIGEST bytes each
    boxes: list[np.ndarray] = dataclasses.field(default_factory=list)  # (n, 4) each
    angles: list[np.ndarray] = dataclasses.field(default_factory=list)  # (n, 3) each, degrees

    def suspicions(self) -> list[str]:
        """What looks wrong although each row is possible."""
        boxes = np.concatenate(self.boxes) if self.boxes else None
        sizes = np.concatenate(self.sizes) if self.sizes else np.empty((0, 2), np.float32)
        angles = np.concatenate(self.angles) if self.angles else None
        repeated = plausibility.copies(np.frombuffer(self.digests, f"S{DIGEST}"))
        found = plausibility.suspicions(boxes, sizes, angles)
        return [*found, plausibility.describe_copies(repeated)] if repeated else found


def check_file(
    path: Path,
    face_model: HeadModel | None = None,
    workers: int = 0,
    progress: Callable[[int, int], object] = lambda done, total: None,
    whole: Whole | None = None,
) -> Iterator[Fault]:
    """All faults of a file, those of its structure first.

    face_model: to compare landmarks with pose and coefficients; left out where it isn't the file's. workers: threads
    that decode images (OpenCV works outside of Python's lock), 0 decodes in this one. progress: told how many rows
    are done, and of how many. whole: gets what its `suspicions` need. Raises SampleFormatError when the file can't be
    opened at all.
    """
    for part in files_of(path):
        dshdf5.open_file(part).close()
    try:
        file = open_samples(path)
    except SampleFormatError as error:
        yield Fault(None, "", _without_path(error, path))
        return
    with file, ThreadPoolExecutor(max(1, workers)) as pool:
        if len(file) == 0:
            yield Fault(None, file.name("image"), "no rows")
        usable = []
        for attribute in file.fields:
            fault = _fault_of_structure(file, attribute)
            if fault is None:
                usable.append(attribute)
            else:
                yield fault
        try:
            _ = file.starts
        except SampleFormatError as error:
            yield Fault(None, SEQUENCE_STARTS, _without_path(error, path))
        model = face_model if face_model is not None and face_model.name == file.face_model else None
        whole = Whole() if whole is None else whole
        for start in range(0, len(file), CHUNK_ROWS):
            rows = range(start, min(start + CHUNK_ROWS, len(file)))
            found = list(_check_rows(file, usable, rows, model, pool if workers else None, whole))
            yield from sorted(found, key=lambda fault: -1 if fault.row is None else fault.row)
            progress(rows.stop, len(file))


def head_model_for(path: Path, face_model: Path | None) -> tuple[HeadModel | None, str]:
    """The model to compare a file's landmarks with, None where there is nothing to compare; what that leaves out.

    face_model: bfm_noneck_v3.pkl, None to look in $DATADIR. Raises SampleFormatError, ModelFileError.
    """
    with open_samples(path) as file:
        if not set(COMPARED) <= set(file.fields):
            return None, f"landmarks aren't compared with the pose, which takes {', '.join(COMPARED)}"
        wanted = file.face_model
    model = OWN_MODELS[wanted]() if wanted in OWN_MODELS else load_head_model(face_model)
    if model.name != wanted:
        return None, f"landmarks aren't compared with the pose, which takes {wanted}: give it as --face-model"
    return model, ""


def _without_path(error: Exception, path: Path) -> str:
    return str(error).removeprefix(f"{path}: ")


def _fault_of_structure(file: Samples, attribute: str) -> Fault | None:
    """What is wrong with a field as a whole."""
    try:
        file.check(attribute)
    except SampleFormatError as error:
        return Fault(None, "", _without_path(error, file.path))
    return None


def _check_rows(
    file: Samples,
    usable: Sequence[str],
    rows: range,
    model: HeadModel | None,
    pool: ThreadPoolExecutor | None,
    whole: Whole,
) -> Iterator[Fault]:
    labels: dict[str, np.ndarray] = {}
    for attribute in usable:
        if attribute in LABELS:
            try:
                labels[attribute] = file.raw(attribute, rows)
            except SampleFormatError as error:
                yield Fault(None, "", _without_path(error, file.path))
    sizes: dict[int, Size] = {}
    for attribute in ("image", "segmentation"):
        if attribute in usable:
            yield from _check_images(file, attribute, rows, sizes, whole, pool)
    whole.sizes.append(np.array([sizes.get(row, (np.inf, np.inf)) for row in rows], np.float32))
    if "face_box" in labels:
        whole.boxes.append(labels["face_box"])
    if "rotation" in labels:
        angles = matrix_to_aflw(quat_to_matrix(torch.from_numpy(labels["rotation"])))
        whole.angles.append(np.degrees(angles.numpy()))
    for attribute, values in labels.items():
        for i, message in check_values(attribute, values):
            yield Fault(rows[i], file.name(attribute), message)
        for i, row in enumerate(rows):
            if row in sizes and not is_near_image(attribute, values[i], sizes[row]):
                place = f"its middle lies far outside of the image of {sizes[row].width} × {sizes[row].height} pixels"
                yield Fault(row, file.name(attribute), place)
    if model is not None:
        for i, message in check_landmarks(labels, model):
            yield Fault(rows[i], file.name("landmarks"), message)


def check_values(attribute: str, values: np.ndarray) -> Iterator[tuple[int, str]]:
    """(n, ...) rows of one label -> index and fault. A row of nothing but NaN lacks the label, which is fine."""
    kind = LABELS[attribute].kind
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


def is_near_image(attribute: str, value: np.ndarray, size: Size) -> bool:
    """Whether the middle of a head (3,), a box (4,) or of points (n, 2 or 3) is in the image or near it.

    At most NEAR of its size outside is near.
    """
    kind = LABELS[attribute].kind
    if kind is Kind.BOX:
        middle = (value[:2] + value[2:]) / 2
    elif kind is Kind.HEAD:
        middle = value[:2]
    elif kind is Kind.POINTS:
        middle = value[:, :2].mean(0)
    else:
        return True
    extent = np.array(size, np.float64)
    return not np.isfinite(middle).all() or bool((np.abs(middle - extent / 2) <= extent * (0.5 + NEAR)).all())


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
    difference = landmarks[usable] - expected
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


def _check_images(
    file: Samples, attribute: str, rows: range, sizes: dict[int, Size], whole: Whole, pool: ThreadPoolExecutor | None
) -> Iterator[Fault]:
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
    function = decode_size if attribute == "image" else decode_label_size
    outcomes: Sequence[Size | str] = list((pool.map if pool is not None else map)(function, encoded))
    for row, outcome in zip(rows, outcomes):
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
        return _without_path(error, file.path)


def decode_size(data: bytes | str) -> Size | str:
    """Size of an image that decodes to its end, else what is wrong. A text is passed through."""
    if isinstance(data, str):
        return data
    try:
        return check_image(data)
    except ImageDecodeError as error:
        return str(error)


def decode_label_size(data: bytes | str) -> Size | str:
    """As `decode_size`, of a label image."""
    if isinstance(data, str):
        return data
    try:
        height, width = decode_labels(data).shape
    except ImageDecodeError as error:
        return str(error)
    return Size(width, height)
