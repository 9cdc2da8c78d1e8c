"""How well localizers find the face of portraits: images of a sample file, padded to 4:3 as cameras have it.

    python benchmarks/bench_localizer.py $DATADIR/aflw2k.h5 [OTHER.onnx …] [--images 256]

Accepted: the tracker starts from the answer. Overlap is that of the answer and the face's box in the file (IoU).
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from tabulate import tabulate

from trackertraincode.arguments import positive_int
from trackertraincode.cli import run_main
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.geometry.boxes import box_iou
from trackertraincode.pretrained import DEFAULT, localizer
from trackertraincode.sample.images import decode
from trackertraincode.tracking.networks import LocalizerModel

LEAST = 0.5  # overlap that counts as found


def padded(image: np.ndarray) -> tuple[np.ndarray, int]:
    """(H, W) grey -> (H, 4 / 3 H) in the middle of black, and by how much the image lies further right."""
    height, width = image.shape
    left = max(round(height * 4 / 3) - width, 0) // 2
    return cv2.copyMakeBorder(image, 0, 0, left, left, cv2.BORDER_CONSTANT), left


def row(path: Path, images: list[np.ndarray], boxes: torch.Tensor) -> list[object]:
    """A line of the table."""
    model, accepted, near = LocalizerModel(path), 0, 0
    for image, box in zip(images, boxes):
        wide, left = padded(image)
        found = model(wide)
        there = torch.from_numpy(found.box) - torch.tensor([left, 0, left, 0])
        accepted += found.accepted
        near += found.accepted and float(box_iou(there, box)) >= LEAST
    return [path.name, accepted, near]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="sample file of portraits with boxes")
    parser.add_argument("models", type=Path, nargs="*", help="other localizers than that of this package")
    parser.add_argument("--images", type=positive_int, default=256)
    options = parser.parse_args()
    with Hdf5PoseDataset(options.file, ("face_box",)) as data:
        count = min(options.images, len(data))
        rows = np.sort(np.random.default_rng(0).choice(len(data), count, replace=False))
        images = [decode(image) for image in data.images(rows)]
        boxes = torch.from_numpy(data.label("face_box", rows))
    table = [row(path, images, boxes) for path in [localizer(DEFAULT), *options.models]]
    print(tabulate(table, (f"of {count} images", "accepted", f"of these, overlap at least {LEAST:g}")))


if __name__ == "__main__":
    run_main(main)
