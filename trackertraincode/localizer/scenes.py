"""Synthetic scenes for the localizer: rendered heads of any size anywhere in what it looks at, and images without a face.

    seed, index --make_scene--> Sample (image, box, has_face) --write_scenes--> scenes.h5

Images without a face are backgrounds with clutter, some with the shoulders of somebody whose head is above the image. In
images of either kind, hands, cups and the like may be where no face is.
"""

from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
from tqdm import tqdm

from trackertraincode import __version__
from trackertraincode.datasets.dshdf5pose import PoseWriter
from trackertraincode.facemodel.embedded import NAME as EMBEDDED
from trackertraincode.facemodel.load import version_of_head
from trackertraincode.rendering.background import draw_background
from trackertraincode.rendering.camera_effects import CameraEffects, apply_camera
from trackertraincode.rendering.foreground import draw_beside
from trackertraincode.rendering.generate import BEYOND_PROFILE
from trackertraincode.rendering.scene import FaceScene, render_scene
from trackertraincode.sample.images import Size, encode_jpeg
from trackertraincode.sample.sample import Sample
from trackertraincode.workers import Workers, map_in_order

SCENE_SIZE = Size(320, 240)  # 4:3, as cameras have it
FACE_SHARE = 2 / 3  # of the scenes have a face
HEADLESS_SHARE = 0.3  # of those without a face show a body
HEAD_RADIUS = (0.07, 0.42)  # of the image's height: faces of a tenth to 0.7 of it
REACH = 1.2  # head radii around the head centre that stay inside of the image, where it has room
SCENES_PER_TASK = 8  # of a worker
BESIDE = (0.6, 0.25, 0.15)  # shares of the scenes with no, one, two things where no face is


def make_scene(seed: int, index: int, head: str = EMBEDDED) -> Sample:
    """The index-th scene of a seed; depends on nothing else. Without a face, the box is the middle half.

    head: name of the head model that people have.
    """
    rng = np.random.default_rng([seed, index])
    width, height = SCENE_SIZE
    middle = np.array([0.25 * width, 0.25 * height, 0.75 * width, 0.75 * height], np.float32)
    has_face = rng.random() < FACE_SHARE
    name = f"scene {index}"
    low, high = HEAD_RADIUS
    radius = low * (high / low) ** rng.random()
    beside = int(rng.choice(len(BESIDE), p=BESIDE))
    if not has_face and rng.random() >= HEADLESS_SHARE:
        image = draw_background(rng, width, height)
        draw_beside(rng, beside, 2.0 * radius * height, image)
        return Sample(
            image=encode_jpeg(apply_camera(image, CameraEffects.draw(rng))), name=name, face_box=middle, has_face=False
        )
    across, down = (min(0.5, REACH * radius * height / edge) for edge in (width, height))
    place = float(rng.uniform(across, 1 - across)), float(rng.uniform(down, 1 - down))
    if not has_face:
        place = place[0], float(-rng.uniform(1.8, 2.5) * radius)
    drawn = FaceScene.draw(rng, head=head, max_yaw=BEYOND_PROFILE)
    scene = replace(drawn, head=(*place, float(radius)), beside=beside)
    sample = render_scene(scene, width, height)
    assert sample.face_box is not None, "rendered faces have one"
    box = np.clip(sample.face_box, 0, [width, height, width, height]).astype(np.float32)
    return Sample(image=sample.image, name=name, face_box=box if has_face else middle, has_face=bool(has_face))


def write_scenes(path: Path, count: int, seed: int, workers: Workers, head: str = EMBEDDED) -> None:
    """Scenes 0 … count - 1 as a sample file; it has its name only when it is complete. workers: 0 for this process."""
    source = {
        "converter": "train_localizer",
        "version": __version__,
        "seed": seed,
        "head": head,
        **version_of_head(head),
    }
    tasks = (range(start, min(start + SCENES_PER_TASK, count)) for start in range(0, count, SCENES_PER_TASK))
    with PoseWriter(path, source=source) as writer:
        scenes = chain.from_iterable(map_in_order(partial(_make_scenes, seed, head), tasks, workers))
        for sample in tqdm(scenes, total=count, unit=" scenes", desc=path.name):
            writer.write(sample)


def _make_scenes(seed: int, head: str, indices: range) -> list[Sample]:
    return [make_scene(seed, index, head) for index in indices]
