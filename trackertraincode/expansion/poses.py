"""Which poses a face is turned to: from its own yaw on in steps to the profile, never back."""

import numpy as np

AWAY = np.radians(90.0)  # pitch or roll of a face that isn't seen or hangs upside down
PROFILE = np.radians(90.0)
NEAR_ZERO = np.radians(3.0)  # yaw of a face that can turn to either side
PITCH_RANGE = (np.radians(25.0), np.radians(8.0))  # ± of frontal faces and of profiles
ROLL_RANGE = (np.radians(20.0), np.radians(8.0))
KEPT = 0.4  # how much of the original's pitch and roll profiles have


def draw_poses(angles: np.ndarray, step: float, rng: np.random.Generator) -> np.ndarray:
    """(3,) pitch, yaw, roll of AFLW -> (n, 3): one pose in each step of yaw between the original's and 90 degrees.

    Pitch and roll are spread about the original's; towards the profile, less of both is left. A face that looks away,
    whose angles are of another kind, has no other pose.
    """
    pitch, yaw, roll = (float(a) for a in angles)
    if max(abs(pitch), abs(roll)) >= AWAY:
        return np.empty((0, 3))
    side = rng.choice([-1.0, 1.0]) if abs(yaw) < NEAR_ZERO else np.sign(yaw)
    starts = np.arange(abs(yaw), PROFILE, step)
    yaws = starts + rng.uniform(0.0, 1.0, len(starts)) * np.minimum(step, PROFILE - starts)
    front = np.cos(yaws)
    kept = KEPT + (1.0 - KEPT) * front / max(float(np.cos(yaw)), 1e-6)
    poses = np.empty((len(yaws), 3))
    poses[:, 1] = side * yaws
    for column, value, (most, least) in ((0, pitch, PITCH_RANGE), (2, roll, ROLL_RANGE)):
        spread = least + (most - least) * front
        poses[:, column] = value * np.minimum(kept, 1.0) + rng.uniform(-1.0, 1.0, len(yaws)) * spread
    return poses
