"""Faults of files for OpenTrack's tracker: each is named in one line; good files have none."""

import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from conftest import PROJECT, run_script
from trackertraincode.errors import ModelFileError
from trackertraincode.export.contract import opentrack_faults
from trackertraincode.sample.images import encode_png

EDGE = 9
GOOD: dict[str, Any] = {
    "pos_size": np.array([[0.1, -0.2, 0.5]]),
    "quat": np.array([[0.0, 0.0, 0.0, 1.0]]),
    "box": np.array([[-0.5, -0.5, 0.5, 0.5]]),
    "pos_size_scales_tril": np.eye(3)[None] * 0.1,
    "rotaxis_scales_tril": np.eye(3)[None] * 0.1,
}


def build_model(
    outputs: dict[str, Any] | None = None,
    *,
    stored_shapes: dict[str, list[int | str]] | None = None,
    input_name: str = "x",
    input_shape: tuple[int | str, ...] = (1, 1, EDGE, EDGE),
    input_type: int = TensorProto.FLOAT,
    output_type: int = TensorProto.FLOAT,
    second_input: bool = False,
    opset: int = 18,
    ir_version: int = 10,
    model_version: int = 4,
) -> onnx.ModelProto:
    """A model that adds 0 times its input's mean to constants."""
    values = GOOD if outputs is None else outputs
    inputs = [helper.make_tensor_value_info(input_name, input_type, input_shape)]
    if second_input:
        inputs.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, [1]))
    weights = [numpy_helper.from_array(np.zeros(1, np.float32), "zero")]
    weights.append(numpy_helper.from_array(np.array([1], np.int64), "one"))
    nodes = [
        helper.make_node("Cast", [input_name], ["cast"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["cast"], ["mean"], keepdims=1),
        helper.make_node("Reshape", ["mean", "one"], ["flat"]),
        helper.make_node("Mul", ["flat", "zero"], ["nothing"]),
    ]
    infos = []
    for name, value in values.items():
        weights.append(numpy_helper.from_array(np.asarray(value, np.float32), f"{name}_value"))
        nodes.append(helper.make_node("Add", [f"{name}_value", "nothing"], [f"{name}_float"]))
        nodes.append(helper.make_node("Cast", [f"{name}_float"], [name], to=output_type))
        shape = (stored_shapes or {}).get(name, list(np.shape(value)))
        infos.append(helper.make_tensor_value_info(name, output_type, shape))
    graph = helper.make_graph(nodes, "test", inputs, infos, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)
    model.model_version = model_version
    return model


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    """saved(**changes): the path of a file with such a model."""

    def save(**changes: Any) -> Path:
        path = tmp_path / "model.onnx"
        onnx.save_model(build_model(**changes), path)
        return path

    return save


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in GOOD.items() if key != name}


def test_a_good_file_has_no_fault(saved: Callable[..., Path]) -> None:
    assert opentrack_faults(saved()) == []


def test_a_file_without_uncertainty_has_no_fault(saved: Callable[..., Path]) -> None:
    assert opentrack_faults(saved(outputs={name: GOOD[name] for name in ("pos_size", "quat", "box")})) == []


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "dynamic batch": ({"input_shape": ("batch", 1, EDGE, EDGE)}, r"shape \[batch, 1, 9, 9\], expected \[1, 1, H, H\]"),
    "batch of two": ({"input_shape": (2, 1, EDGE, EDGE)}, r"shape \[2, 1, 9, 9\]"),
    "colour": ({"input_shape": (1, 3, EDGE, EDGE)}, r"shape \[1, 3, 9, 9\]"),
    "not square": ({"input_shape": (1, 1, EDGE, EDGE + 1)}, r"shape \[1, 1, 9, 10\]"),
    "half input": ({"input_type": TensorProto.FLOAT16}, "input has type float16, expected float32"),
    "input name": ({"input_name": "image"}, "input 'image', expected the name 'x'"),
    "two inputs": ({"second_input": True}, r"2 inputs \(x, y\), expected one"),
    "opset": ({"opset": 24}, "opset 24, at most 23"),
    "IR": ({"ir_version": 12}, "IR version 12, at most 11"),
    "no quaternion": ({"outputs": without("quat")}, "output 'quat' is missing"),
    "upper triangle": (
        {"outputs": GOOD | {"rotaxis_scales_tril": np.ones((1, 3, 3))}},
        "'rotaxis_scales_tril' is not lower triangular",
    ),
    "negative diagonal": (
        {"outputs": GOOD | {"pos_size_scales_tril": -np.eye(3)[None]}},
        "'pos_size_scales_tril' has diagonal elements that aren't above 0",
    ),
    "NaN": (
        {"outputs": GOOD | {"pos_size": np.full((1, 3), np.nan)}}, "'pos_size' has values that are not finite"
    ),
    "length": ({"outputs": GOOD | {"quat": np.array([[0.0, 0, 0, 1.1]])}}, "'quat' has not the length 1"),
    "stored shape": (
        {"stored_shapes": {"box": ["n", 4]}}, r"'box' has the stored shape \[n, 4\], expected \[1, 4\]"
    ),
    "wrong size": ({"outputs": GOOD | {"box": np.zeros((1, 5))}}, r"'box' has the stored shape \[1, 5\]"),
    "extra of unknown size": (
        {"outputs": GOOD | {"more": np.zeros((1, 2))}, "stored_shapes": {"more": ["n", 2]}}, "'more' has no fixed shape"
    ),
    "old extra of unknown size": (
        {"outputs": GOOD | {"eyes": np.zeros((1, 2))}, "stored_shapes": {"eyes": ["n", 2]}}, "'eyes' has no fixed shape"
    ),
    "version 0": ({"model_version": 0}, "model_version 0, expected 4"),
    "version 1": ({"model_version": 1}, "model_version 1, expected 4"),
    "version 5": ({"model_version": 5}, "model_version 5, expected 4"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_named_in_one_line(name: str, saved: Callable[..., Path]) -> None:
    changes, message = FAULTS[name]
    (fault,) = opentrack_faults(saved(**changes))
    assert "\n" not in fault
    assert re.search(message, fault), fault


def test_half_outputs_are_named_one_by_one(saved: Callable[..., Path]) -> None:
    faults = opentrack_faults(saved(output_type=TensorProto.FLOAT16))
    assert faults == [f"output {name!r} has type float16, expected float32" for name in GOOD]


def test_every_fault_of_a_file_has_its_line(saved: Callable[..., Path]) -> None:
    faults = opentrack_faults(saved(opset=24, ir_version=12, model_version=0, input_name="image"))
    assert [fault.split()[0] for fault in faults] == ["IR", "opset", "model_version", "input"]


def test_weights_in_another_file_are_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save_model(build_model(), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    (fault,) = opentrack_faults(path)
    assert "weights lie in another file" in fault


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_truncated_file_is_named(share: float, saved: Callable[..., Path]) -> None:
    path = saved()
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ModelFileError, match=r"model\.onnx: no ONNX file"):
        opentrack_faults(path)


def test_a_picture_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\x89PNG\r\n" + bytes(range(256)))
    with pytest.raises(ModelFileError, match="no ONNX file"):
        opentrack_faults(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"none\.onnx: no such file"):
        opentrack_faults(tmp_path / "none.onnx")


@pytest.mark.parametrize("name", ["head-pose-0.4-small-int8.onnx", "head-localizer.onnx"])
def test_released_files_pass(name: str, shared_data: Path) -> None:
    assert opentrack_faults(shared_data / "opentrack" / name) == []


def run_door(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """The script's exit code, run in this process."""
    monkeypatch.setattr(sys, "argv", ["check_opentrack_model.py", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(PROJECT / "scripts" / "check_opentrack_model.py"), run_name="__main__")
    return int(str(ended.value))


def test_the_script_ends_with_1_and_a_line_per_fault(
    saved: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(opset=24, model_version=1)
    assert run_door(monkeypatch, path) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all(line.startswith(f"{path}: ") for line in lines)


def test_the_script_takes_one_line_for_what_is_no_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_door(monkeypatch, tmp_path / "none.onnx") == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_script_prints_the_pose_in_pixels_of_the_picture(
    saved: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "grey.png"
    picture.write_bytes(encode_png(np.full((100, 120), 128, np.uint8)))
    assert run_door(monkeypatch, saved(), picture, 40, 20, 50, 30) == 0
    text = capsys.readouterr().out
    # The square has its centre at (65, 35) and half its edge is 25: head 65 + 0.1 * 25, 35 - 0.2 * 25, 0.5 * 25.
    assert re.search(r"head.* 67\.500 +30\.000 +12\.500", text)
    assert re.search(r"box.* 52\.500 +22\.500 +77\.500 +47\.500", text)
    assert re.search(r"pitch, yaw, roll.* -?0\.000 +-?0\.000 +-?0\.000", text)


def test_the_script_refuses_an_empty_box(
    saved: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_door(monkeypatch, saved(), tmp_path / "any.png", 40, 20, 0, 30) == 1
    assert "at least 1" in capsys.readouterr().err


def cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def not_finite(path: Path) -> None:
    onnx.save_model(build_model(outputs=GOOD | {"quat": np.full((1, 4), np.nan)}), path)


BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "cut off": (cut, "can't load it|no ONNX file"),
    "opset": (lambda path: onnx.save_model(build_model(opset=99), path), "can't load it"),
    "missing output": (lambda path: onnx.save_model(build_model(outputs=without("quat")), path), "quat is missing"),
    "free size": (
        lambda path: onnx.save_model(build_model(input_shape=(1, 1, "h", "w")), path), "with fixed H = W"
    ),
    "NaN": (not_finite, "output quat has values that are not finite"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_evaluation_names_a_broken_model_in_one_line(name: str, saved: Callable[..., Path], tmp_path: Path) -> None:
    from trackertraincode.conversion.synthetic import write_faces
    from trackertraincode.rendering.generate import Request

    faces = tmp_path / "faces.h5"
    write_faces(Request(2, 64, 5, "hdf5"), faces, 0)
    path = saved()
    damage, message = BROKEN[name]
    damage(path)
    text = run_script("evaluate_pose_network.py", path, "--data", faces, "--workers", 0, expect=1)
    lines = [line for line in text.splitlines() if "error: " in line]
    assert len(lines) == 1
    assert "model.onnx: " in lines[0]
    assert re.search(message, lines[0]), lines[0]
    assert "Traceback" not in text
