"""How many heads of images with several people are found, and how many that aren't there.

    python benchmarks/bench_finding.py [--model model.onnx --localizer localizer.onnx] [--images 24]

Images show one to four people side by side: rendered ones, and, where the shared samples are, those of AFLW2000-3D. A head
is found where a box' middle lies within a third of the face's size from the face's. The default models are those of this
package; without the check of deviations, everything is taken that the localizer confirms. Then one head is followed, from the
localizer's box, or from a face where the pose network is unsure of that.
"""

import argparse
import io
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch
from zipfile import ZipFile

import cv2
import numpy as np
from scipy.io import loadmat
from tabulate import tabulate

from trackertraincode.arguments import positive_int
from trackertraincode.cli import run_main
from trackertraincode.pretrained import DEFAULT, pose_network
from trackertraincode.rendering.scene import FaceScene, render_scene
from trackertraincode.sample.images import decode
from trackertraincode.tracking import finding, tracker
from trackertraincode.tracking.camera import FieldOfView
from trackertraincode.tracking.networks import PoseModel, make_localizer
from trackertraincode.tracking.view import look_at

COLUMNS_ROWS = {1: (1, 1), 2: (2, 1), 3: (3, 1), 4: (2, 2)}  # of people
WIDTH, HEIGHT = 640, 480
NEAR = 0.35  # of a face's longer side
RULES = {"taken as they are": np.inf, "sure enough": finding.MOST_UNSURE}
STARTS = {"the localizer's box": lambda localizer, model, view, box, tracked: box, "a face": finding.start_of}
SHARED = Path(os.environ.get("TRACKERTRAINCODE_SHARED_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
Part = tuple[np.ndarray, np.ndarray]  # (H, W, 3) RGB, and (68, 2) landmarks, pixels


def rendered(seed: int, width: int, height: int) -> Part:
    rng = np.random.default_rng([7, seed])
    angles = (rng.uniform(-0.3, 0.3), rng.uniform(-0.8, 0.8), rng.uniform(-0.2, 0.2))
    head = (
        0.5 + rng.uniform(-0.1, 0.1),
        0.45 + rng.uniform(-0.08, 0.08),
        rng.uniform(0.1, 0.2) * min(1, width / height),
    )
    sample = render_scene(replace(FaceScene.draw(rng), pitch_yaw_roll=angles, head=head, occluders=0), width, height)
    return decode(sample.image, color=True), np.asarray(sample.landmarks)[:, :2]


def photographed(archive: ZipFile, name: str, width: int, height: int) -> Part:
    """As wide as the part; what is missing below repeats the last row."""
    image = decode(archive.read(name), color=True)
    landmarks = loadmat(io.BytesIO(archive.read(name.replace(".jpg", ".mat"))))["pt3d_68"][:2].T
    scale = width / image.shape[1]
    image = cv2.resize(image, (width, round(image.shape[0] * scale)), interpolation=cv2.INTER_AREA)[:height]
    return cv2.copyMakeBorder(image, 0, height - len(image), 0, 0, cv2.BORDER_REPLICATE), landmarks * scale


def mosaics(count: int, archive: ZipFile | None) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
    """Image and landmarks of each of its people."""
    names = [] if archive is None else sorted(name for name in archive.namelist() if name.endswith(".jpg"))
    rng, seed = np.random.default_rng(3), 0
    for index in range(count):
        people = 1 + index % 4
        columns, rows = COLUMNS_ROWS[people]
        width, height = WIDTH // columns, HEIGHT // rows
        image, faces = np.zeros((HEIGHT, WIDTH, 3), np.uint8), []
        for number in range(people):
            x, y = number % columns * width, number // columns * height
            if archive is None:
                part, landmarks = rendered(seed, width, height)
            else:
                part, landmarks = photographed(archive, names[rng.integers(len(names))], width, height)
            image[y : y + height, x : x + width] = part
            faces.append(landmarks + [x, y])
            seed += 1
        yield image, faces


def found_and_wrong(boxes: list[finding.client.PixelBox], faces: list[np.ndarray]) -> tuple[int, int]:
    """Faces that are found; boxes that hold none, or one that another box holds."""
    found = set()
    for box in boxes:
        middle = np.array([box.x + box.width / 2, box.y + box.height / 2])
        away = [np.abs(middle - (f.min(0) + f.max(0)) / 2).max() / np.ptp(f, axis=0).max() for f in faces]
        if min(away) < NEAR:
            found.add(int(np.argmin(away)))
    return len(found), len(boxes) - len(found)


def box_followed(of_one: tracker.HeadPoseTracker, image: np.ndarray) -> list[finding.client.PixelBox]:
    """That of the head that is followed when the image is shown for a second."""
    of_one.reset()
    pose = [of_one.update(image) for _ in range(30)][-1]
    if pose is None:
        return []
    x0, y0, x1, y1 = pose.box.tolist()
    return [finding.client.PixelBox(x0, y0, x1 - x0, y1 - y0)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path(DEFAULT))
    parser.add_argument("--localizer", type=Path, default=Path(DEFAULT))
    parser.add_argument("--images", type=positive_int, default=24, help="of each kind")
    options = parser.parse_args()
    model, localizer = PoseModel(pose_network(options.model)), make_localizer(options.localizer)
    print(f"deviation predicted for nothing: {model.std_of_nothing_deg or float('nan'):.1f} degrees")
    real = SHARED / "aflw2000" / "AFLW2000-3D.zip"
    kinds: dict[str, ZipFile | None] = {"rendered": None}
    if real.is_file():
        kinds["AFLW2000-3D"] = ZipFile(real)
    rows, followed = [], []
    for name, archive in kinds.items():
        images = list(mosaics(options.images, archive))
        for rule, most in RULES.items():
            with patch.object(finding, "MOST_UNSURE", most):
                results = [
                    found_and_wrong(
                        finding.find_faces(localizer, model, look_at(image, FieldOfView(), whole=True)), faces
                    )
                    for image, faces in images
                ]
            found, wrong = np.sum(results, axis=0)
            rows.append([name, rule, sum(len(faces) for _, faces in images), found, wrong])
        for rule, start in STARTS.items():
            with patch.object(tracker, "start_of", start):
                of_one = tracker.HeadPoseTracker(options.model, options.localizer, localize_every=15, whole_frames=True)
                results = [found_and_wrong(box_followed(of_one, image), faces) for image, faces in images]
            followed.append([name, rule, len(images), *np.sum(results, axis=0)])
    print(tabulate(rows, ["people", "boxes", "heads", "found", "wrong"]))
    print(tabulate(followed, ["people", "one head is followed from", "images", "that of somebody", "nobody's"]))
    return 0


if __name__ == "__main__":
    run_main(main)
