"""OpenTrack's own answers: 300 boxes of ten kinds in 30 frames, asked of the released model by the plugin's C++ code."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import cv2
import numpy as np
import pytest

from trackertraincode.sample.images import decode
from trackertraincode.tracking.networks import PoseModel
from trackertraincode.tracking.opentrack_client import PixelBox
from trackertraincode.tracking.pose import HeadPose
from trackertraincode.tracking.tracker import estimate_pose

SIZE = (640, 480)


@pytest.fixture(scope="module")
def answers(shared_data: Path) -> dict[str, Any]:
    return json.loads((shared_data / "opentrack" / "plugin_answers.json").read_text())


@pytest.fixture(scope="module")
def frames(shared_data: Path, answers: dict[str, Any]) -> list[np.ndarray]:
    """(480, 640) grey, made as `answers` says."""
    with ZipFile(shared_data / "aflw2000" / "AFLW2000-3D.zip") as archive:
        return [_frame(lambda name: decode(archive.read(name), color=True), **row) for row in answers["frames"]]


def _frame(read: Callable[[str], np.ndarray], image: str, x: int, y: int, brightness: float) -> np.ndarray:
    pixels = read(image)
    right, bottom = SIZE[0] - x - pixels.shape[1], SIZE[1] - y - pixels.shape[0]
    placed = cv2.copyMakeBorder(pixels, y, bottom, x, right, cv2.BORDER_REPLICATE)
    return cv2.cvtColor((placed * brightness).astype(np.uint8), cv2.COLOR_RGB2GRAY)


def has_integer_instructions() -> bool:
    """Whether int8 sums are exact here; CPUs without VNNI saturate them, as the plugin does there."""
    flags = Path("/proc/cpuinfo")
    return not flags.is_file() or "vnni" in flags.read_text()


def angle_deg(pose: HeadPose, case: dict[str, Any]) -> float:
    """Between the rotations of both."""
    one, other = (v / np.linalg.norm(v) for v in (pose.rotation.astype(float), np.array(case["quaternion_xyzw"])))
    return math.degrees(4 * math.asin(min(1.0, float(np.linalg.norm(one - other)) / 2)))


def test_all_boxes_of_the_plugin_are_answered_on_any_cpu(
    shared_data: Path, answers: dict[str, Any], frames: list[np.ndarray]
) -> None:
    """Also those beyond the frame. Without VNNI instructions, int8 sums differ by parts of a degree, rarely by more."""
    model = PoseModel(shared_data / "opentrack" / "head-pose-0.4-small-int8.onnx")
    apart = [
        angle_deg(estimate_pose(model, frames[case["frame"]], PixelBox(*case["box_xywh"])), case)
        for case in answers["cases"]
    ]
    assert np.median(apart) < 1.0


@pytest.mark.skipif(not has_integer_instructions(), reason="the plugin's answers are of a CPU with VNNI instructions")
def test_all_answers_of_the_plugin_are_met(
    shared_data: Path, answers: dict[str, Any], frames: list[np.ndarray]
) -> None:
    model = PoseModel(shared_data / "opentrack" / "head-pose-0.4-small-int8.onnx")
    assert len(answers["cases"]) == 300
    for case in answers["cases"]:
        pose = estimate_pose(model, frames[case["frame"]], PixelBox(*case["box_xywh"]))
        assert angle_deg(pose, case) <= 1e-6, case
        x, y, width, height = case["box_out_xywh"]
        assert pose.head == pytest.approx([*case["center"], case["size"]], abs=1e-4), case
        assert pose.box == pytest.approx([x, y, x + width, y + height], abs=1e-4), case
