"""The whole suite on synthetic faces: archive -> HDF5 -> training -> ONNX -> evaluation -> demo/report.html.

Runs the commands a user would type, one after the other, and shows each. Takes less than ten minutes on two cores.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from trackertraincode.cli import run_main
from trackertraincode.errors import UserError
from trackertraincode.evaluation.evaluate import EvaluationOptions, evaluate
from trackertraincode.evaluation.html_report import commands_section, result_sections, training_section, write_report
from trackertraincode.evaluation.predictor import load_predictor
from trackertraincode.training.callbacks.records import METRICS_FILE, read_metrics
from trackertraincode.workers import default_workers

SCRIPTS = Path(__file__).resolve().parent


class Commands:
    """Runs scripts of this folder, prints and remembers them as a user would type them."""

    def __init__(self, data_dir: Path) -> None:
        self.shown: list[str] = []
        self._environment = {**os.environ, "DATADIR": str(data_dir), "PYTHONPATH": str(SCRIPTS.parent)}

    def run(self, script: str, *arguments: object) -> None:
        words = [str(a) for a in arguments]
        line = " ".join(["python", f"scripts/{script}", *words])
        print(f"\n$ {line}", flush=True)
        self.shown.append(line)
        start = time.monotonic()
        code = subprocess.run([sys.executable, str(SCRIPTS / script), *words], env=self._environment).returncode
        if code != 0:
            raise UserError(f"{script} stopped with exit code {code}; its own message stands above.")
        print(f"  ({time.monotonic() - start:.0f} s)", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--outdir", type=Path, default=Path("demo"), help="where everything is written")
    parser.add_argument("--faces", type=int, default=3200, help="synthetic training faces")
    parser.add_argument("--test-faces", type=int, default=300, help="synthetic faces that are only evaluated")
    parser.add_argument("--epochs", type=int, default=60, help="epochs of --samples-per-epoch samples")
    parser.add_argument("--samples-per-epoch", type=int, default=2560)
    options = parser.parse_args()

    out: Path = options.outdir
    data = out / "data"
    run = out / "run"
    data.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(run, ignore_errors=True)  # a demo starts from scratch
    commands = Commands(data)

    train_zip, test_zip = out / "300W-LP.zip", out / "AFLW2000-3D.zip"
    commands.run("make_synthetic_data.py", train_zip, "-n", options.faces, "--format", "300wlp", "--seed", 1)
    commands.run("make_synthetic_data.py", test_zip, "-n", options.test_faces, "--format", "aflw2k", "--seed", 2)
    commands.run("dsprocess_300wlp.py", train_zip, data / "300wlp.h5", "--reconstruct-head-bbox")
    commands.run("dsprocess_aflw2k.py", test_zip, data / "aflw2k.h5")
    commands.run(
        "train_poseestimator.py", "--ds", "300wlp", "--backbone", "repvgg_az", "--input-size", 65, "--crop", "tight",
        "--raug", 0, "--augmentation", "none", "--batchsize", 32, "--lr", 3e-3, "--schedule", "cosine",
        "--with-nll-loss", "--with-swa", "--epochs", options.epochs, "--samples-per-epoch", options.samples_per_epoch,
        "--seed", 1, "--no-onnx", "--outdir", run,
    )  # fmt: skip
    checkpoint, model = run / "swa.ckpt", out / "model.onnx"
    commands.run("export_model.py", checkpoint, "--opentrack", "--output", model)
    commands.run("evaluate_pose_network.py", "--ds", "aflw2k3d", checkpoint, model, "--json", out / "results.json")

    test = EvaluationOptions(file=data / "aflw2k.h5", workers=default_workers(), progress=False)
    results = [evaluate(load_predictor(checkpoint), "aflw2k3d", test)]
    sections = [
        *result_sections(results),
        training_section(read_metrics(run / METRICS_FILE)),
        commands_section(commands.shown),
    ]
    report = out / "report.html"
    write_report(report, "Head pose on synthetic faces", sections)
    print(f"\nopen {report} in a browser")
    return 0


if __name__ == "__main__":
    run_main(main)
