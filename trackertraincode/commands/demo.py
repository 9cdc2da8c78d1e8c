"""The whole suite on synthetic faces: archive -> HDF5 -> training -> ONNX -> evaluation -> demo/report.html.

Runs the commands a user would type, one after the other, and shows each. Takes about ten minutes on two cores.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trackertraincode.arguments import output_folder, positive_int
from trackertraincode.errors import UserError
from trackertraincode.files import LOCK_FILE, check_outputs, locked
from trackertraincode.parts import check_parts
from trackertraincode.workers import default_workers, run_program


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--outdir", type=output_folder, default=Path("demo"), help="where everything is written")
    parser.add_argument("--faces", type=positive_int, default=3200, help="synthetic training faces")
    parser.add_argument("--test-faces", type=positive_int, default=300, help="synthetic faces that are only evaluated")
    parser.add_argument("--epochs", type=positive_int, default=60, help="how long to train")
    parser.add_argument("--samples-per-epoch", type=positive_int, default=2560, help="faces per epoch")


TRAIN_ZIP = "300W-LP.zip"


def claim(out: Path, command: str, options: str = "") -> None:
    """Make the folder that a command fills, and mark it: what is found in a marked one is replaced, or gone on with.

    options: that must stay as they are. Raises UserError where it holds what no earlier run of the command wrote, or what
    it wrote with other options.
    """
    mark = out / f".made-by-{command}"
    if mark.is_file():
        if (before := mark.read_text(encoding="utf-8")) != options:
            raise UserError(
                f"{out}: was begun with {before}, not with {options}; give the same, or choose another --outdir."
            )
        return
    for path in sorted(out.iterdir()) if out.is_dir() else []:
        if path.name != LOCK_FILE and (not path.is_dir() or any(path.iterdir())):
            raise UserError(
                f"{out}: holds {path.name}, which is of no earlier {command}; choose a new folder with --outdir."
            )
    out.mkdir(parents=True, exist_ok=True)
    mark.write_text(options, encoding="utf-8")


class Commands:
    """Runs commands, prints and remembers them as a user would type them."""

    def __init__(self, data_dir: Path) -> None:
        self.shown: list[str] = []
        self._environment = {**os.environ, "DATADIR": str(data_dir)}

    def run(self, *arguments: object) -> None:
        words = [str(a) for a in arguments]
        line = shown_in_shell(["ttc", *words])
        print(f"\n$ {line}", flush=True)
        self.shown.append(line)
        start = time.monotonic()
        code, _ = run_program(["trackertraincode", *words], self._environment)
        if code != 0:
            raise UserError(f"ttc {words[0]} stopped with exit code {code}; its own message stands above.")
        print(f"  ({time.monotonic() - start:.0f} s)", flush=True)


def shown_in_shell(words: list[str]) -> str:
    """A command line that can be typed again."""
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def run(options: argparse.Namespace) -> int:
    out: Path = options.outdir
    check_parts("train", "export")
    check_outputs([], [], folders=[out])
    claim(out, "demo")
    with alone(out):
        _make(out, options)
    return 0


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Hold a folder that commands fill. Raises UserError when another process does."""
    with locked(out / LOCK_FILE, f"{out}: another process is at work in this folder; choose another --outdir."):
        yield


def _make(out: Path, options: argparse.Namespace) -> None:
    data, trained = out / "data", out / "run"
    data.mkdir(exist_ok=True)
    shutil.rmtree(trained, ignore_errors=True)  # a demo starts from scratch
    commands = Commands(data)

    train_zip, test_zip = out / TRAIN_ZIP, out / "AFLW2000-3D.zip"
    commands.run("render", train_zip, "-n", options.faces, "--format", "300wlp", "--seed", 1)
    commands.run("render", test_zip, "-n", options.test_faces, "--format", "aflw2k", "--seed", 2)
    commands.run("convert", "300wlp", train_zip, data / "300wlp.h5", "--reconstruct-head-bbox")
    commands.run("convert", "aflw2k", test_zip, data / "aflw2k.h5")
    commands.run(
        "train", "--ds", "300wlp", "--backbone", "repvgg_az", "--input-size", 65, "--crop", "tight",
        "--raug", 0, "--augmentation", "none", "--batchsize", 32, "--lr", 3e-3, "--schedule", "cosine",
        "--with-nll-loss", "--with-swa", "--epochs", options.epochs, "--samples-per-epoch", options.samples_per_epoch,
        "--seed", 1, "--no-onnx", "--outdir", trained,
    )  # fmt: skip
    checkpoint, model = trained / "swa.ckpt", out / "model.onnx"
    commands.run("export", checkpoint, "--opentrack", "--output", model)
    commands.run("evaluate", "--ds", "aflw2k3d", checkpoint, model, "--json", out / "results.json")

    from trackertraincode.evaluation.evaluate import EvaluationOptions, evaluate
    from trackertraincode.evaluation.html_report import Section, result_sections, training_section, write_report
    from trackertraincode.evaluation.predictor import load_predictor
    from trackertraincode.training.callbacks.records import read_metrics
    from trackertraincode.training.outdir import METRICS_FILE

    test = EvaluationOptions(file=data / "aflw2k.h5", workers=default_workers(), progress=False)
    results = [evaluate(load_predictor(checkpoint), "aflw2k3d", test)]
    sections = [
        *result_sections(results),
        training_section(read_metrics(trained / METRICS_FILE)),
        Section(title="Commands", code="\n".join(commands.shown)),
    ]
    report = out / "report.html"
    write_report(report, "Head pose on synthetic faces", sections)
    print(f"\nopen {report} in a browser")
