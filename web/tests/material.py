"""What the page is tested with, and whether it answered as the Python tracker does.

python web/tests/material.py make FOLDER    images, videos for the fake camera, broken models, poses.json
python web/tests/material.py compare FOLDER [HEADS [-- OPTIONS]]    page.csv with what `ttc track` writes and sends of
    the frames that the page saw, seen-*.png, at their times, times.json
python web/tests/material.py latency FOLDER    of the Python tracker on the frames of the video
"""

import argparse
import csv
import json
import math
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np
import onnx

from trackertraincode.commands import run
from trackertraincode.pretrained import localizer, pose_network
from trackertraincode.rendering.scene import FaceScene, render_scene
from trackertraincode.sample.images import decode
from trackertraincode.tracking import opentrack_client as client
from trackertraincode.tracking import sources
from trackertraincode.tracking.several import SeveralHeads
from trackertraincode.tracking.sources import Frame
from trackertraincode.tracking.tracker import HeadPoseTracker
from trackertraincode.tracking.udp import DATAGRAM

WIDTH, HEIGHT, FRAMES, FPS = 640, 480, 100, 15
CROSSING = 90  # frames of two people who change places
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


def crossing(people: list[np.ndarray], index: int) -> np.ndarray:
    """Two people side by side who pass each other, and come back; 0: the first frame."""
    image, away = np.full((HEIGHT, WIDTH, 3), 90, np.uint8), 180 - 180 * math.cos(2 * math.pi * index / CROSSING)
    for person, x in zip(people, (30 + away, 390 - away)):
        image[90:390, round(x) : round(x) + 220] = person
    return image


def write_y4m(path: Path, frames: Iterator[np.ndarray]) -> None:
    """What Chromium's fake camera reads."""
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F{FPS}:1 Ip A1:1 C420\n".encode())
        for frame in frames:
            file.write(b"FRAME\n" + cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420).tobytes())


def open_tracker(*, whole: bool) -> HeadPoseTracker:
    return HeadPoseTracker(pose_network(), localizer(), whole_frames=whole)


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
    cv2.imwrite(str(folder / "clear.png"), np.zeros((HEIGHT, WIDTH, 4), np.uint8))
    people = [render(0.3, (220, 300)), cv2.flip(render(-0.6, (220, 300)), 1)]
    two = crossing(people, 0)
    cv2.imwrite(str(folder / "two.png"), cv2.cvtColor(two, cv2.COLOR_RGB2BGR))
    heads = SeveralHeads(faces=2, whole_frames=True).update(two)
    rows.append({"file": "two.png", "heads": len(heads)} | dict(zip(ANGLES, heads[1].pitch_yaw_roll_deg)))
    model = pose_network()
    files = {"poses": rows, "model": str(model)}
    (folder / "poses.json").write_text(json.dumps(files), encoding="utf-8")
    content = model.read_bytes()
    numbers = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 3, 224, 224]) for name in "xy"]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "other", numbers[:1], numbers[1:])
    opset = onnx.helper.make_opsetid("", 17)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=9), folder / "other.onnx")
    (folder / "letter.onnx").write_text("a letter to somebody\n", encoding="utf-8")
    (folder / "half.onnx").write_bytes(content[: len(content) // 2])
    (folder / "damaged.onnx").write_bytes(content[:2000] + bytes(255 - b for b in content[2000:4000]) + content[4000:])
    if with_video:
        turns = (math.sin(2 * math.pi * n / FRAMES) for n in range(FRAMES))
        frames = [render(turn) for turn in turns]
        write_y4m(folder / "camera.y4m", iter(frames))
        write_y4m(folder / "crossing.y4m", (crossing(people, index) for index in range(CROSSING)))
        writer = cv2.VideoWriter(str(folder / "video.webm"), cv2.VideoWriter.fourcc(*"VP80"), FPS, (WIDTH, HEIGHT))
        for frame in frames:
            writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        writer.release()


def tracked(folder: Path, heads: int, more: list[str]) -> tuple[list[dict[str, Any]], list[np.ndarray]]:
    """Rows and datagrams of `ttc track` on what the page saw."""
    images = [decode(path.read_bytes(), color=True) for path in sorted(folder.glob("seen-*.png"))]
    times = json.loads((folder / "times.json").read_text(encoding="utf-8"))
    frames = [Frame(f"{i:06d}", image, FPS, t) for i, (image, t) in enumerate(zip(images, times, strict=True))]
    video, poses = folder / "camera.y4m", folder / "poses-of-track.json"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:  # stands for OpenTrack
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**20)
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(10)
        words = ["--json", poses, "--overwrite", "--udp", f"127.0.0.1:{receiver.getsockname()[1]}"]
        words += [*more, *(["--faces", heads] if heads > 1 else [])]
        with patch.object(sources, "iter_frames", lambda *_: iter(frames)), redirect_stdout(sys.stderr):
            run(["track", str(video), *map(str, words)])
        rows = json.loads(poses.read_text(encoding="utf-8"))
        sent = [receiver.recv(DATAGRAM.size) for _ in {row["frame"] for row in rows if row["face"]}]
    return rows, [np.array(DATAGRAM.unpack(datagram)) for datagram in sent]


def for_opentrack(row: dict[str, Any]) -> np.ndarray:
    """(6,) what OpenTrack is to be sent of a row: centimetres, degrees."""
    position = client.HeadPosition(*(float(row[f"world_{axis}_mm"]) for axis in "xyz"))
    rotation = client.world_rotation(np.array([float(row[name]) for name in ("qi", "qj", "qk", "qw")]), position)
    return np.array(client.opentrack_values(position, rotation))


def compare(folder: Path, heads: int, more: list[str]) -> dict[str, Any]:
    """Frames and heads compared, heads that only one side sees, and the largest differences: degrees, centimetres."""
    with (folder / "page.csv").open(newline="", encoding="utf-8") as file:
        recorded = list(csv.DictReader(file))
    page = {(row["frame"], row["id"]): row for row in recorded if row["face"] == "True"}
    written, sent = tracked(folder, heads, more)
    frames = {row["frame"] for row in recorded}
    tracker = {(row["frame"], str(row["id"])): row for row in written if row["face"]}
    first: dict[str, dict[str, Any]] = {}  # of each frame
    for (frame, _), row in tracker.items():
        first.setdefault(frame, row)
    udp = dict(zip(first, sent, strict=True))
    both = [key for key in page if key in tracker]
    angles = [[(float(page[k][n]) - tracker[k][n] + 180) % 360 - 180 for n in ANGLES] for k in both]
    pairs = {
        "page and tracker": [for_opentrack(page[k]) - for_opentrack(tracker[k]) for k in both],
        "tracker and receiver": [for_opentrack(first[frame]) - values for frame, values in udp.items()],
        "page and receiver": [
            for_opentrack(page[k]) - udp[k[0]] for k in both if k[1] == str(first[k[0]]["id"])
        ],
    }  # fmt: skip
    largest = {name: np.abs(np.array(differences)).reshape(-1, 2, 3).max((0, 2)) for name, differences in pairs.items()}
    return {
        "frames": len(frames),
        "heads": len(both),
        "numbers": len({number for _, number in page}),
        "alone": len(page) - len(both) + sum(key[0] in frames and key not in page for key in tracker),
        "angles": float(np.abs(angles).max()),
        "largest": {name: {"cm": float(cm), "degrees": float(degrees)} for name, (cm, degrees) in largest.items()},
    }


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
    parser.add_argument("heads", type=int, nargs="?", default=1)
    parser.add_argument("more", nargs="*", help="options of `ttc track`")
    options = parser.parse_args()
    if options.action == "make":
        make(options.folder)
    elif options.action == "compare":
        print(json.dumps(compare(options.folder, options.heads, options.more)))
    else:
        print(latency(options.folder))


if __name__ == "__main__":
    main()
