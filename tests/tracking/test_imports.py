"""Tracking starts fast: it imports no torch, and nothing that networks are built, trained or labelled with."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from trackertraincode.sample.images import encode_png

MAY_IMPORT = {"cv2", "numpy", "onnxruntime", "simplejpeg", "tqdm"}
PROGRAM = """
import json, sys
import numpy
before = set(sys.modules)
from trackertraincode.commands import run
assert run(["track", *sys.argv[1:]]) == 0
roots = {name.split(".")[0]: module for name, module in sys.modules.items() if name not in before}
files = {name: getattr(module, "__file__", None) for name, module in roots.items()}
print(json.dumps([name for name, file in files.items() if file and "site-packages" in file]))
"""


def test_tracking_an_image_needs_few_packages(pose_model: Path, localizer: Path, tmp_path: Path) -> None:
    (tmp_path / "image.png").write_bytes(encode_png(np.zeros((48, 64), np.uint8)))
    words = [tmp_path / "image.png", "--model", pose_model, "--localizer", localizer, "--csv", tmp_path / "rows.csv"]
    words += ["--output", tmp_path / "drawn.png"]
    command = [sys.executable, "-c", PROGRAM, *map(str, words)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert set(json.loads(answer.stdout.splitlines()[-1])) <= MAY_IMPORT
    assert len((tmp_path / "rows.csv").read_text(encoding="utf-8").splitlines()) == 2
