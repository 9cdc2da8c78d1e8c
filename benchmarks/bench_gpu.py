"""Samples per second of whole trainings on a GPU, beside the same loop fed one constant batch, and errors on both devices.

    python benchmarks/bench_gpu.py --aflw2k AFLW2000-3D.zip [--backbone mobilenetv1] [--cases 64:32,512:bf16,512:bf16:compile]

Without the archive, $DATADIR has what --ds names. A case is batch size, precision, and options without a value, such as
compile, no-channels-last; the most telling ones come first, and one that fails doesn't end the others. Crops come from kept
ones on the device (--cache), intensities by tables (--augmentation). Medians of the epochs after the first, validation left
out. The network of the first case is then evaluated on both devices.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from tabulate import tabulate

from trackertraincode.augmentation.device_batches import DeviceBatches
from trackertraincode.cli import run_main
from trackertraincode.conversion import aflw2k
from trackertraincode.conversion.run import ConvertOptions, run_converter
from trackertraincode.errors import UserError
from trackertraincode.evaluation.evaluate import EvaluationOptions, evaluate
from trackertraincode.evaluation.predictor import load_predictor
from trackertraincode.sample.sample import Batch
from trackertraincode.training.callbacks.records import read_metrics
from trackertraincode.training.config import TrainConfig
from trackertraincode.training.options import TrainRequest
from trackertraincode.training.outdir import METRICS_FILE
from trackertraincode.training.run import train

CASES = "512:bf16,512:bf16:compile,512:32,64:32,2048:bf16:compile,2048:bf16,64:bf16,512:bf16:no-channels-last"
WANTED, WANTED_SHARE = (
    25_600,
    90,
)  # samples per second, so that 15.36 M take ten minutes; % of the constant batch's loop


def options_of(case: str) -> dict[str, Any]:
    """What a case stands for."""
    batchsize, precision, *flags = case.split(":")
    values = {flag.removeprefix("no-").replace("-", "_"): not flag.startswith("no-") for flag in flags}
    return {"batchsize": int(batchsize), "precision": precision, "scale_lr": True, **values}


def constant(batches: DeviceBatches) -> Iterator[Batch]:
    """The first batch of an epoch, again and again."""
    batch = next(made_each_time(batches))
    for _ in range(len(batches)):
        yield batch


made_each_time = DeviceBatches.__iter__


def rate(values: dict[str, Any], folder: Path) -> float:
    """Samples per second of a run."""
    train(TrainRequest(TrainConfig.of(**values, outdir=folder), resume=False))
    rows = read_metrics(folder / METRICS_FILE)[1:]
    return float(np.median([row["samples_per_s"] for row in rows]))


def evaluated(path: Path, name: str) -> list[dict[str, Any]]:
    """Errors of a network on each device, and seconds of the clock for all faces, of a second pass."""
    found = []
    for device in ("cpu", *(["cuda"] if torch.cuda.is_available() else [])):
        predictor = load_predictor(path, device)
        for _ in range(2):
            start = time.perf_counter()
            row = evaluate(predictor, name, EvaluationOptions(progress=False)).row()
            seconds = time.perf_counter() - start
        found.append({"device": device, "n": row["n"], "MAE": row["mae"], "geodesic": row["geodesic"], "s": seconds})
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--aflw2k", type=Path, help="AFLW2000-3D.zip, converted first")
    parser.add_argument("--ds", default="aflw2k")
    parser.add_argument("--backbone", default="mobilenetv1")
    parser.add_argument("--input-size", type=int, default=129)
    parser.add_argument("--cache", default="device", choices=("none", "ram", "device"))
    parser.add_argument("--augmentation", default="tables", choices=("tables", "kornia", "none"))
    parser.add_argument("--workers", type=int, default=None)
    parser.add_argument("--samples", type=int, default=51_200, help="per epoch (default 51200)")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--cases", default=CASES)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as data:
        if options.aflw2k is not None:
            os.environ["DATADIR"] = data
            write = ConvertOptions(source=options.aflw2k, destination=Path(data) / "aflw2k.h5")
            run_converter(write, "bench_gpu", aflw2k.make_source(options.aflw2k, None))
        return measure(options)


def measure(options: argparse.Namespace) -> int:
    """All cases, and the evaluation."""
    rows: list[list[Any]] = []
    errors: list[dict[str, Any]] = []
    for case in options.cases.split(","):
        with tempfile.TemporaryDirectory() as folder:
            values = {
                "ds": options.ds, "backbone": options.backbone, "input_size": options.input_size, "with_nll_loss": True,
                "with_swa": True, "cache": options.cache, "augmentation": options.augmentation, "workers": options.workers,
                "samples_per_epoch": options.samples, "epochs": options.epochs, "device": "auto", "save_every": "60m",
                "onnx": False, "save_plot": "", "tensorboard": False, "draw_every": 0, "calibrate": False,
            } | options_of(case)  # fmt: skip
            try:
                whole = rate(values, Path(folder) / "whole")
                fed = float("nan")
                if options.cache == "device":
                    with mock.patch.object(DeviceBatches, "__iter__", constant):
                        fed = rate(values, Path(folder) / "constant")
            except (RuntimeError, UserError) as error:
                print(f"{case}: {error}", flush=True)
                continue
            errors = errors or evaluated(Path(folder) / "whole" / "last.ckpt", options.ds)
            rows.append([case, whole, fed, 100 * whole / fed])
            print(f"{case}: {whole:.0f} samples/s, {fed:.0f} with a constant batch", flush=True)
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    print(f"\n{where}, torch {torch.__version__}, {os.cpu_count()} cores, {options}\n")
    if not rows:
        return 1
    best = max(rows, key=lambda row: row[1])
    print(f"most: {best[1]:.0f} samples/s by {best[0]}, {best[3]:.0f} % of a constant batch")
    print(f"wanted: {WANTED} samples/s, {WANTED_SHARE} % of a constant batch\n")
    print(tabulate(errors, headers="keys", floatfmt=".4f", tablefmt="github"), end="\n\n")
    print(tabulate(rows, ["case", "samples/s", "constant batch", "%"], floatfmt=".0f", tablefmt="github"))
    return 0


if __name__ == "__main__":
    run_main(main)
