"""What lies between the nodes of a model while it looks at crops."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from torch import Tensor


def values_on(model: Any, names: Iterable[str], crops: Tensor) -> Iterator[dict[str, np.ndarray]]:
    """Values by name, for each of the crops (n, C, S, S)."""
    import onnx
    import onnxruntime

    shown, names = onnx.ModelProto(), sorted(names)
    shown.CopyFrom(model)
    shown.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    session = onnxruntime.InferenceSession(shown.SerializeToString(), providers=["CPUExecutionProvider"])
    for crop in crops.split(1):
        yield dict(zip(names, session.run(names, {session.get_inputs()[0].name: crop.numpy()})))


def attributes(node: Any) -> dict[str, Any]:
    """Of a node, by name."""
    from onnx import helper

    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
