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
from trackertraincode.export import trial
from trackertraincode.export.contract import judge, opentrack_faults
from trackertraincode.models.onnx_model import OUTPUTS, OnnxPoseModel, Output
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


def test_the_script_calls_a_localizer_one_and_takes_it_for_no_pose_model(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = shared_data / "opentrack" / "head-localizer.onnx"
    assert run_door(monkeypatch, path) == 0
    assert capsys.readouterr().out == f"{path}: OpenTrack runs it as its localizer\n"
    image = tmp_path / "grey.png"
    image.write_bytes(encode_png(np.full((100, 120), 128, np.uint8)))
    assert run_door(monkeypatch, path, image, 40, 20, 50, 30) == 1
    assert f"{path}: is a localizer" in capsys.readouterr().err


def test_the_script_takes_one_line_for_what_is_no_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_door(monkeypatch, tmp_path / "none.onnx") == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_script_prints_the_pose_in_pixels_of_the_image(
    saved: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    image = tmp_path / "grey.png"
    image.write_bytes(encode_png(np.full((100, 120), 128, np.uint8)))
    assert run_door(monkeypatch, saved(), image, 40, 20, 50, 30) == 0
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


def test_an_output_more_is_an_entry_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trackertraincode.export.onnx import export_full, outputs_of, sample_images
    from trackertraincode.facemodel.embedded import embedded_head
    from trackertraincode.models.about import About
    from trackertraincode.models.pose_network import NetworkConfig, build_network

    more = Output("up", {"up_axis": (1, 3)}, value=lambda prediction: prediction.rotation[:, :3].neg())
    monkeypatch.setitem(OUTPUTS, "up", more)
    network = build_network(NetworkConfig(backbone="repvgg_az", width=0.25, input_size=33), embedded_head()).eval()
    export_full(network, tmp_path / "full.onnx", About())
    assert "up" in {output.name for output in onnx.load_model(tmp_path / "full.onnx").graph.output}
    assert OnnxPoseModel(tmp_path / "full.onnx").fields == ("head", "rotation", "face_box", "landmarks", "shape")
    assert "up_axis" in outputs_of(network(sample_images(1, 33, 1)), full=False)
