"""Evaluation, samples per second, beside a loop of nothing but decode, crop and network on the same cores.

    python benchmarks/bench_evaluation.py [FILE.h5] [--backbones resnet18 mobilenetv1] [--repeats 3]

Without a file, synthetic faces on images of 450 pixels are made, as large as those of AFLW2000-3D. Weights are random.
The loop takes batches of 64 in one process; its network has all cores. `whole` is evaluate(): file opened, boxes,
crops from worker processes, network, metrics and the row of the table. The two take turns; medians are shown.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from trackertraincode.arguments import positive_int
from trackertraincode.augmentation.warp import cut_and_resize
from trackertraincode.cli import run_main
from trackertraincode.conversion.synthetic import write_faces
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.evaluation.crops import BATCH, PREPROCESSING
from trackertraincode.evaluation.evaluate import EvaluationOptions, evaluate
from trackertraincode.evaluation.predictor import Predictor, load_predictor
from trackertraincode.evaluation.protocols import PROTOCOLS, Context
from trackertraincode.facemodel.embedded import embedded_head
from trackertraincode.models.about import About
from trackertraincode.models.checkpoint import save_network
from trackertraincode.models.pose_network import NetworkConfig, build_network
from trackertraincode.rendering.generate import Request
from trackertraincode.sample.images import decode
from trackertraincode.workers import usable_cores

PROTOCOL = "aflw2k3d-landmarks"


def bare_loop(predictor: Predictor, path: Path, batch: int) -> Callable[[], int]:
    """A function that runs decode, crop and network over all rows and returns their number; boxes are made before."""
    dataset, protocol = Hdf5PoseDataset(path), PROTOCOLS[PROTOCOL]
    rows = protocol.keep(dataset)
    squares = protocol.framing.rectangles(protocol.box(Context(dataset), rows).corners, protocol.factor).numpy()

    def run() -> int:
        for start in range(0, len(rows), batch):
            part = slice(start, start + batch)
            images = [decode(data, color=predictor.channels == 3) for data in dataset.images(rows[part])]
            crops = [cut_and_resize(*pair, predictor.input_size) for pair in zip(images, squares[part])]
            predictor.predict(PREPROCESSING["training"](torch.from_numpy(np.stack(crops))[:, None]))
        return len(rows)

    return run


def seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, nargs="?")
    parser.add_argument("--backbones", nargs="+", default=["resnet18", "mobilenetv1"])
    parser.add_argument("--count", type=positive_int, default=640, help="synthetic faces (default 640)")
    parser.add_argument("--repeats", type=positive_int, default=3)
    parser.add_argument("--workers", type=int, default=usable_cores(), help="of evaluate (default: the cores)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = options.file or Path(folder) / "faces.h5"
        if options.file is None:
            write_faces(Request(options.count, 450, 0, "hdf5"), path, options.workers)
        print(f"{usable_cores()} cores, {torch.get_num_threads()} threads of torch, {options.workers} workers")
        print(f"{'backbone':<14}{'n':>6}{'loop of 64':>12}{'whole':>8}{'whole/loop':>12}   samples per second")
        for backbone in options.backbones:
            model = Path(folder) / f"{backbone}.ckpt"
            save_network(model, build_network(NetworkConfig(backbone=backbone), embedded_head()), About())
            predictor = load_predictor(model)
            loop = bare_loop(predictor, path, BATCH)
            whole = EvaluationOptions(file=path, workers=options.workers, progress=False)
            count = loop()
            times = [
                (seconds(loop), seconds(lambda: evaluate(predictor, PROTOCOL, whole).row()))  # noqa: B023 - called here
                for _ in range(options.repeats)
            ]
            rates = [count / statistics.median(column) for column in zip(*times)]
            print(f"{backbone:<14}{count:>6}{rates[0]:>12.1f}{rates[1]:>8.1f}{rates[1] / rates[0]:>12.2f}")
    return 0


if __name__ == "__main__":
    run_main(main)
