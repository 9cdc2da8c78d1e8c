"""Jitter against lag of the filters of poses, on rendered sequences whose pose is known.

    python benchmarks/bench_filters.py [--model model.onnx] [--frames 180] [--persons 2] [--plot filters.png]

Beside them: the dead zone of OpenTrack's NeuralNet plugin, which knows the predicted covariance, and OpenTrack's filter
Accela at 250 steps per second, both with their default settings. The default model is OpenTrack's released one of the
shared samples. Rendering takes most of the time: a minute for 400 frames.
"""

import argparse
import math
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation
from sequences import FPS, MOTIONS, render_motion
from tabulate import tabulate
from tqdm import tqdm

from trackertraincode.arguments import CHARTS, OutputFile, positive_int
from trackertraincode.cli import run_main
from trackertraincode.sample.images import decode
from trackertraincode.tracking.filters import FILTERS, Filter, Kalman, OneEuro, Pose
from trackertraincode.tracking.networks import PoseModel
from trackertraincode.tracking.opentrack_client import PixelBox
from trackertraincode.tracking.tracker import estimate_pose

SHARED = Path(os.environ.get("TRACKERTRAINCODE_SHARED_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
SETTLED = 30  # frames after which a sequence is judged


class PluginDeadZone:
    """The plugin's: an offset is attenuated by how improbable it is under the predicted covariance."""

    SIZE, HARDNESS = 1.0, 1.5

    def __init__(self) -> None:
        self._pose: Pose | None = None

    def update(self, measured: Pose, seconds: float, unit: float, covariance: np.ndarray | None = None) -> Pose:
        if self._pose is None or covariance is None:
            self._pose = measured
            return measured
        before = Rotation.from_quat(self._pose.rotation)
        turn = (Rotation.from_quat(measured.rotation) * before.inv()).as_rotvec()
        offset = np.concatenate([turn, measured.position - self._pose.position])
        distance = math.sqrt(offset @ np.linalg.solve(covariance, offset))
        offset = offset / (1 + math.exp(-(distance - self.SIZE) * self.HARDNESS))
        rotation = (Rotation.from_rotvec(offset[:3]) * before).as_quat()
        self._pose = Pose(rotation, self._pose.position + offset[3:])
        return self._pose


class Accela:
    """OpenTrack's: speed is a steep function of the distance, beyond a dead zone; angles in degrees, centimetres."""

    ROTATION = ((0, 0.5, 1, 1.5, 2.5, 5, 8, 9), (0, 0.4, 1.5, 8, 35, 100, 200, 300))
    POSITION = ((0, 0.33, 0.66, 1.33, 1.66, 2, 3, 5, 7, 8, 9), (0, 0.375, 0.75, 2.25, 4.5, 7.5, 24, 60, 110, 150, 200))
    STEPS = 250.0  # per second

    def __init__(self) -> None:
        self._values: np.ndarray | None = None

    def update(self, measured: Pose, seconds: float, unit: float, covariance: np.ndarray | None = None) -> Pose:
        centimetres = measured.position / unit * 10
        wanted = np.concatenate([Rotation.from_quat(measured.rotation).as_euler("YXZ", degrees=True), centimetres])
        values = wanted if self._values is None else self._values
        for _ in range(round(self.STEPS / FPS)):
            speeds = [self._speeds(wanted[:3] - values[:3], 0.03, 1.5, self.ROTATION)]
            speeds += [self._speeds(wanted[3:] - values[3:], 0.1, 1.0, self.POSITION)]
            values = values + np.concatenate(speeds) / self.STEPS
        self._values = values
        return Pose(Rotation.from_euler("YXZ", values[:3], degrees=True).as_quat(), values[3:] * unit / 10)

    @staticmethod
    def _speeds(away: np.ndarray, dead: float, smoothing: float, gains: tuple[tuple[float, ...], ...]) -> np.ndarray:
        away = np.sign(away) * np.maximum(np.abs(away) - dead, 0) / smoothing
        shares = np.abs(away) / max(np.abs(away).sum(), 1e-9)
        return np.sign(away) * shares * np.interp(np.linalg.norm(away), np.array(gains[0]), np.array(gains[1]))


ALL: dict[str, Callable[[], Filter]] = FILTERS | {"plugin's dead zone": PluginDeadZone, "Accela": Accela}


class Track(NamedTuple):
    """What the model says of a sequence, and the truth."""

    poses: list[Pose]
    units: list[float]
    covariances: list[np.ndarray | None]
    truth: Rotation


def follow(model: PoseModel, motion: str, person: int, count: int) -> Track:
    track = Track([], [], [], Rotation.identity())
    truth, box = [], None
    for sample in render_motion(motion, person, count):
        if box is None:
            assert sample.face_box is not None
            x0, y0, x1, y1 = (float(v) for v in sample.face_box)
            box = PixelBox(x0, y0, x1 - x0, y1 - y0)
        pose = estimate_pose(model, decode(sample.image, color=True), box)
        x0, y0, x1, y1 = (float(v) for v in pose.box)
        box = PixelBox(x0, y0, x1 - x0, y1 - y0)
        track.poses.append(Pose(pose.rotation / np.linalg.norm(pose.rotation), pose.head.astype(float)))
        track.units.append(float(pose.head[2]))
        track.covariances.append(pose.covariance)
        truth.append(sample.rotation)
    return track._replace(truth=Rotation.from_quat(np.array(truth)))


def filtered(make: Callable[[], Filter], track: Track) -> Rotation:
    """What a filter makes of the rotations."""
    used = make()
    rows = zip(track.poses, track.units, track.covariances)
    return Rotation.from_quat([used.update(p, i / FPS, u, c).rotation for i, (p, u, c) in enumerate(rows)])


def yaws(rotation: Rotation) -> np.ndarray:
    """Degrees."""
    return rotation.as_euler("YXZ", degrees=True)[:, 0]


def lag(rotation: Rotation, truth: Rotation) -> float:
    """Milliseconds by which the truth must be delayed to explain the yaw best, up to gain and offset."""
    seconds = np.arange(len(truth)) / FPS
    wanted = yaws(rotation)[SETTLED:]

    def misfit(delay: float) -> float:
        delayed = np.interp(seconds - delay, seconds, yaws(truth))[SETTLED:]
        return float(np.linalg.lstsq(np.column_stack([delayed, np.ones_like(delayed)]), wanted, rcond=None)[1][0])

    return 1000 * float(min(np.arange(-0.1, 0.5, 0.001), key=misfit))


def judge(make: Callable[[], Filter], tracks: dict[str, Track]) -> dict[str, float]:
    """Figures of a filter on the sequences of one person."""
    rotations = {motion: filtered(make, track) for motion, track in tracks.items()}
    raw = {motion: Rotation.from_quat([p.rotation for p in track.poses]) for motion, track in tracks.items()}
    still = rotations["still"][SETTLED:]
    middle = raw["still"][SETTLED:].mean()
    figures = {"jitter, °": _rms((still[1:] * still[:-1].inv()).magnitude())}
    for motion in ("slow turn", "fast turn"):
        truth = tracks[motion].truth
        figures[f"lag of {motion}, ms"] = lag(rotations[motion], truth) - lag(raw[motion], truth)
    away = rotations["fast turn"] * raw["fast turn"].inv()
    figures["behind fast turn, °"] = _rms(away[SETTLED:].magnitude())
    for motion in ("blink", "occlusion"):
        moved = (rotations[motion] * middle.inv()).magnitude()[SETTLED:]
        figures[f"{motion} moves it by, °"] = math.degrees(moved.max())
    return figures


def _rms(angles: np.ndarray) -> float:
    """Degrees, of radians."""
    return math.degrees(math.sqrt(np.square(angles).mean()))


def mean_figures(make: Callable[[], Filter], people: list[dict[str, Track]]) -> dict[str, float]:
    rows = [judge(make, tracks) for tracks in people]
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def milliseconds(make: Callable[[], Filter], track: Track) -> float:
    start = time.process_time()
    filtered(make, track)
    return 1000 * (time.process_time() - start) / len(track.poses)


def plot(people: list[dict[str, Track]], path: Path) -> None:
    """Yaw of a still and of a jerking head, and jitter against lag over the filters' settings."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    colors = dict(zip(ALL, ("0.7", "tab:orange", "tab:blue", "tab:green", "tab:red")))
    figure, (rest, turn, trade) = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    tracks = people[0]
    for axes, motion, part in ((rest, "still", slice(30, 120)), (turn, "fast turn", slice(36, 66))):
        seconds = np.arange(len(tracks[motion].poses)) / FPS
        for name, make in ALL.items():
            axes.plot(seconds[part], yaws(filtered(make, tracks[motion]))[part], color=colors[name], label=name, lw=1.3)
        axes.set(xlabel="seconds", ylabel="yaw, degrees", title=f"a {motion} head" if motion == "still" else "a jerk")
    rest.legend(fontsize=8)
    cutoffs = ((0.3, 2.0), (0.5, 4.0), (0.8, 4.0), (0.5, 8.0), (1.0, 8.0), (1.0, 16.0))
    sweeps: dict[str, list[Callable[[], Filter]]] = {
        "one-euro": [partial(OneEuro, cutoff, beta) for cutoff, beta in cutoffs],
        "kalman": [partial(Kalman, agility) for agility in (0.03, 0.1, 0.2, 0.4, 0.8)],
    }
    for name, makes in sweeps.items():
        points = [mean_figures(make, people) for make in makes]
        lags, jitters = ([p[key] for p in points] for key in ("lag of slow turn, ms", "jitter, °"))
        trade.plot(lags, jitters, "o-", color=colors[name], label=f"{name}, other settings", ms=3, lw=0.8)
    for name, make in ALL.items():
        point = mean_figures(make, people)
        trade.plot(point["lag of slow turn, ms"], point["jitter, °"], "D", color=colors[name], label=name)
    trade.set(
        xlabel="lag of a slow turn, ms",
        ylabel="jitter of a still head, degrees",
        title="jitter against lag",
        yscale="log",
    )
    trade.legend(fontsize=8)
    figure.savefig(path, dpi=90)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=SHARED / "opentrack" / "head-pose-0.4-small-int8.onnx")
    parser.add_argument("--frames", type=positive_int, default=180, help="of each sequence")
    parser.add_argument("--persons", type=positive_int, default=2)
    parser.add_argument("--plot", type=OutputFile(*CHARTS))
    options = parser.parse_args()
    model = PoseModel(options.model)
    people: list[dict[str, Track]] = [{} for _ in range(options.persons)]
    jobs = [(person, motion) for person in range(options.persons) for motion in MOTIONS]
    for person, motion in tqdm(jobs, unit=" sequences"):
        people[person][motion] = follow(model, motion, person, options.frames)
    rows = {}
    for name, make in ALL.items():
        rows[name] = mean_figures(make, people) | {"time, ms": milliseconds(make, people[0]["still"])}
    names = next(iter(rows.values()))
    print(tabulate([[n, *(f"{v:.2f}" for v in row.values())] for n, row in rows.items()], ["filter", *names]))
    if options.plot:
        plot(people, options.plot)
    return 0


if __name__ == "__main__":
    run_main(main)
