"""Faults of files for OpenTrack's tracker: each is named in one line; good files have none."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from constant_onnx import EDGE, GOOD, build_model, without
from onnx import TensorProto, helper, numpy_helper

from trackertraincode.errors import ModelFileError
from trackertraincode.export import trial
from trackertraincode.export.contract import judge, opentrack_faults


def test_a_good_file_has_no_fault(saved: Callable[..., Path]) -> None:
    assert opentrack_faults(saved()) == []


def test_a_file_without_uncertainty_has_no_fault(saved: Callable[..., Path]) -> None:
    assert opentrack_faults(saved(outputs={name: GOOD[name] for name in ("pos_size", "quat", "box")})) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"stored_shapes": {"box": ["n", 4]}},
        {"stored_shapes": {"box": [1, 3]}},
        {"outputs": GOOD | {"eyes": np.zeros((1, 2))}, "stored_shapes": {"eyes": ["n", 2]}},
        {"outputs": GOOD | {"rotaxis_std": np.eye(3)[None], "pos_size_std": np.ones((1, 3))}},
    ],
    ids=["free batch", "wrong number", "another output", "old names"],
)
def test_the_shapes_that_count_are_those_that_onnx_runtime_infers(
    changes: dict[str, Any], saved: Callable[..., Path]
) -> None:
    assert opentrack_faults(saved(**changes)) == []


def extended(path: Path, nodes: list[Any], shape: list[int] | None, *, domains: tuple[str, ...] = ()) -> Path:
    """Give the good model of a file an output `more` that the nodes make."""
    model = build_model()
    model.graph.node.extend(nodes)
    model.graph.output.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, shape))
    model.opset_import.extend(helper.make_opsetid(domain, 1) for domain in domains)
    onnx.save_model(model, path)
    return path


COUNTED = [  # an output with as many columns as the input has numbers that aren't 0
    helper.make_node("NonZero", ["x"], ["places"]),
    helper.make_node("Shape", ["places"], ["size"]),
    helper.make_node("ConstantOfShape", ["size"], ["more"]),
]


@pytest.mark.parametrize(
    ("shape", "fault"),
    [
        ([4, 81], "output 'more' has the shape [4, 81] in the file, [4, 0] when it runs"),
        (None, "output 'more' has no fixed shape"),
    ],
    ids=["stored", "not stored"],
)
def test_shapes_that_depend_on_the_image_are_a_fault(shape: list[int] | None, fault: str, tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["positive"]), *COUNTED]
    nodes[1] = helper.make_node("NonZero", ["positive"], ["places"])
    faults = opentrack_faults(extended(tmp_path / "model.onnx", nodes, shape))
    assert [re.sub(r"\[4, \d+\] when", "[4, 0] when", found) for found in faults] == [fault]


def test_a_single_number_as_another_output_is_fine(tmp_path: Path) -> None:
    node = helper.make_node("ReduceMean", ["x"], ["more"], keepdims=0)
    assert opentrack_faults(extended(tmp_path / "model.onnx", [node], [])) == []


def test_an_output_that_is_no_tensor_is_named(tmp_path: Path) -> None:
    path = extended(tmp_path / "model.onnx", [helper.make_node("SequenceConstruct", ["x"], ["more"])], None)
    model = onnx.load_model(path)
    model.graph.output[-1].CopyFrom(helper.make_tensor_sequence_value_info("more", TensorProto.FLOAT, None))
    onnx.save_model(model, path)
    assert opentrack_faults(path)[0] == "output 'more' has type seq(tensor(float)), expected float32"


def test_operators_of_microsoft_are_a_warning(tmp_path: Path) -> None:
    node = helper.make_node("Gelu", ["x"], ["more"], domain="com.microsoft")
    verdict = judge(extended(tmp_path / "model.onnx", [node], [1, 1, EDGE, EDGE], domains=("com.microsoft",)))
    assert verdict.faults == ()
    assert verdict.warnings == ("operators of the domain 'com.microsoft', which OpenTrack's Windows builds don't have",)


def test_operators_that_a_model_defines_itself_are_fine(tmp_path: Path) -> None:
    path = extended(tmp_path / "model.onnx", [helper.make_node("Own", ["x"], ["more"], domain="own")], None)
    model = onnx.load_model(path)
    body = [helper.make_node("Neg", ["a"], ["b"])]
    model.functions.append(helper.make_function("own", "Own", ["a"], ["b"], body, [helper.make_opsetid("", 18)]))
    model.opset_import.append(helper.make_opsetid("own", 1))
    onnx.save_model(model, path)
    assert opentrack_faults(path) == []


def test_a_model_that_loops_for_ever_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "TIME_LIMIT", 1.0)
    kinds = {"i": TensorProto.INT64, "go": TensorProto.BOOL, "in": TensorProto.FLOAT, "out": TensorProto.FLOAT}
    ports = {name: helper.make_tensor_value_info(name, kind, []) for name, kind in kinds.items()}
    results = [helper.make_tensor_value_info("on", TensorProto.BOOL, []), ports.pop("out")]
    steps = [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Identity", ["in"], ["out"])]
    body = helper.make_graph(steps, "body", list(ports.values()), results)
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["sum"], keepdims=0),
        helper.make_node("Equal", ["sum", "sum"], ["start"]),
        helper.make_node("Loop", ["", "start", "sum"], ["more"], body=body),
    ]
    (fault,) = opentrack_faults(extended(tmp_path / "model.onnx", nodes, []))
    assert fault == "doesn't run: no answer within 1 s, as if it looped for ever"


def test_a_model_that_takes_all_memory_is_a_fault(tmp_path: Path) -> None:
    size = numpy_helper.from_array(np.array([1 << 20, 1 << 20], np.int64))
    nodes = [
        helper.make_node("Constant", [], ["size"], value=size),
        helper.make_node("ConstantOfShape", ["size"], ["huge"]),
        helper.make_node("ReduceMax", ["huge"], ["more"], keepdims=0),
    ]
    (fault,) = opentrack_faults(extended(tmp_path / "model.onnx", nodes, []))
    assert fault.startswith("doesn't run: ")


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
    "length": ({"outputs": GOOD | {"quat": np.array([[0.0, 0, 0, 1.1]])}}, "'quat' isn't of length 1"),
    "wrong size": (
        {"outputs": GOOD | {"box": np.zeros((1, 5))}}, r"'box' has the shape \[1, 5\], expected \[1, 4\]"
    ),
    "wrong size, stored as if it were right": (
        {"outputs": GOOD | {"box": np.zeros((1, 5))}, "stored_shapes": {"box": [1, 4]}}, r"'box' has the shape \[1, 5\]"
    ),
    "old name of the rotation's factor with three numbers": (
        {"outputs": GOOD | {"rotaxis_std": np.ones((1, 3))}}, r"'rotaxis_std' has the shape \[1, 3\], expected \[1, 3, 3\]"
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


def test_an_image_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\x89PNG\r\n" + bytes(range(256)))
    with pytest.raises(ModelFileError, match="no ONNX file"):
        opentrack_faults(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"none\.onnx: no such file"):
        opentrack_faults(tmp_path / "none.onnx")
