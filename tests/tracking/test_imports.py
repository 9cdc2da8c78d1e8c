"""Tracking starts fast: it imports no torch, and nothing that networks are built, trained or labelled with."""

import json
import subprocess
import sys
from pathlib import Path

MAY_IMPORT = {"cv2", "numpy", "onnxruntime", "simplejpeg"}
PROGRAM = """
import json, sys
import numpy as np
before = set(sys.modules)
from trackertraincode.tracking.tracker import HeadPoseTracker
from trackertraincode.tracking.video import iter_frames, pose_row
row = pose_row("0", HeadPoseTracker(*sys.argv[1:]).update(np.zeros((480, 640, 3), np.uint8)))
assert row["face"], row
roots = {name.split(".")[0]: module for name, module in sys.modules.items() if name not in before}
files = {name: getattr(module, "__file__", None) for name, module in roots.items()}
print(json.dumps([name for name, file in files.items() if file and "site-packages" in file]))
"""


def test_the_first_pose_needs_few_packages(pose_model: Path, localizer: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(pose_model), str(localizer)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert set(json.loads(answer.stdout)) <= MAY_IMPORT
