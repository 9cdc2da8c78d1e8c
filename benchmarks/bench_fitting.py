"""How fast and how well heads are fitted to landmarks, beside one call of scipy's least squares per face.

    python benchmarks/bench_fitting.py [--faces 512] [--data aflw2k.h5 --face-model bfm_noneck_v3.pkl]

Heads of known pose, yaw to ±60 degrees; noise is in shares of the face's size, two head radii. With --data also the poses of
a file, which come from another method. Speed is in faces per second of processor time, of one core.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import least_squares
from tabulate import tabulate
from torch import Tensor

from trackertraincode.arguments import FACE_MODEL, positive_int
from trackertraincode.cli import run_main
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.facemodel.embedded import embedded_head
from trackertraincode.facemodel.load import load_head_model
from trackertraincode.fitting.solver import Fit, LandmarkFitter
from trackertraincode.geometry.camera import project_weak_perspective
from trackertraincode.geometry.euler import aflw_to_matrix
from trackertraincode.geometry.rotation import matrix_to_quat, quat_geodesic_angle, rotvec_to_quat
from trackertraincode.rendering.scene import draw_expression

RADIUS, BATCH, BASELINE_FACES = 60.0, 64, 6


def heads(count: int) -> tuple[Tensor, Tensor]:
    """(B, 4) rotations and (B, 68, 3) landmarks, pixels."""
    rng = np.random.default_rng(0)
    angles = torch.from_numpy(np.radians(rng.uniform([-30, -60, -25], [30, 60, 25], (count, 3))))
    shapes = np.stack([np.concatenate([rng.normal(0, 0.3, 40), draw_expression(rng)]) for _ in range(count)])
    local = torch.from_numpy(embedded_head().keypoints68(shapes)).double()
    rotation = matrix_to_quat(aflw_to_matrix(angles))
    head = torch.tensor([0.0, 0.0, RADIUS], dtype=torch.float64).expand(count, 3)
    return rotation, project_weak_perspective(local, rotation, head)


def timed(name: str, fitter: LandmarkFitter, points: Tensor, truth: Tensor, contours: tuple[bool, ...]) -> list[object]:
    """A line of the table."""
    start = time.process_time()
    turns = []
    for part in points.split(BATCH):
        fits = [fitter.fit(part, sliding=sliding) for sliding in contours]
        turns.append((fits[0] if len(fits) == 1 else Fit.better(*fits)).rotation)
    speed = len(points) / (time.process_time() - start)
    errors = torch.rad2deg(quat_geodesic_angle(torch.cat(turns), truth.double()))
    return [name, errors.median().item(), errors.quantile(0.9).item(), speed]


def baseline(points: Tensor, truth: Tensor) -> list[object]:
    """scipy, a face at a time, from the frontal pose: pose and coefficients with the same prior."""
    model = embedded_head()
    std = model.coefficient_std.astype(np.float64)

    def residuals(x: np.ndarray, seen: np.ndarray) -> np.ndarray:
        quat = rotvec_to_quat(torch.from_numpy(x[:3]))
        head = torch.from_numpy(x[3:6] * RADIUS)
        local = torch.from_numpy(model.keypoints68(x[6:])).double()
        found = project_weak_perspective(local, quat, head)[:, :2].numpy()
        return np.concatenate([(found - seen).ravel() / RADIUS / 0.01, x[6:] / std])

    start, errors = time.process_time(), []
    for seen, quat in zip(points[:BASELINE_FACES], truth):
        first = np.concatenate([np.zeros(5), np.ones(1), np.zeros(50)])
        x = least_squares(residuals, first, args=(seen[:, :2].numpy(),), loss="soft_l1").x
        errors.append(torch.rad2deg(quat_geodesic_angle(rotvec_to_quat(torch.from_numpy(x[:3])), quat)).item())
    speed = BASELINE_FACES / (time.process_time() - start)
    return [f"scipy, {BASELINE_FACES} faces", float(np.median(errors)), float(np.quantile(errors, 0.9)), speed]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=positive_int, default=512)
    parser.add_argument("--data", type=Path, metavar="FILE")
    parser.add_argument("--face-model", **FACE_MODEL)
    options = parser.parse_args()
    torch.set_num_threads(1)
    truth, exact = heads(options.faces)
    fitter = LandmarkFitter(embedded_head())
    fitter.fit(exact[:8, :, :2], sliding=True)  # warms up
    noise = 2 * RADIUS * torch.randn(exact.shape, generator=torch.Generator().manual_seed(0)).double()
    rows = [timed("exact, both contours", fitter, exact[..., :2], truth, (False, True))]
    for share in (0.01, 0.02):
        points = (exact + share * noise)[..., :2]
        rows.append(timed(f"{share:.0%} noise, both contours", fitter, points, truth, (False, True)))
        rows.append(timed(f"{share:.0%} noise, fixed contour", fitter, points, truth, (False,)))
    rows.append(timed("2% noise, with depth", fitter, exact + 0.02 * noise, truth, (False,)))
    rows.append(baseline(exact, truth))
    if options.data is not None:
        labels = Hdf5PoseDataset(options.data, ("landmarks", "rotation")).labels
        points, given = torch.from_numpy(labels["landmarks"]), torch.from_numpy(labels["rotation"])
        for model in (embedded_head(), load_head_model(options.face_model)):
            for words, dims in (("in the image", 2), ("with depth", 3)):
                name = f"{options.data.name}, {model.name}, {words}"
                rows.append(timed(name, LandmarkFitter(model), points[..., :dims], given, (False,)))
    print(tabulate(rows, ("landmarks", "median error, °", "90 %", "faces/s, one core"), floatfmt=".2f"))


if __name__ == "__main__":
    run_main(main)
