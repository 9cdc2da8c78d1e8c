"""Milliseconds of each stage of tracking one frame, and frames per second of a video and of a camera.

    python benchmarks/bench_tracking.py [--model model.onnx --localizer localizer.onnx] [--runs 200] [--memory MINUTES]

Stages: processor time of one thread, median and 99 %. Video: wall-clock time, one frame after the other and with steps
at the same time, as `ttc track` does. Camera: frames that come at 60 per second, and how
long each takes from there to its pose. The default models are OpenTrack's released ones of the shared samples, where they
are; else small untrained networks are exported. The localizer runs in few frames of a video; its time isn't part of
`update`. --memory: also track a looped video of that length, and print how much memory is in use in between.
"""

import argparse
import itertools
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from sequences import render_motion
from tabulate import tabulate

from trackertraincode.arguments import finite_number, positive_int
from trackertraincode.cli import run_main
from trackertraincode.sample.images import decode
from trackertraincode.tracking import opentrack_client as client
from trackertraincode.tracking.calm import CalmPose
from trackertraincode.tracking.networks import LocalizerModel, PoseModel
from trackertraincode.tracking.pipeline import overlapped, without_pauses
from trackertraincode.tracking.rows import pose_row
from trackertraincode.tracking.sources import Frame, iter_frames
from trackertraincode.tracking.tracker import USUAL_CAMERA, HeadPoseTracker
from trackertraincode.tracking.video import AnnotatedOutput, draw_pose
from trackertraincode.tracking.view import look_at

SIZES = ((640, 480), (1280, 720), (1920, 1080))
CAMERA_FPS = 60.0
ROUNDS = 5
SHARED = Path(os.environ.get("TRACKERTRAINCODE_SHARED_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


def export_untrained(folder: Path) -> tuple[Path, Path]:
    """Files of a pose network and a localizer with random weights."""
    from trackertraincode.export.onnx import export_localizer, export_opentrack
    from trackertraincode.facemodel.embedded import embedded_head
    from trackertraincode.localizer.network import Localizer, LocalizerConfig
    from trackertraincode.models.checkpoint import About
    from trackertraincode.models.pose_network import NetworkConfig, build_network

    export_opentrack(build_network(NetworkConfig(), embedded_head()).eval(), folder / "model.onnx", About())
    export_localizer(Localizer(LocalizerConfig()).eval(), folder / "localizer.onnx")
    return folder / "model.onnx", folder / "localizer.onnx"


def summary(milliseconds: list[float]) -> str:
    return f"{np.median(milliseconds):.2f} / {np.percentile(milliseconds, 99):.2f}"


def timed(function: Callable[[], Any], runs: int) -> str:
    """Of a call, after some to warm up."""
    times = []
    for index in range(runs + runs // 10):
        start = time.thread_time()
        function()
        if index >= runs // 10:
            times.append(1000 * (time.thread_time() - start))
    return summary(times)


def stages(size: tuple[int, int], model: Path, localizer: Path, runs: int, folder: Path) -> dict[str, str]:
    """Stage -> milliseconds, for RGB frames of (width, height) whose face takes a third of the height."""
    width, height = size
    image = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8), (5, 5), 0)
    video = folder / f"{width}.avi"
    with AnnotatedOutput(video) as output:
        for index in range(runs + runs // 10 + 1):
            output.write(Frame(str(index), image))
    read, view = iter_frames(str(video)), look_at(image, USUAL_CAMERA)
    box = client.PixelBox(view.pyramid[0].shape[1] / 2, height / 3, height / 3, height / 3)
    network, finder, tracker = PoseModel(model), LocalizerModel(localizer), HeadPoseTracker(model, localizer)
    patch = client.extract_patch(view.pyramid, box, network.input_size)
    crop = client.network_input(patch, network.input_size)
    calm, seconds, pose = CalmPose(), itertools.count(), tracker.estimate(image, box)
    calls: dict[str, Callable[[], Any]] = {
        "read": lambda: next(read),
        "levels": lambda: look_at(image, USUAL_CAMERA),
        "localizer": lambda: finder(view.pyramid[-1]),
        "patch": lambda: client.extract_patch(view.pyramid, box, network.input_size),
        "input": lambda: client.network_input(patch, network.input_size),
        "pose network": lambda: network(crop),
        "update": lambda: tracker.estimate(image, box),
        "filter": lambda: calm.update(pose, next(seconds) / 30),
        "row": lambda: pose_row(Frame("0", image), pose),
        "draw": lambda: draw_pose(image, pose, 30.0),
    }
    return {name: timed(call, runs) for name, call in calls.items()}


def render_video(path: Path, count: int) -> None:
    """A head that looks around, 640 × 480 pixels; half of the frames are rendered, and come again in reverse."""
    images = [decode(sample.image, color=True) for sample in render_motion("slow turn", 0, (count + 1) // 2)]
    with AnnotatedOutput(path) as output:
        for index, image in enumerate([*images, *reversed(images)]):
            output.write(Frame(str(index), image))


class Steps:
    """What `ttc track` does with a frame, and how long each one takes until its pose."""

    def __init__(self, model: Path, localizer: Path) -> None:
        self.tracker, self.calm = HeadPoseTracker(model, localizer, localize_every=15), CalmPose()
        self.latencies: list[float] = []

    def prepare(self, given: tuple[float, Frame]) -> Any:
        start, frame = given
        return start, frame, self.tracker.prepare(frame.image)

    def follow(self, given: Any) -> Any:
        start, frame, view = given
        pose = self.tracker.follow(view)
        if pose is not None:
            pose = self.calm.update(pose, frame.time)
        self.latencies.append(1000 * (time.perf_counter() - start))
        return frame, pose

    def draw(self, given: Any) -> Any:
        frame, pose = given
        return frame._replace(image=draw_pose(frame.image, pose, 30.0)), pose


def with_start(frames: Iterator[Frame]) -> Iterator[tuple[float, Frame]]:
    for frame in frames:
        yield time.perf_counter(), frame


def from_camera(frames: list[Frame]) -> Iterator[tuple[float, Frame]]:
    """As a camera gives them: at their time, and not before."""
    begin = time.perf_counter()
    for index, frame in enumerate(frames):
        time.sleep(max(0.0, begin + index / CAMERA_FPS - time.perf_counter()))
        yield time.perf_counter(), frame._replace(time=index / CAMERA_FPS)


def video_run(video: Path, files: tuple[Path, Path], *, drawn: bool, overlap: bool) -> list[object]:
    """Frames per second, processor time and latencies of one pass; drawn: and written, to a video beside the other one."""
    steps = Steps(*files)
    wall, used = time.perf_counter(), time.process_time()
    seen: Iterator[Any] = map(steps.prepare, with_start(iter_frames(str(video))))
    if overlap:
        seen = overlapped(seen, *([steps.follow] if drawn else []))
    items = seen if overlap and drawn else map(steps.follow, seen)
    with AnnotatedOutput(video.with_name("drawn.mp4")) if drawn else nullcontext() as output:
        for item in items:
            if output is not None:
                output.write(steps.draw(item)[0])
    wall, used, count = time.perf_counter() - wall, time.process_time() - used, len(steps.latencies)
    return [count / wall, 1000 * used / count, summary(steps.latencies)]


def throughput(video: Path, model: Path, localizer: Path) -> list[list[object]]:
    """The fastest of some rounds of each way, which take turns: other programs' work disturbs it least."""
    ways = [(drawn, overlap) for drawn in (False, True) for overlap in (False, True)]
    best: dict[tuple[bool, bool], list[object]] = {}
    for _ in range(ROUNDS):
        for drawn, overlap in ways:
            run = video_run(video, (model, localizer), drawn=drawn, overlap=overlap)
            best[drawn, overlap] = max(best.get((drawn, overlap), run), run)
    rows: list[list[object]] = []
    for (drawn, overlap), (rate, used, latencies) in best.items():
        name = f"video{', drawn and written' if drawn else ''}, {'overlapped' if overlap else 'one after the other'}"
        rows.append([name, f"{rate:.0f}", f"{used:.2f}", latencies])
    steps, frames = Steps(model, localizer), list(iter_frames(str(video)))
    begin, start = time.perf_counter(), time.process_time()
    count = sum(1 for _ in overlapped(from_camera(frames), steps.prepare, steps.follow, newest=True))
    wall, cpu = time.perf_counter() - begin, time.process_time() - start
    rows.append(
        ["camera of 60 per second", f"{count / wall:.0f}", f"{1000 * cpu / count:.2f}", summary(steps.latencies)]
    )
    return rows


def memory_in_use() -> float:
    """MiB, of this process. Linux only."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def growth(video: Path, model: Path, localizer: Path, minutes: float) -> None:
    """Track a looped video of 30 frames per second, and print memory at each tenth."""
    steps, count = Steps(model, localizer), round(minutes * 60 * 30)
    loop = itertools.chain.from_iterable(iter_frames(str(video)) for _ in itertools.count())
    timed_frames = (frame._replace(time=i / 30) for i, frame in enumerate(itertools.islice(loop, count)))
    for index, _ in enumerate(overlapped(with_start(timed_frames), steps.prepare, steps.follow, steps.draw)):
        steps.latencies.clear()
        if (index + 1) % (count // 10) == 0:
            print(f"frame {index + 1}: {memory_in_use():.1f} MiB", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=SHARED / "opentrack" / "head-pose-0.4-small-int8.onnx")
    parser.add_argument("--localizer", type=Path, default=SHARED / "opentrack" / "head-localizer.onnx")
    parser.add_argument("--runs", type=positive_int, default=200)
    parser.add_argument("--memory", type=finite_number, default=0.0, metavar="MINUTES")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as name, without_pauses():
        folder = Path(name)
        files = options.model, options.localizer
        if not all(path.is_file() for path in files):
            files = export_untrained(folder)
        columns = {f"{w} × {h}, ms": stages((w, h), *files, options.runs, folder) for w, h in SIZES}
        names = next(iter(columns.values()))
        print(tabulate([[n, *(c[n] for c in columns.values())] for n in names], ["stage", *columns]), "\n")
        render_video(folder / "head.avi", options.runs)
        head = ["640 × 480", "frames per s", "processor ms", "frame to pose, ms"]
        print(tabulate(throughput(folder / "head.avi", *files), head))
        if options.memory:
            growth(folder / "head.avi", *files, options.memory)
    return 0


if __name__ == "__main__":
    run_main(main)
