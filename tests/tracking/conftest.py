"""Small ONNX files of networks that answer the same to every image."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

GOOD = {"quat": [[0, 0, 0, 1]], "pos_size": [[0, 0, 0.5]], "box": [[-0.5, -0.5, 0.5, 0.5]]}  # of a pose network


@pytest.fixture
def write_model(tmp_path: Path) -> Callable[..., Path]:
    """write_model(outputs, shape, kind): outputs: name -> values, float32 unless an array; shape and kind: of the input."""

    def write(
        outputs: dict[str, object], shape: tuple[int | str | None, ...] = (1, 1, 33, 33), kind: int = TensorProto.FLOAT
    ) -> Path:
        values = {n: v if isinstance(v, np.ndarray) else np.array(v, np.float32) for n, v in outputs.items()}
        nodes = [helper.make_node("Constant", [], [n], value=numpy_helper.from_array(v)) for n, v in values.items()]
        types = [(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for n, v in values.items()]
        graph = helper.make_graph(
            [*nodes, helper.make_node("Identity", ["x"], ["unused"])],
            "constant",
            [helper.make_tensor_value_info("x", kind, shape)],
            [helper.make_tensor_value_info(*row) for row in types],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        model.model_version = 4
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.onnx"
        onnx.save(model, path)
        return path

    return write


@pytest.fixture
def pose_model(write_model: Callable[..., Path]) -> Path:
    """Sees a head in the middle of each crop."""
    return write_model(GOOD)


@pytest.fixture
def localizer(write_model: Callable[..., Path]) -> Path:
    """Finds a face in the middle of each frame."""
    return write_model({"logit_box": [[5.0, -0.3, -0.4, 0.3, 0.4]]}, (1, 1, 224, 288))
