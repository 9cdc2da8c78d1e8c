"""Milliseconds of each stage of tracking one frame, for frames of usual sizes, beside the whole.

    python benchmarks/bench_tracking.py [--model model.onnx --localizer localizer.onnx] [--runs 200]

Processor time, median over the runs, one thread. The default models are OpenTrack's released ones of the shared samples,
where they are; else small untrained networks are exported. The localizer runs in few frames of a video; its time isn't
part of `update`.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from trackertraincode.cli import positive_int, run_main
from trackertraincode.tracking import opentrack_client as client
from trackertraincode.tracking.frames import as_frame
from trackertraincode.tracking.networks import LocalizerModel, PoseModel
from trackertraincode.tracking.tracker import HeadPoseTracker, part_seen

SIZES = ((640, 480), (1280, 720), (1920, 1080))
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


def median_ms(function: Callable[[], Any], runs: int) -> float:
    """Of a call, after some to warm up."""
    times = []
    for index in range(runs + runs // 10):
        start = time.process_time()
        function()
        if index >= runs // 10:
            times.append(1000 * (time.process_time() - start))
    return statistics.median(times)


def stages(size: tuple[int, int], model: Path, localizer: Path, runs: int) -> dict[str, float]:
    """Stage -> milliseconds, for RGB frames of (width, height) whose face takes a third of the height."""
    width, height = size
    frame = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    view, _ = part_seen(as_frame(frame))
    pyramid = client.build_pyramid(view)
    box = client.PixelBox(view.shape[1] / 2, height / 3, height / 3, height / 3)
    network, finder, tracker = PoseModel(model), LocalizerModel(localizer), HeadPoseTracker(model, localizer)
    patch = client.extract_patch(pyramid, box, network.input_size)
    crop = client.network_input(patch, network.input_size)
    calls: dict[str, Callable[[], Any]] = {
        "levels": lambda: client.build_pyramid(part_seen(as_frame(frame))[0]),
        "patch": lambda: client.extract_patch(pyramid, box, network.input_size),
        "input": lambda: client.network_input(patch, network.input_size),
        "pose network": lambda: network(crop),
        "update": lambda: tracker.estimate(frame, box),
        "localizer": lambda: finder(pyramid[-1]),
    }
    return {name: median_ms(call, runs) for name, call in calls.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=SHARED / "opentrack" / "head-pose-0.4-small-int8.onnx")
    parser.add_argument("--localizer", type=Path, default=SHARED / "opentrack" / "head-localizer.onnx")
    parser.add_argument("--runs", type=positive_int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = options.model, options.localizer
        if not all(path.is_file() for path in files):
            files = export_untrained(Path(folder))
        columns = {f"{w} × {h}, ms": stages((w, h), *files, options.runs) for w, h in SIZES}
    names = next(iter(columns.values()))
    print(tabulate([[n, *(f"{c[n]:.2f}" for c in columns.values())] for n in names], ["stage", *columns]))
    return 0


if __name__ == "__main__":
    run_main(main)
