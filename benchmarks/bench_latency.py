"""Latency, size and parity of exported models: backbones × float32, float16, int8, beside OpenTrack's released model.

    python benchmarks/bench_latency.py [BACKBONE...] [--runs 300]
    python benchmarks/bench_latency.py --checkpoint runs/a/swa.ckpt --data aflw2k.h5 --calibration 300wlp

One crop at a time, median over the runs; models take turns, so that noise of the machine hits all alike. Without a
checkpoint, networks are untrained; with one, errors under the protocol aflw2k3d are a column.
"""

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate
from torch import Tensor

from trackertraincode.arguments import positive_int
from trackertraincode.cli import run_main
from trackertraincode.errors import ModelFileError
from trackertraincode.evaluation.evaluate import EvaluationOptions, evaluate
from trackertraincode.evaluation.predictor import load_predictor
from trackertraincode.export.calibration import calibration_crops
from trackertraincode.export.onnx import export_opentrack, sample_images
from trackertraincode.export.quantize import export_fp16, export_int8
from trackertraincode.facemodel.embedded import embedded_head
from trackertraincode.models.about import About
from trackertraincode.models.checkpoint import load_network
from trackertraincode.models.onnx_model import latencies
from trackertraincode.models.pose_network import NetworkConfig, PoseNetwork, build_network

BACKBONES = ("mobilenetv1", "resnet18", "efficientnet_b0", "repvgg_a0", "efficientnet_lite0")
PRECISIONS: dict[str, Callable[..., Any]] = {"fp32": export_opentrack, "fp16": export_fp16, "int8": export_int8}
THREADS = (1, 2)
SHARED = Path(os.environ.get("TRACKERTRAINCODE_SHARED_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
RELEASED = SHARED / "opentrack" / "head-pose-0.4-small-int8.onnx"


def untrained(backbone: str) -> PoseNetwork:
    """Random weights and batch-norm statistics of some crops. Answers hardly move, so one layer stays in float."""
    torch.manual_seed(0)
    network = build_network(NetworkConfig(backbone=backbone, uncertainty=True), embedded_head()).train()
    crops = sample_images(1, network.config.input_size, 16)
    with torch.no_grad():
        for _ in range(10):
            network(crops)
    return network.eval()


def export_all(name: str, network: PoseNetwork, crops: Tensor, folder: Path) -> dict[Path, str]:
    """Files of all precisions and what there is to say about how far they moved."""
    found = {}
    for precision, export in PRECISIONS.items():
        path = folder / f"{name}_{precision}.onnx"
        try:
            if precision == "fp32":
                found[path] = f"{export(network, path, About()):.0e}"
            else:
                result = export(network, path, About(), crops)
                kept = f", {len(result.kept)}/{result.layers} float" if result.kept else ""
                found[path] = f"{result.parity.p95_degrees:.2g}°{kept}"
        except ModelFileError as error:
            print(error)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("backbones", nargs="*", metavar="BACKBONE", help=f"default: {' '.join(BACKBONES)}")
    parser.add_argument("--runs", type=positive_int, default=300)
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="a trained network instead")
    parser.add_argument("--data", type=Path, metavar="FILE", help="sample file to evaluate it on")
    parser.add_argument("--calibration", metavar="NAME", help="data set or .h5 file to calibrate it with")
    options = parser.parse_args()
    if options.checkpoint is not None and (options.data is None or options.calibration is None):
        parser.error("--checkpoint needs --data and --calibration")
    torch.set_num_threads(1)
    rows: dict[Path, list[Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        if options.checkpoint is not None:
            network, _ = load_network(options.checkpoint)
            crops = calibration_crops(options.calibration, network.config)
            moved = export_all(options.checkpoint.stem, network, crops, Path(folder))
        else:
            moved = {}
            for name in options.backbones or BACKBONES:
                network = untrained(name)
                moved |= export_all(name, network, sample_images(1, network.config.input_size, 32), Path(folder))
        if RELEASED.is_file():
            moved[RELEASED] = "released"
        paths = list(moved)
        columns = [latencies(paths, threads, options.runs) for threads in THREADS]
        for path, *times in zip(paths, *columns):
            rows[path] = [path.stem, f"{path.stat().st_size / 1e6:.2f}", moved[path], *(f"{t:.2f}" for t in times)]
            if options.data is not None:
                result = evaluate(
                    load_predictor(path), "aflw2k3d", EvaluationOptions(file=options.data, progress=False)
                ).row()
                rows[path] += [f"{result['mae']:.3f}", f"{result['geodesic']:.3f}"]
    headers = ["model", "MB", "moved by", *(f"ms, {threads} threads" for threads in THREADS)]
    headers += ["MAE, °", "geodesic, °"] if options.data is not None else []
    print(tabulate(rows.values(), headers, disable_numparse=True))
    return 0


if __name__ == "__main__":
    run_main(main)
