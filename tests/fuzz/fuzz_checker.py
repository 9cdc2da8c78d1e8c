"""ONNX models given to the checker of the plugin's contract, which runs them in a process of its own."""

from pathlib import Path
from unittest.mock import patch

from fuzz_onnx import NAME, make
from harness import main

from trackertraincode.export import trial
from trackertraincode.export.contract import judge

SOON = 8.0  # seconds; twice that is less than a case may take


def read(path: Path) -> None:
    with patch.object(trial, "TIME_LIMIT", SOON):  # here alone: other tests run in the same process
        verdict = judge(path)
    for line in (*verdict.faults, *verdict.warnings):
        assert "\n" not in line


if __name__ == "__main__":
    main(__doc__, NAME, make, read)
