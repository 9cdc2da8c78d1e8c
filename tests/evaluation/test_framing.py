"""Crops of protocols equal slow computations, on real images where they are at hand."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import loadmat

from conftest import run_script
from trackertraincode.conversion.synthetic import write_faces
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.errors import EvaluationError
from trackertraincode.evaluation import metrics
from trackertraincode.evaluation.crops import to_pixels
from trackertraincode.evaluation.evaluate import EvaluationOptions, evaluate
from trackertraincode.evaluation.framing import SIXD, SQUARE, sixd_cut
from trackertraincode.evaluation.predictor import load_predictor
from trackertraincode.evaluation.protocols import PROTOCOLS, Context
from trackertraincode.geometry.rotation import random_quats
from trackertraincode.rendering.generate import Request
from trackertraincode.sample.images import decode
from trackertraincode.sample.sample import Prediction

COUNT = 8


def published_crop(image: Image.Image, pt2d: np.ndarray) -> tuple[Image.Image, tuple[int, int, int, int]]:
    """The loader of 6DRepNet, line by line, with torchvision's Resize(256) and CenterCrop(224) spelled out."""
    x_min, y_min, x_max, y_max = (float(v) for v in (min(pt2d[0]), min(pt2d[1]), max(pt2d[0]), max(pt2d[1])))
    k = 0.20
    x_min -= 2 * k * abs(x_max - x_min)
    y_min -= 2 * k * abs(y_max - y_min)
    x_max += 2 * k * abs(x_max - x_min)
    y_max += 0.6 * k * abs(y_max - y_min)
    box = (int(x_min), int(y_min), int(x_max), int(y_max))
    part = image.crop(box)
    width, height = part.size
    size = (256, int(256 * height / width)) if width <= height else (int(256 * width / height), 256)
    part = part.resize(size, Image.Resampling.BILINEAR)
    top, left = round((size[1] - 224) / 2.0), round((size[0] - 224) / 2.0)
    return part.crop((left, top, left + 224, top + 224)), box


@pytest.fixture(scope="module")
def converted(
    shared_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[tuple[bytes, np.ndarray]]]:
    """Sample file of real images, and images and `pt2d` as they are in the archive."""
    archive = shared_data / "aflw2000" / "AFLW2000-3D.zip"
    path = tmp_path_factory.mktemp("sixd") / "aflw2k.h5"
    run_script("dsprocess_aflw2k.py", archive, path, "-n", COUNT, "--workers", 0)
    with zipfile.ZipFile(archive) as source:
        stems = sorted(name[:-4] for name in source.namelist() if name.endswith(".mat"))[:COUNT]
        raw = [(source.read(f"{s}.jpg"), loadmat(io.BytesIO(source.read(f"{s}.mat")))["pt2d"]) for s in stems]
    return path, raw


def test_6drepnet_crops_of_real_images_are_the_published_ones(
    converted: tuple[Path, list[tuple[bytes, np.ndarray]]],
) -> None:
    path, raw = converted
    with Hdf5PoseDataset(path) as dataset:
        boxes = PROTOCOLS["aflw2k3d-6drepnet"].box(Context(dataset), np.arange(COUNT)).corners
    rectangles = SIXD.rectangles(boxes, 0.2)
    assert (boxes == -1).any(), "hidden points are part of the box"
    for (data, points), rectangle in zip(raw, rectangles.numpy(), strict=True):
        with Image.open(io.BytesIO(data)) as image:
            expected, box = published_crop(image.convert("RGB"), points)
        assert rectangle.tolist() == list(box)
        found = sixd_cut(decode(data, color=True), rectangle, 224).astype(float)
        assert np.abs(found - np.asarray(expected, float)).mean() < 1.5  # a shift by a pixel gives 1.8 to 11


def test_what_a_crop_shows_is_where_its_pixels_come_from() -> None:
    """An image whose grey level is its x or y: the middle and the slope of the crop tell what it shows."""
    ramp = np.broadcast_to(np.linspace(0, 255, 400, dtype=np.float32).round().astype(np.uint8), (400, 400))
    boxes = torch.tensor([[120.0, 130.0, 230.0, 260.0], [150.0, 160.0, 290.0, 240.0]])
    for framing, factor in ((SIXD, 0.2), (SQUARE, 1.1)):
        rectangles = framing.rectangles(boxes, factor)
        for rectangle, shown in zip(rectangles.numpy(), framing.shown(rectangles).numpy(), strict=True):
            for image, axis in ((ramp, 1), (ramp.T, 0)):
                crop = framing.cut(np.ascontiguousarray(image), rectangle, 129).astype(float)
                centres = np.polyfit(np.arange(129) + 0.5, crop.mean(1 - axis) * 399 / 255 + 0.5, 1)
                start, end = np.polyval(centres, [0, 129])
                low, high = (shown[0], shown[2]) if axis else (shown[1], shown[3])
                assert (start, end) == pytest.approx((low, high), abs=0.5)


def test_predictions_come_back_to_the_image() -> None:
    shown = torch.tensor([[10.0, 20.0, 110.0, 120.0]])
    answer = Prediction(
        rotation=random_quats(1), head=torch.tensor([[0.5, -0.5, 0.4]]), face_box=torch.tensor([[-1.0, -1, 1, 1]])
    )
    moved = to_pixels(answer, shown)
    assert moved.head.tolist() == [[85.0, 45.0, 20.0]]
    assert moved.face_box is not None
    assert moved.face_box.tolist() == shown.tolist()


def test_only_the_folded_protocol_forgives_half_turns(
    converted: tuple[Path, list[tuple[bytes, np.ndarray]]], shared_data: Path
) -> None:
    model = load_predictor(shared_data / "opentrack" / "head-pose-0.4-small-int8.onnx")
    options = EvaluationOptions(file=converted[0], progress=False)
    plain, folded = (evaluate(model, f"aflw2k3d-6drepnet{end}", options) for end in ("", "-folded"))
    assert torch.equal(plain.euler, metrics.euler_errors(plain.prediction.rotation, plain.truth.rotation))
    degrees = plain.euler
    assert torch.allclose(folded.euler, torch.minimum(degrees, 180 - degrees), atol=1e-4)
    assert plain.row()["n"] == folded.row()["n"] <= COUNT
    assert "centre 224²" in plain.crop
    assert plain.euler.median() < 15  # it is a face that the crops show


def test_files_without_the_box_say_what_to_do(tmp_path: Path) -> None:
    write_faces(Request(2, 64, 0, "hdf5"), tmp_path / "old.h5", 0)
    with (
        Hdf5PoseDataset(tmp_path / "old.h5") as dataset,
        pytest.raises(EvaluationError, match=r"old\.h5: has no 'rois_pt2d'.*again with `ttc convert aflw2k`"),
    ):
        PROTOCOLS["aflw2k3d-6drepnet"].box(Context(dataset), np.arange(1))


def test_its_crop_factor_is_fixed(converted: tuple[Path, list[tuple[bytes, np.ndarray]]], shared_data: Path) -> None:
    model = load_predictor(shared_data / "opentrack" / "head-pose-0.4-small-int8.onnx")
    with pytest.raises(EvaluationError, match="aflw2k3d-6drepnet has a crop of its own; leave out --roi-expansion"):
        evaluate(model, "aflw2k3d-6drepnet", EvaluationOptions(file=converted[0], factor=1.3))
