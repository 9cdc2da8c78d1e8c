"""What tells rendered faces from real ones at the size that networks see: brightness, contrast, sharpness; and a sheet.

python benchmarks/compare_faces.py $DATADIR/aflw2k.h5 --sheet faces.png
python benchmarks/compare_faces.py $DATADIR/aflw2k.h5 -n 32 --riddle mixed.png     and who can tell which are which?
python benchmarks/compare_faces.py $DATADIR/aflw2k.h5 -n 32 --yaw 60 99 --size 129 --sheet profiles.png

Both are cut out by the box of their landmarks × 1.3, in 65 grey pixels or --size. Ring: the
outer eighth, where hair and background are.
"""

import argparse
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from tabulate import tabulate

from trackertraincode.arguments import CHARTS, OutputFile, positive_int
from trackertraincode.augmentation.warp import cut_and_resize
from trackertraincode.cli import run_main
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.datasets.spread import evenly_spread
from trackertraincode.facemodel.load import head_for_rendering
from trackertraincode.files import whole_file
from trackertraincode.geometry.euler import matrix_to_aflw
from trackertraincode.geometry.rotation import quat_to_matrix
from trackertraincode.rendering.scene import FaceScene, render_scene
from trackertraincode.sample.images import decode, encode_png
from trackertraincode.sample.sample import Sample

SIZE, FACTOR, COLUMNS = 65, 1.3, 16
PERCENTILES = (10, 50, 90)


def crop(sample: Sample, size: int) -> np.ndarray:
    """(size, size) uint8 grey."""
    assert isinstance(sample.image, bytes)
    assert sample.landmarks is not None
    low, high = sample.landmarks[:, :2].min(0), sample.landmarks[:, :2].max(0)
    corner = np.round(0.5 * (low + high) - 0.5 * FACTOR * (high - low).max())
    edge = np.round(FACTOR * (high - low).max())
    return cut_and_resize(decode(sample.image), np.concatenate([corner, corner + edge]).astype(int), size)


def real_crops(path: Path, count: int, yaw: tuple[float, float], size: int) -> Iterator[np.ndarray]:
    """Of rows spread over a file, those with |yaw| in a range of degrees."""
    with Hdf5PoseDataset(path) as dataset:
        quats = torch.as_tensor(dataset.label("rotation", np.arange(len(dataset))), dtype=torch.float64)
        angles = matrix_to_aflw(quat_to_matrix(quats))[:, 1].rad2deg().abs().numpy()
        rows = np.flatnonzero((angles >= yaw[0]) & (angles <= yaw[1]))
        for row in rows[evenly_spread(len(rows), count)].tolist():
            yield crop(dataset[row], size)


def rendered_crops(count: int, seed: int, head: str, yaw: tuple[float, float], size: int) -> Iterator[np.ndarray]:
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        scene = FaceScene.draw(rng, head=head)
        pitch, angle, roll = scene.pitch_yaw_roll
        if not yaw[0] <= abs(math.degrees(angle)) <= yaw[1]:
            angle = math.radians(rng.uniform(*yaw)) * rng.choice([-1.0, 1.0])
        yield crop(render_scene(replace(scene, pitch_yaw_roll=(pitch, angle, roll)), 256), size)


def measure(image: np.ndarray) -> dict[str, float]:
    """Of one crop, grey levels."""
    grey = image.astype(np.float64)
    rim, quarter = len(grey) // 8, len(grey) // 4
    inner = grey[quarter:-quarter, quarter:-quarter]
    ring = np.concatenate([grey[:rim].ravel(), grey[rim:, :rim].ravel(), grey[rim:, -rim:].ravel()])
    edges = np.abs(cv2.Laplacian(grey, cv2.CV_64F))
    return {
        "face, mean": inner.mean(), "face, deviation": inner.std(), "ring, mean": ring.mean(),
        "ring, deviation": ring.std(), "darkest 5 %": float(np.percentile(grey, 5)), "median": float(np.median(grey)),
        "brightest 5 %": float(np.percentile(grey, 95)), "sharpness": edges.mean(),
    }  # fmt: skip


def sheet(crops: list[np.ndarray]) -> np.ndarray:
    rows = [crops[i : i + COLUMNS] for i in range(0, len(crops) - len(crops) % COLUMNS, COLUMNS)]
    return np.concatenate([np.concatenate(row, axis=1) for row in rows])


def riddle(crops: dict[str, list[np.ndarray]], seed: int) -> tuple[np.ndarray, list[str]]:
    """All crops in random order, 8 in a row, three times as large; and which of them are real, row by row."""
    mixed = [(name, image) for name, images in crops.items() for image in images]
    order = np.random.default_rng(seed).permutation(len(mixed))[: len(mixed) // 8 * 8].reshape(-1, 8)
    image = np.concatenate([np.concatenate([mixed[i][1] for i in row], axis=1) for row in order])
    return (
        cv2.resize(image, (3 * image.shape[1], 3 * image.shape[0]), interpolation=cv2.INTER_CUBIC),
        [" ".join(mixed[i][0] for i in row) for row in order],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="sample file of real faces with landmarks")
    parser.add_argument("-n", type=positive_int, default=160, help="faces of either kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--yaw", type=float, nargs=2, default=(0.0, 180.0), metavar=("LOW", "HIGH"), help="|yaw|, degrees"
    )
    parser.add_argument("--size", type=positive_int, default=SIZE, help="edge of the crops, pixels")
    parser.add_argument("--head", choices=("auto", "anny", "embedded"), default="auto")
    parser.add_argument(
        "--sheet", type=OutputFile(*CHARTS), help="image of all crops: real ones above, rendered ones below"
    )
    parser.add_argument("--riddle", type=OutputFile(*CHARTS), help="image of both in random order; the key is printed")
    options = parser.parse_args()
    head = head_for_rendering(options.head)
    crops = {
        "real": list(real_crops(options.file, options.n, options.yaw, options.size)),
        "rendered": list(rendered_crops(options.n, options.seed, head, options.yaw, options.size)),
    }
    found = {name: [measure(c) for c in images] for name, images in crops.items()}
    rows = []
    for key in found["real"][0]:
        spread = (np.percentile([m[key] for m in found[name]], PERCENTILES) for name in crops)
        rows.append([key, *(f"{value:.1f}" for values in spread for value in values)])
    print(tabulate(rows, ["grey levels", *(f"{name} {p} %" for name in crops for p in PERCENTILES)]))
    if options.sheet is not None:
        with whole_file(options.sheet) as temporary:
            temporary.write_bytes(encode_png(np.concatenate([sheet(images) for images in crops.values()])))
    if options.riddle is not None:
        image, names = riddle(crops, options.seed)
        with whole_file(options.riddle) as temporary:
            temporary.write_bytes(encode_png(image))
        print(*names, sep="\n")


if __name__ == "__main__":
    run_main(main)
