"""ONNX models: mutated bytes, nodes, shapes, weights and metadata."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from harness import NUMBERS, main, mutated, nasty
from onnx import TensorProto, helper, numpy_helper

from trackertraincode.evaluation.predictor import OnnxPredictor
from trackertraincode.localizer.model import OnnxLocalizer

NAME = "x.onnx"


def tiny_model() -> Any:
    """Means of the image times weights: head, rotation, box; as OpenTrack's models look from outside."""
    rng = np.random.default_rng(0)
    nodes = [helper.make_node("GlobalAveragePool", ["x"], ["m"]), helper.make_node("Flatten", ["m"], ["f"])]
    weights, outputs = [], []
    for name, count in (("pos_size", 3), ("quat", 4), ("box", 4)):
        weights.append(numpy_helper.from_array(rng.random((1, count), np.float32), f"w_{name}"))
        weights.append(numpy_helper.from_array(np.ones(count, np.float32), f"b_{name}"))
        nodes.append(helper.make_node("Gemm", ["f", f"w_{name}", f"b_{name}"], [name]))
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, count]))
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 32, 32])]
    graph = helper.make_graph(nodes, "g", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version, model.model_version = 10, 4
    return model


MODEL = tiny_model()
OPERATORS = (
    "Relu", "Sigmoid", "Reshape", "Concat", "Loop", "If", "Softmax", "Conv", "MatMul", "Log", "Sqrt", "Expand", "Tile",
    "Gather",
)  # fmt: skip


def make(rng: np.random.Generator) -> bytes:
    model = onnx.ModelProto()
    model.CopyFrom(MODEL)
    kind = rng.integers(6)
    if kind == 0:
        return mutated(MODEL.SerializeToString(), rng)
    if kind == 1:
        about = {"trained_on": nasty(rng), "regions": nasty(rng), "channels": nasty(rng), "input_size": nasty(rng)}
        text = json.dumps(about, default=repr) if rng.random() < 0.8 else "[" * 10 ** int(rng.integers(1, 6))
        helper.set_model_props(model, {"trackertraincode": text})
    elif kind == 2:
        node = model.graph.node[rng.integers(len(model.graph.node))]
        node.op_type = OPERATORS[rng.integers(len(OPERATORS))]
        if rng.random() < 0.3:
            node.attribute.append(helper.make_attribute("axis", int(NUMBERS[rng.integers(13)]) % 2**63))
    elif kind == 3:
        values = [*model.graph.input, *model.graph.output]
        for value in (values[i] for i in rng.integers(len(values), size=2)):
            if value.type.tensor_type.shape.dim:
                dim = value.type.tensor_type.shape.dim
                dim[rng.integers(len(dim))].dim_value = int(NUMBERS[rng.integers(13)]) % 2**63
            if rng.random() < 0.3:
                value.type.tensor_type.elem_type = int(rng.integers(20))
            if rng.random() < 0.2:
                value.name = str(rng.choice(["logit_box", "pose", "pt3d_68", ""]))
    elif kind == 4:
        weight = model.graph.initializer[rng.integers(len(model.graph.initializer))]
        shape = tuple(int(n) for n in rng.integers(0, 5, size=int(rng.integers(0, 4))))
        numbers = np.array([0.0, np.nan, np.inf, 1e38])[rng.integers(4, size=shape)]
        with np.errstate(invalid="ignore"):  # whatever becomes of them
            numbers = numbers.astype([np.float32, np.float64, np.int64][rng.integers(3)])
        weight.CopyFrom(numpy_helper.from_array(numbers, weight.name))
    else:
        model.model_version = int(rng.integers(-2, 7))
        model.opset_import[0].version = int(rng.integers(-1, 40))
    return model.SerializeToString() if rng.random() < 0.8 else mutated(model.SerializeToString(), rng)


def read(path: Path) -> None:
    if path.stat().st_size % 5 == 0:
        OnnxLocalizer(path).run(np.zeros((1, 1, 224, 288), np.float32))
    predictor = OnnxPredictor(path, threads=1)
    predictor.predict(torch.zeros(1, predictor.channels, predictor.input_size, predictor.input_size))


if __name__ == "__main__":
    main(__doc__, NAME, make, read)
