"""The wheel carries all sub-packages and data files; test_pretrained.py uses it where the sources aren't.

What importing the package does is looked at in processes of their own.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import PROJECT

KINDS = {".py", ".toml", ".npz", ".html", ".json", ".onnx"}


@pytest.mark.slow
def test_a_built_wheel_holds_every_file(installed: Path) -> None:
    files = [p for p in (PROJECT / "trackertraincode").rglob("*") if p.suffix in KINDS and "__pycache__" not in p.parts]
    lacks = [name for p in files if not (installed / (name := p.relative_to(PROJECT))).is_file()]
    assert lacks == []


def test_onnx_runtime_leaves_and_sends_nothing(tmp_path: Path) -> None:
    """Its telemetry begins with a file for the session, which isn't made in tests of continuous integration."""
    environment = {k: v for k, v in os.environ.items() if k not in ("ORT_DISABLE_TELEMETRY", "CI", "GITHUB_ACTIONS")}
    subprocess.run(
        [sys.executable, "-c", "import trackertraincode, onnxruntime"],
        env=environment | {"PYTHONPATH": str(PROJECT), "TMPDIR": str(tmp_path)},
        check=True,
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="has no such exit code")
def test_ctrl_c_while_the_program_begins_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "argparse.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    done = subprocess.run(
        [sys.executable, "-m", "trackertraincode"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(PROJECT)])},
        capture_output=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        check=False,
    )
    assert (done.returncode, done.stderr) == (-signal.SIGINT, b"")
