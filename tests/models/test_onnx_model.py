"""ONNX files of any content give a model or one line."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from trackertraincode.errors import ModelFileError
from trackertraincode.models.onnx_model import METADATA_KEY, OnnxPoseModel

COUNTS = {"pos_size": 3, "quat": 4, "box": 4}


def tiny(path: Path, *, batch: Any = 1, size: int = 32, metadata: bytes | None = None) -> Path:
    """Means of the crop times weights, as a pose network looks from outside."""
    nodes = [helper.make_node("GlobalAveragePool", ["x"], ["m"]), helper.make_node("Flatten", ["m"], ["f"])]
    nodes += [helper.make_node("Gemm", ["f", f"w_{name}", f"b_{name}"], [name]) for name in COUNTS]
    shapes = {f"{kind}_{n}": (1, c) if kind == "w" else (c,) for n, c in COUNTS.items() for kind in "wb"}
    weights = [numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in shapes.items()]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 1, size, size])]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, c]) for name, c in COUNTS.items()]
    model = helper.make_model(
        helper.make_graph(nodes, "g", inputs, outputs, weights), opset_imports=[helper.make_opsetid("", 18)]
    )
    model.ir_version, model.model_version = 10, 4
    if metadata is not None:
        helper.set_model_props(model, {METADATA_KEY: "?" * len(metadata)})
    data = model.SerializeToString()
    path.write_bytes(data.replace(b"?" * len(metadata), metadata) if metadata else data)
    onnx.load_model_from_string(data)
    return path


@pytest.mark.parametrize("batch", [1, "batch"])
def test_a_tiny_model_runs(tmp_path: Path, batch: Any) -> None:
    about = {"trained_on": ["a"], "regions": {"head": [1, 2.5, 3]}}
    model = OnnxPoseModel(tiny(tmp_path / "a.onnx", batch=batch, metadata=json.dumps(about).encode()))
    assert model.about == about
    assert model.run(np.zeros((3, 1, 32, 32), np.float32))["rotation"].shape == (3, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch": 2**31 - 1}, r"input has shape \[2147483647, 1, 32, 32\], expected at most 4096"),
        ({"size": 2**20}, "expected at most 4096"),
        ({"batch": 2**12, "size": 2**12}, "expected at most .* 268,435,456 values"),
        ({"metadata": b"\xff\xfe"}, "ONNX Runtime can't load it"),
        ({"metadata": b"[]"}, "about itself isn't a table"),
        ({"metadata": b"null"}, "about itself isn't a table"),
        ({"metadata": b"[" * 100_000}, "metadata trackertraincode is damaged"),
        ({"metadata": b'{"trained_on": 3}'}, "trained_on = '3'"),
        ({"metadata": b'{"trained_on": [null]}'}, "trained_on = "),
        ({"metadata": b'{"regions": {"head": "x"}}'}, "regions = "),
        ({"metadata": b'{"regions": {"head": [1, 2, NaN]}}'}, "regions = "),
        ({"metadata": b'{"face_model": []}'}, "face_model = "),
        ({"metadata": b'{"epoch": []}'}, "epoch = "),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_makes_no_sense_is_named(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelFileError, match=rf"a\.onnx: .*{message}"):
        OnnxPoseModel(tiny(tmp_path / "a.onnx", **options))


def test_weights_elsewhere_are_one_line_and_onnx_runtime_says_nothing_more(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tiny(tmp_path / "a.onnx")
    model = onnx.load(path)
    weights = model.graph.initializer[0]
    count = len(weights.raw_data)
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    for key, value in {"location": ".", "offset": "0", "length": str(count)}.items():
        weights.external_data.add(key=key, value=value)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelFileError, match=r"a\.onnx: ONNX Runtime can't load it"):
        OnnxPoseModel(path)
    assert capfd.readouterr() == ("", "")
