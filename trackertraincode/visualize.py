"""Draw what a data set says of an image, and what a network says of it.

    image, labels --cut_out--> square around the face, moved labels --draw_sample--> image --contact_sheet--> sheet

All images are RGB uint8 arrays, (H, W, 3) or grey (H, W); nothing is drawn into an argument. Labels are a `Sample`,
or a mapping from its attribute names to arrays; all count from the image's corner. What is None or NaN isn't drawn.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from trackertraincode.drawing import (
    AXIS_COLORS,
    Color,
    as_rgb,
    draw_axes,
    draw_box_and_head,
    draw_labels,
    draw_points,
    draw_text,
    line_width,
    put,
)
from trackertraincode.files import whole_file
from trackertraincode.geometry import affine2d
from trackertraincode.geometry.boxes import square_crop_box
from trackertraincode.sample.fields import Kind
from trackertraincode.sample.images import encode_for
from trackertraincode.sample.moving import move
from trackertraincode.sample.sample import LABELS, Batch, Prediction, Sample

Labels = Mapping[str, Any]

FARTHEST = 1e6  # times the longer edge of an image: a face that is larger, or farther away, can't be cut out
TRUE_COLOR: Color = (60, 230, 60)
PREDICTED_COLOR: Color = (255, 150, 30)


def draw_sample(image: np.ndarray, labels: Sample | Labels, *, edge: int | None = None) -> np.ndarray:
    """A drawn copy (H, W, 3): box, head circle, pose axes, landmarks joined by groups, 2-D landmarks as white dots.

    edge: scale the image so that its longer side has this many pixels, before anything is drawn.
    """
    return draw_labels(*_prepare(image, labels, edge))


def draw_prediction(
    image: np.ndarray, predicted: Sample | Labels, truth: Sample | Labels | None = None, *, edge: int | None = None
) -> np.ndarray:
    """A drawn copy (H, W, 3) of predicted values in image pixels, in orange; the truth below it, in green.

    The predicted axes keep their three colours, the true ones are thin and green. edge: as in `draw_sample`.
    """
    canvas = _prepare(image, {}, edge)[0]
    for labels, color in ((truth, TRUE_COLOR), (predicted, PREDICTED_COLOR)):
        if labels is None:
            continue
        values = _prepare(image, labels, edge)[1]
        draw_box_and_head(canvas, values, color, color)
        draw_points(canvas, values, color)
        is_truth = color is TRUE_COLOR
        draw_axes(canvas, values, (color,) * 3 if is_truth else AXIS_COLORS, line_width(canvas) + (not is_truth))
    return canvas


def draw_batch(batch: Batch, predicted: Prediction, *, edge: int = 256) -> list[np.ndarray]:
    """Crops of pixels 0…255 with truth and prediction, both in normalised crop coordinates; (edge, edge, 3) each."""
    to_pixels = affine2d.invert(affine2d.pixels_to_normalized(batch.image.shape[-1]))
    drawn = []
    for i, image in enumerate(batch.image):
        pixels = image.permute(1, 2, 0).clamp(0, 255).to(torch.uint8).numpy()
        pixels = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
        rows = ({n: getattr(values, n)[i] for n in LABELS if getattr(values, n, None) is not None}
                for values in (predicted, batch))  # fmt: skip
        labels = [_move(_known(row), to_pixels) for row in rows]
        drawn.append(draw_prediction(pixels, labels[0], labels[1], edge=edge))
    return drawn


def draw_segmentation(image: np.ndarray, classes: np.ndarray, opacity: float = 0.5) -> np.ndarray:
    """A copy (H, W, 3) with the label image (H, W) over it, each class in its own colour; class 0 stays clear."""
    canvas = as_rgb(image)
    hues = (np.arange(256) * 67 % 180).astype(np.uint8)  # neighbouring numbers get distant colours
    hsv = np.stack([hues, np.full_like(hues, 200), np.full_like(hues, 255)], axis=-1)
    table = cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)
    mixed = cv2.addWeighted(canvas, 1.0 - opacity, table[0][classes], opacity, 0.0)
    return np.where((classes > 0)[..., None], mixed, canvas)


def contact_sheet(images: Sequence[np.ndarray], columns: int, *, gap: int = 4) -> np.ndarray:
    """Images row by row on one dark sheet (H, W, 3). Each gets a cell of the largest width and height.

    Raises ValueError when there are no images.
    """
    if not images:
        raise ValueError("a contact sheet needs at least one image")
    columns = min(columns, len(images))
    height = max(p.shape[0] for p in images) + gap
    width = max(p.shape[1] for p in images) + gap
    rows = -(-len(images) // columns)
    sheet = np.full((rows * height + gap, columns * width + gap, 3), 24, np.uint8)
    for index, image in enumerate(images):
        top, left = (index // columns) * height + gap, (index % columns) * width + gap
        sheet[top : top + image.shape[0], left : left + image.shape[1]] = as_rgb(image)
    return sheet


def cut_out(
    image: np.ndarray, labels: Sample | Labels, edge: int, factor: float = 1.5
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """(edge, edge[, 3]): the square around the face, scaled, and its labels; black outside of the image.

    factor: of the longer box side. Without a box, the square is around the head; else, and where these are absurd, it is the
    whole image.
    """
    known = _known(labels)
    height, width = image.shape[:2]
    if "face_box" in known:
        box = torch.as_tensor(known["face_box"])
    elif "head" in known:
        x, y, radius = known["head"]
        box = torch.tensor([x - radius, y - radius, x + radius, y + radius])
    else:
        box, factor = torch.tensor([0.0, 0.0, width, height]), 1.0
    if float(box.abs().max()) > FARTHEST * max(width, height):  # nothing of the face would be seen
        box, factor = torch.tensor([0.0, 0.0, width, height]), 1.0
    affine = affine2d.box_to_square(square_crop_box(box.float(), factor), edge)
    return _warp(image, affine, edge, edge), _move(known, affine)


def draw_histograms(values: Mapping[str, np.ndarray]) -> np.ndarray:
    """(H, W, 3): one bar chart per named array of numbers, side by side, with range, mean and spread."""
    return contact_sheet([_histogram(name, np.asarray(v)) for name, v in values.items()], len(values))


def write_image(path: Path, image: np.ndarray) -> None:
    """Write (H, W) or (H, W, 3) RGB as .png or .jpg. Raises UserError for other names and for too large images."""
    content = encode_for(path, image)
    with whole_file(path) as temporary:
        temporary.write_bytes(content)


def _histogram(name: str, values: np.ndarray) -> np.ndarray:
    width, height, bins = 360, 240, 36
    canvas = np.full((height, width, 3), 40, np.uint8)
    values = values[np.isfinite(values)].astype(np.float64)  # float32 has no room for bins between neighbours
    if not len(values):
        return draw_text(canvas, [f"{name}: none"], 0.45)
    least, most = values.min(), values.max()
    room = 2 * bins * np.spacing(np.abs(values).max())  # that bins between such numbers need
    if most - least <= room:
        least, most = least - max(0.5, room), most + max(0.5, room)
    counts, edges = np.histogram(values, bins, (least, most))
    top, bottom = 44, height - 22
    lefts = np.linspace(8, width - 8, bins + 1).round().astype(int)
    for count, left, right in zip(counts, lefts[:-1], lefts[1:]):
        bar = round((bottom - top) * count / counts.max())
        if bar:
            cv2.rectangle(canvas, (int(left), bottom - bar), (int(right) - 2, bottom), (90, 170, 255), -1)
    for value, place in ((edges[0], 8), (edges[-1], width - 64)):
        put(canvas, f"{value:.1f}", (place, height - 6), 0.42, (220, 220, 220))
    return draw_text(canvas, [f"{name}", f"n {len(values)}  mean {values.mean():.1f}  std {values.std():.1f}"], 0.45)


def _known(labels: Sample | Labels) -> dict[str, np.ndarray]:
    """Labels that can be drawn, as float32 arrays of one row's shape."""
    if isinstance(labels, Sample):
        labels = {f.name: getattr(labels, f.name) for f in fields(labels)}
    kinds = (Kind.ROTATION, Kind.HEAD, Kind.BOX, Kind.POINTS)
    found = {}
    for name, field in LABELS.items():
        value = labels.get(name)
        if field.kind in kinds and value is not None:
            array = np.asarray(value, np.float32).copy()
            if np.isfinite(array[..., :2] if field.kind is Kind.POINTS else array).all():  # depths may be unknown
                found[name] = array
    return found


def _prepare(image: np.ndarray, labels: Sample | Labels, edge: int | None) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """An RGB copy (H, W, 3) of the wanted size, and the labels in its pixels."""
    known = _known(labels)
    if edge is None:
        return as_rgb(image), known
    height, width = image.shape[:2]
    factor = edge / max(width, height)
    new_width, new_height = max(1, round(width * factor)), max(1, round(height * factor))
    affine = affine2d.scaling(torch.tensor([new_width / width, new_height / height]))
    return _warp(image, affine, new_width, new_height), _move(known, affine)


def _warp(image: np.ndarray, affine: torch.Tensor, width: int, height: int) -> np.ndarray:
    """An RGB copy (height, width, 3) under a map (2, 3); shrinking averages."""
    source = as_rgb(image)
    shrink = int(1.0 / float(affine2d.scale_of(affine)))
    if shrink > 1:
        size = (max(1, source.shape[1] // shrink), max(1, source.shape[0] // shrink))
        back = affine2d.scaling(torch.tensor([source.shape[1] / size[0], source.shape[0] / size[1]]))
        source, affine = cv2.resize(source, size, interpolation=cv2.INTER_AREA), affine2d.compose(affine, back)
    return cv2.warpAffine(source, affine2d.to_cv2(affine), (width, height), flags=cv2.INTER_LINEAR)


def _move(known: dict[str, np.ndarray], affine: torch.Tensor) -> dict[str, np.ndarray]:
    """Labels under a map (2, 3) of pixels."""
    moved = move({name: torch.from_numpy(value) for name, value in known.items()}, affine)
    return {name: value.numpy() for name, value in moved.items()}
