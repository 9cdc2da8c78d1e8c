"""What the Python tracker answers, for the tests of the page's pure modules: JSON on stdout, arrays as base64.

python web/tests/reference.py > reference.json
"""

import base64
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from trackertraincode.geometry.single import quat_to_aflw_deg
from trackertraincode.tracking import filters, several
from trackertraincode.tracking import opentrack_client as client
from trackertraincode.tracking import tracker as module
from trackertraincode.tracking.assignment import assign
from trackertraincode.tracking.calm import CalmPose
from trackertraincode.tracking.camera import PluginCamera
from trackertraincode.tracking.networks import LocalizerModel, PoseModel
from trackertraincode.tracking.openness import openness
from trackertraincode.tracking.pose import HeadPose
from trackertraincode.tracking.rows import NAMES
from trackertraincode.tracking.several import SeveralHeads
from trackertraincode.tracking.tracker import HeadPoseTracker
from trackertraincode.tracking.view import part_seen

SIZE = 33  # input of the stand-in network
WIDTH, HEIGHT = 640, 480
FACES = 4  # followed at most
IMAGE_STEP = 997  # of all pixels that the localizer is given, one is kept
GIVEN = ("rotation", "head", "box", "landmarks", "rotation_tril", "head_tril")  # of poses that become calm…
MOVED = ("rotation", "head", "box", "landmarks")  # … and what becomes so
FOV = 0.9  # radians


def packed(array: np.ndarray) -> dict[str, Any]:
    """uint8, float32 or float64."""
    return {"shape": array.shape, "data": base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()}


def texture(rng: np.random.Generator, height: int, width: int, channels: int = 3) -> np.ndarray:
    """Smooth and rough parts, black and white."""
    coarse = rng.integers(0, 256, (max(1, height // 9), max(1, width // 9), channels), dtype=np.uint8)
    image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).reshape(height, width, channels)
    noise = rng.integers(-30, 31, image.shape) * (rng.random((height, width, 1)) < 0.5)
    return np.clip(image + noise, 0, 255).astype(np.uint8).reshape((height, width, channels)[: 2 + (channels > 1)])


def pixel_cases(rng: np.random.Generator) -> dict[str, Any]:
    sizes = [(480, 640), (7, 641), (1, 640), (2, 3), (3, 2), (1, 1), (361, 643)]
    halved = [texture(rng, *size, channels) for size in sizes for channels in (1, 3)]
    colours = rng.integers(0, 256, (200, 300, 3), dtype=np.uint8)
    shapes = [((240, 320), (288, 224)), ((270, 360), (288, 224)), ((150, 100), (288, 224)), ((100, 400), (288, 224))]
    squares = (1, 2, 3, 20, 60, 128, 129, 130, 150, 200, 258, 301, 387, 500, 516)
    shapes += [((edge, edge), (129, 129)) for edge in squares] + [
        ((edge, edge), (65, 65)) for edge in (64, 65, 97, 130)
    ]
    resized = [(texture(rng, *size, 1), wanted) for size, wanted in shapes]
    return {
        "grey": [packed(colours), packed(cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY))],
        "halve": [[packed(image), packed(cv2.pyrDown(image))] for image in halved],
        "resize": [[packed(i), packed(cv2.resize(i, size, interpolation=cv2.INTER_AREA))] for i, size in resized],
    }


def random_box(rng: np.random.Generator, width: int, height: int) -> client.PixelBox:
    """Anywhere near a frame, of any size; often on halves of pixels."""
    size = np.float32(max(width, height) * rng.uniform(0.01, 1.5, 2) ** 2)
    corner = rng.uniform(-0.6, 1.1, 2) * [width, height]
    values = np.float32([*corner, *size])
    return client.PixelBox(*(float(v) for v in (np.round(2 * values) / 2 if rng.random() < 0.5 else values)))


def patch_cases(rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    for height, width in ((480, 640), (240, 320), (487, 652), (720, 1280), (90, 61)):
        frame = texture(rng, height, width) // np.uint8(rng.integers(1, 4))
        view, corner = part_seen(frame)
        pyramid = client.build_pyramid(view)
        cases = []
        for size in (129, 65):
            for _ in range(8):
                box = random_box(rng, view.shape[1], view.shape[0])
                patch = client.extract_patch(pyramid, box, size)
                crop = client.network_input(patch, size)
                cases.append({"box": box, "size": size, "place": [*patch.center, patch.edge], "crop": packed(crop)})
        yield {"frame": packed(frame), "corner": corner, "view": view.shape[:2], "cases": cases}


def box_cases(rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    image = np.zeros((1, 1), np.uint8)
    for _ in range(100):
        width, height = (int(v) for v in rng.integers(1, 2000, 2))
        a, b = random_box(rng, width, height), random_box(rng, width, height)
        patch = client.Patch(image, (b.x + 0.5, b.y), float(round(b.width) + 1))
        box, head = rng.normal(0, 0.7, 4).astype(np.float32), rng.normal(0, 0.5, 3).astype(np.float32)
        predicted = client.predicted_box(patch, box)
        quat = rng.normal(size=4).astype(np.float32)
        frame_head = client.to_frame(patch, head, box)[0]
        frame = np.zeros((height, width), np.uint8)
        yield {
            "size": [width, height], "a": a, "b": b, "patch": [*patch.center, patch.edge],
            "box": box.tolist(), "head": head.tolist(), "predicted": predicted, "next": client.next_box(a, predicted),
            "overlap": client.overlap(a, b), "usable": client.has_usable_size(a, frame), "touches": client.touches(a, frame),
            "frameHead": frame_head.tolist(), "position": client.world_position(frame_head, width, height, FOV),
            "quat": quat.tolist(), "degrees": quat_to_aflw_deg(quat),
        }  # fmt: skip


Answer = dict[str, np.ndarray]


class Scripted:
    """Networks that answer at random, whatever they see, and keep what they were given and what they answered."""

    def __init__(self, rng: np.random.Generator, answer: Callable[[np.random.Generator], Answer]) -> None:
        self._rng, self._answer = rng, answer
        self.answers, self.inputs = list[Answer](), list[np.ndarray]()

    def next(self, image: np.ndarray) -> Answer:
        self.inputs.append(image.copy())
        self.answers.append(self._answer(self._rng))
        return self.answers[-1]


def pose_answer(rng: np.random.Generator) -> Answer:
    """Of a tracker that loses its head now and then."""
    quat = rng.normal(size=4)
    corner = rng.normal(-0.6, 0.1, 2)
    reach = 4.0 if rng.random() < 0.05 else 0.0  # sometimes the box jumps away
    answer = {
        "rotation": quat / np.linalg.norm(quat),
        "head": rng.normal([0, 0, 0.6], 0.1),
        "face_box": np.array([*(corner + reach), *(corner + reach + rng.uniform(0.9, 1.4, 2))]),
        "landmarks": rng.normal(0, 0.5, (68, 3)),
        "rotation_tril": np.tril(rng.normal(0, 0.1, (3, 3))),
        "head_tril": np.tril(rng.normal(0, 0.1, (3, 3))),
    }
    return {name: value.astype(np.float32) for name, value in answer.items()}


def steady_answer(rng: np.random.Generator) -> Answer:
    """Of a head that stays where it was sought, seldom unsure."""
    deviation = 0.4 if rng.random() < 0.1 else 0.05
    answer = {
        "rotation": np.array([0, 0, 0, 1]),
        "head": rng.normal([0, 0, 0.9], 0.02),
        "face_box": np.array([-1, -1, 1, 1]) + rng.normal(0, 0.03, 4),
        "rotation_tril": np.eye(3) * deviation,
    }
    return {name: value.astype(np.float32) for name, value in answer.items()}


NOTHING = {**steady_answer(np.random.default_rng(0)), "rotation_tril": np.eye(3, dtype=np.float32) * np.float32(0.4)}


def localizer_answer(rng: np.random.Generator) -> Answer:
    corner = rng.uniform(-0.8, 0.3, 2)
    logit = rng.choice([-4.0, -1.0, 2.0, 5.0], p=[0.1, 0.15, 0.3, 0.45])
    return {"answer": np.array([logit, *corner, *(corner + rng.uniform(0.05, 0.7, 2))], np.float32)}


def middle_answer(rng: np.random.Generator) -> Answer:
    """A face in the middle of what is looked at, mostly."""
    logit = rng.choice([-4.0, 2.0, 5.0], p=[0.3, 0.2, 0.5]) + rng.normal(0, 0.1)
    return {"answer": np.array([logit, *(np.array([-0.3, -0.4, 0.3, 0.4]) + rng.normal(0, 0.04, 4))], np.float32)}


def pose_values(pose: HeadPose | None) -> dict[str, Any] | None:
    if pose is None:
        return None
    assert pose.landmarks is not None
    assert pose.rotation_std_deg is not None
    assert pose.covariance is not None
    return {
        "rotation": pose.rotation.tolist(), "degrees": pose.pitch_yaw_roll_deg, "head": pose.head.tolist(),
        "box": pose.box.tolist(), "positionMm": pose.position_mm, "landmarks": packed(pose.landmarks),
        "deviations": pose.rotation_std_deg.tolist(), "covariance": packed(pose.covariance),
        "openness": openness(pose.landmarks, pose.rotation),
    }  # fmt: skip


def stand_ins(poses: Scripted, seen: Scripted) -> tuple[type[PoseModel], type[LocalizerModel]]:
    """Classes for the networks of a tracker."""

    class Pose(PoseModel):
        input_size = SIZE

        def __init__(self, *_: object) -> None:
            pass

        def __call__(self, image: np.ndarray) -> Answer:
            return poses.next(image) if np.ptp(image) else NOTHING

    class Session:
        def run(self, values: np.ndarray) -> np.ndarray:
            return seen.next(values)["answer"]

    class Finder(LocalizerModel):
        def __init__(self, *_: object) -> None:
            self._model = Session()  # type: ignore[assignment]

    return Pose, Finder


def script_of(frame: np.ndarray, poses: Scripted, seen: Scripted) -> dict[str, Any]:
    """What networks were given, and answered; of images for the localizer only some pixels."""
    return {
        "frame": packed(frame),
        "network": [{name: packed(value) for name, value in answer.items()} for answer in poses.answers],
        "nothing": {name: packed(value) for name, value in NOTHING.items()},
        "localizer": [packed(answer["answer"]) for answer in seen.answers],
        "crops": packed(np.array(poses.inputs)), "images": packed(np.array(seen.inputs).reshape(-1)[::IMAGE_STEP]),
    }  # fmt: skip


def sequence(rng: np.random.Generator, size: tuple[int, int], frames: int = 60) -> dict[str, Any]:
    """Frames through the tracker with networks that answer at random; size: height, width."""
    poses, seen = Scripted(rng, pose_answer), Scripted(rng, localizer_answer)
    network, finder = stand_ins(poses, seen)
    with patch.object(module, "PoseModel", network), patch.object(module, "make_localizer", finder):
        tracker = HeadPoseTracker("", "", diagonal_fov_deg=np.degrees(FOV))
    frame = texture(rng, *size)
    results = [pose_values(tracker.update(np.roll(frame, 3 * n, axis=1))) for n in range(frames)]
    return {"poses": results, **script_of(frame, poses, seen)}


def several_sequence(rng: np.random.Generator, frames: int = 60) -> dict[str, Any]:
    """The same for several heads that come, hide and go."""
    poses, seen = Scripted(rng, steady_answer), Scripted(rng, middle_answer)
    network, finder = stand_ins(poses, seen)
    with patch.object(several, "PoseModel", network), patch.object(several, "make_localizer", finder):
        heads = SeveralHeads("", "", faces=FACES)
    frame = texture(rng, 240, 340)
    found = [heads.update(np.roll(frame, 3 * n, axis=1)) for n in range(frames)]
    results = [[[number, pose.head.tolist(), pose.box.tolist()] for number, pose in each.items()] for each in found]
    return {
        "faces": FACES,
        "heads": results,
        **script_of(frame, poses, seen),
    }


def calm_sequence(rng: np.random.Generator, name: str, *, told: bool) -> dict[str, Any]:
    """A head that jerks and rests, with a gap. told: whether the network tells how unsure it is."""
    calm, camera = CalmPose(name), PluginCamera(WIDTH, HEIGHT, FOV)
    seconds, rows = 0.0, []
    for index in range(80):
        seconds += 0.8 if index == 60 else float(rng.uniform(0.01, 0.05))
        angles = np.array([0.2, 0.8 * np.tanh(index - 25), 0.01 * index]) + rng.normal(0, 0.02, 3)
        head = np.array([300 + 80 * np.tanh((index - 30) / 3), 200, 70 + 0.3 * index]) + rng.normal(0, 1.5, 3)
        tril = (
            [np.tril(rng.normal(0, scale, (3, 3))).astype(np.float32) for scale in (0.05, 3.0)] if told else [None] * 2
        )
        pose = HeadPose(
            Rotation.from_rotvec(angles).as_quat().astype(np.float32),
            head.astype(np.float32),
            np.array([*(head[:2] - head[2]), *(head[:2] + head[2])], np.float32),
            camera,
            landmarks=rng.normal(0, 50, (68, 3)) + [*head[:2], 0.0],
            rotation_tril=tril[0],
            head_tril=tril[1],
        )
        after = calm.update(pose, seconds)
        rows.append(
            {
                "seconds": seconds,
                **{name: packed(getattr(pose, name)) for name in GIVEN if getattr(pose, name) is not None},
                "calm": {name: np.asarray(getattr(after, name), np.float64).ravel().tolist() for name in MOVED},
                "position": after.position_mm,
            }
        )
    return {"name": name, "rows": rows}


def assignments(rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    """Costs, where null can't be, and the pairs."""
    for _ in range(60):
        rows, columns = (int(n) for n in rng.integers(0, 7, 2))
        costs = np.where(rng.random((rows, columns)) < 0.3, np.inf, rng.random((rows, columns)))
        yield {"costs": [[None if np.isinf(c) else c for c in row] for row in costs], "pairs": assign(costs)}


def main() -> None:
    rng = np.random.default_rng(0)
    with client.plugin_arithmetic():
        pixels = pixel_cases(rng)
        patches, boxes = list(patch_cases(rng)), list(box_cases(rng))
        sequences = [sequence(rng, size) for size in ((240, 320), (480, 640))]
        crowd = several_sequence(rng)
    calm = [calm_sequence(rng, name, told=told) for name in filters.FILTERS for told in (True, False)]
    cases = {"pixels": pixels, "patches": patches, "boxes": boxes, "sequences": sequences, "several": crowd}
    cases |= {
        "calm": calm,
        "filters": list(filters.FILTERS),
        "filter": filters.DEFAULT,
        "assignments": [*assignments(rng)],
    }
    json.dump({"fov": FOV, "imageStep": IMAGE_STEP, "columns": NAMES, **cases}, sys.stdout)


if __name__ == "__main__":
    main()
