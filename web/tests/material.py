"""What the page is tested with, and whether it answered as the Python tracker does.

python web/tests/material.py make FOLDER       images, a video for the fake camera, broken models, poses.json
python web/tests/material.py compare FOLDER    camera.csv with the poses of the frames that the page saw, seen-*.png
python web/tests/material.py latency FOLDER    of the Python tracker on the frames of the video
"""

import argparse
import csv
import json
import math
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from trackertraincode.commands.track import LOOK_EVERY
from trackertraincode.pretrained import localizer, pose_network
from trackertraincode.rendering.scene import FaceScene, render_scene
from trackertraincode.sample.images import decode
from trackertraincode.tracking.tracker import HeadPoseTracker

WIDTH, HEIGHT, FRAMES, FPS = 640, 480, 100, 15
SEED = 9
ANGLES = ("pitch", "yaw", "roll")


def scene(turn: float = 0.0) -> FaceScene:
    """A head with nothing before it. turn: -1…1, how far it looks aside."""
    drawn = FaceScene.draw(np.random.default_rng(SEED))
    person = replace(drawn.person, glasses="", headwear="")
    angles = (0.15 * math.sin(2.1 * turn), 0.5 * turn, 0.1 * turn)
    return replace(drawn, person=person, pitch_yaw_roll=angles, head=(0.5 + 0.04 * turn, 0.47, 0.21), occluders=0)


def render(turn: float, size: tuple[int, int] = (WIDTH, HEIGHT)) -> np.ndarray:
    return decode(render_scene(scene(turn), *size).image, color=True)


def write_y4m(path: Path, frames: Iterator[np.ndarray]) -> None:
    """What Chromium's fake camera reads."""
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F{FPS}:1 Ip A1:1 C420\n".encode())
        for frame in frames:
            file.write(b"FRAME\n" + cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420).tobytes())


def open_tracker(*, whole: bool) -> HeadPoseTracker:
    return HeadPoseTracker(pose_network(), localizer(), localize_every=LOOK_EVERY, whole_frames=whole)


def write_png(path: Path, image: np.ndarray) -> dict[str, Any]:
    """Also gives the angles of the head in it, degrees."""
    cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    pose = open_tracker(whole=True).update(image)
    return {"file": path.name} | ({} if pose is None else dict(zip(ANGLES, pose.pitch_yaw_roll_deg)))


def make(folder: Path, *, with_video: bool = True) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    face = render(0.3)
    large = cv2.resize(face, (3840, 2160), interpolation=cv2.INTER_CUBIC)
    rows = [write_png(folder / "face.png", face), write_png(folder / "large.png", large)]
    rows.append(write_png(folder / "nobody.png", np.full((HEIGHT, WIDTH, 3), 90, np.uint8)))
    model = pose_network()
    files = {"poses": rows, "model": str(model)}
    (folder / "poses.json").write_text(json.dumps(files), encoding="utf-8")
    content = model.read_bytes()
    (folder / "letter.onnx").write_text("a letter to somebody\n", encoding="utf-8")
    (folder / "half.onnx").write_bytes(content[: len(content) // 2])
    (folder / "damaged.onnx").write_bytes(content[:2000] + bytes(255 - b for b in content[2000:4000]) + content[4000:])
    if with_video:
        turns = (math.sin(2 * math.pi * n / FRAMES) for n in range(FRAMES))
        frames = [render(turn) for turn in turns]
        write_y4m(folder / "camera.y4m", iter(frames))
        writer = cv2.VideoWriter(str(folder / "video.webm"), cv2.VideoWriter.fourcc(*"VP80"), FPS, (WIDTH, HEIGHT))
        for frame in frames:
            writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        writer.release()


def compare(folder: Path) -> dict[str, float]:
    """Frames compared, and the largest and mean difference of an angle, degrees."""
    with (folder / "camera.csv").open(newline="", encoding="utf-8") as file:
        rows = {int(row["frame"]): row for row in csv.DictReader(file)}
    tracker, differences = open_tracker(whole=False), []
    for index, path in enumerate(sorted(folder.glob("seen-*.png"))):
        pose = tracker.update(decode(path.read_bytes(), color=True))
        row = rows.get(index)
        if row is None:  # before or after the recording
            continue
        if (pose is not None) != (row["face"] == "True"):
            differences.append(math.inf)
        elif pose is not None:
            own = [float(row[name]) for name in ANGLES]
            differences += [abs(a - b) for a, b in zip(own, pose.pitch_yaw_roll_deg)]
    return {"frames": len(rows), "largest": max(differences), "mean": float(np.mean(differences))}


def latency(folder: Path, rounds: int = 5) -> str:
    """Milliseconds from frame to pose, on one thread."""
    data = np.frombuffer((folder / "camera.y4m").read_bytes().split(b"\n", 1)[1], np.uint8)
    start = len(b"FRAME\n")
    planes = data.reshape(FRAMES, -1)[:, start:].reshape(FRAMES, HEIGHT * 3 // 2, WIDTH)
    frames = [cv2.cvtColor(plane, cv2.COLOR_YUV2RGB_I420) for plane in planes]
    tracker, times = open_tracker(whole=False), []
    for frame in frames * rounds:
        begin = time.perf_counter()
        tracker.update(frame)
        times.append(1000 * (time.perf_counter() - begin))
    median, late = np.quantile(times, (0.5, 0.99))
    return f"Python: median {median:.1f} ms, 99 % {late:.1f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("make", "compare", "latency"))
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    if options.action == "make":
        make(options.folder)
    elif options.action == "compare":
        print(json.dumps(compare(options.folder)))
    else:
        print(latency(options.folder))


if __name__ == "__main__":
    main()
