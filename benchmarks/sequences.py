"""Rendered sequences of one face whose pose is known in each frame, for benchmarks of tracking.

MOTIONS[name] + seconds --scene_at--> FaceScene --render_scene--> image and labels
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from trackertraincode.rendering.camera_effects import CameraEffects
from trackertraincode.rendering.scene import FaceScene, render_scene
from trackertraincode.sample.sample import Sample

FPS = 30.0
SIZE = (640, 480)
Change = Callable[[FaceScene, float], FaceScene]


def still(scene: FaceScene, seconds: float) -> FaceScene:
    """Nothing moves."""
    return scene


def slow_turn(scene: FaceScene, seconds: float) -> FaceScene:
    """Looks around by 30 degrees to each side in 6 seconds, 31 degrees per second at most, and sways."""
    phase = 2 * np.pi * seconds / 6
    x, y, radius = scene.head
    return replace(
        scene,
        pitch_yaw_roll=(np.radians(8) * np.sin(2 * phase), np.radians(30) * np.sin(phase), 0.0),
        head=(x + 0.03 * np.sin(phase), y, radius * (1 + 0.08 * np.sin(phase))),
    )


def fast_turn(scene: FaceScene, seconds: float) -> FaceScene:
    """Jerks between 35 degrees to the left and to the right within 0.35 seconds, then rests for 0.65 seconds."""
    turn, rest = divmod(seconds, 1.0)
    step = np.clip((rest - 0.3) / 0.35, 0.0, 1.0)
    eased = step**3 * (step * (6 * step - 15) + 10)
    side = 1.0 if turn % 2 else -1.0
    return replace(scene, pitch_yaw_roll=(0.0, float(np.radians(35) * side * (1 - 2 * eased)), 0.0))


def blink(scene: FaceScene, seconds: float) -> FaceScene:
    """Still, but for 0.15 seconds of closed eyes in each second."""
    return scene.with_closed_eyes() if 0.5 <= seconds % 1.0 < 0.65 else scene


def occlusion(scene: FaceScene, seconds: float) -> FaceScene:
    """Still, but for something before the face, half a second in every two."""
    return replace(scene, occluders=1) if 1.0 <= seconds % 2.0 < 1.5 else scene


MOTIONS: dict[str, Change] = {
    "still": still, "slow turn": slow_turn, "fast turn": fast_turn, "blink": blink, "occlusion": occlusion
}  # fmt: skip


def scene_at(motion: str, person: int, index: int) -> FaceScene:
    """Frame `index` of a motion; noise of the camera is new in each frame, everything else is as it was."""
    rng = np.random.default_rng([20, person])
    base = FaceScene.draw(rng)
    camera = CameraEffects(chosen={"defocus": (0.6,), "noise": (0.02, 0.0)}, seed=1000 * person + index)
    base = replace(
        base,
        expression=np.zeros(10),
        pitch_yaw_roll=(0.05, 0.1, 0.02),
        head=(0.5, 0.45, 0.15),
        occluders=0,
        camera=camera,
    )
    return MOTIONS[motion](base, index / FPS)


def render_motion(motion: str, person: int, count: int) -> Iterator[Sample]:
    """Images (480, 640) with labels."""
    for index in range(count):
        yield render_scene(scene_at(motion, person, index), *SIZE)
