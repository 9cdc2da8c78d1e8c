"""An ONNX file that gives constants, for tests of what reads and checks such files."""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

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


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in GOOD.items() if key != name}
