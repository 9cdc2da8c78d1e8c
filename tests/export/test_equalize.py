"""Channels of one range: the answers stay, and how channels were scaled before makes no difference to int8."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper, numpy_helper

from trackertraincode.export.equalize import SMALLEST, channel_groups, equalized, largest_values
from trackertraincode.export.onnx import pose_model, sample_images
from trackertraincode.facemodel.embedded import embedded_head
from trackertraincode.models.pose_network import NetworkConfig, PoseNetwork, build_network

SIZE, COUNT = 33, 40
CROPS = sample_images(1, SIZE, COUNT)


def make_network(backbone: str) -> PoseNetwork:
    """A tiny network with the statistics of some crops."""
    torch.manual_seed(0)
    network = build_network(NetworkConfig(backbone=backbone, width=0.25, input_size=SIZE), embedded_head()).train()
    with torch.no_grad():
        for _ in range(20):
            network(sample_images(1, SIZE, 16))
    return network.eval()


def convolution(value: str, weight: str, *, groups: int = 1) -> Any:
    edge = [1, 1, 1, 1] if "3" in weight else [0, 0, 0, 0]
    return helper.make_node("Conv", [value, weight, f"{weight}_bias"], [f"{weight}_out"], pads=edge, group=groups)


def small_model() -> Any:
    """Two convolutions whose sum is read by one for each channel and by one in two groups; the answer has other ranges."""
    rng = np.random.default_rng(0)
    weights = {"a3": (4, 1, 3, 3), "b1": (4, 1, 1, 1), "c3": (8, 1, 3, 3), "d1": (6, 2, 1, 1), "e1": (3, 8, 1, 1)}
    biases = {f"{name}_bias": shape[:1] for name, shape in weights.items()}
    nodes = [
        convolution("x", "a3"), convolution("x", "b1"), helper.make_node("Add", ["a3_out", "b1_out"], ["sum"]),
        helper.make_node("Relu", ["sum"], ["relu"]), convolution("relu", "c3", groups=4),
        convolution("relu", "d1", groups=2), helper.make_node("Sigmoid", ["d1_out"], ["d"]), convolution("c3_out", "e1"),
    ]  # fmt: skip
    initializers = []
    for name, shape in {**weights, **biases}.items():
        rows = rng.lognormal(0, 0.3, (shape[0], *[1] * (len(shape) - 1)))
        initializers.append(numpy_helper.from_array((rows * rng.normal(size=shape)).astype(np.float32), name))
    ports = [helper.make_tensor_value_info(name, 1, [1, None, 8, 8]) for name in ("x", "d", "e1_out")]
    ports[0].type.tensor_type.shape.dim[1].dim_value = 1
    graph = helper.make_graph(nodes, "small", ports[:1], ports[1:], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def answers(model: Any, crops: torch.Tensor) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    runs = [session.run(None, {session.get_inputs()[0].name: crop.numpy()}) for crop in crops.split(1)]
    return [np.concatenate(values) for values in zip(*runs)]


@pytest.mark.parametrize(
    "backbone",
    [None, *(pytest.param(name, marks=pytest.mark.slow) for name in ("repvgg_az", "mobilenetv1", "resnet18"))],
)
def test_answers_stay_and_ranges_become_one(backbone: str | None) -> None:
    if backbone is None:
        model, crops = small_model(), torch.randn(6, 1, 8, 8)
    else:
        model, crops = pose_model(make_network(backbone).deployed(), Path("a.onnx"), full=False), CROPS[:4]
    changed = equalized(model, crops)
    for before, after in zip(answers(model, crops), answers(changed, crops)):
        assert after == pytest.approx(before, rel=1e-4, abs=1e-4)
    groups = [group for group in channel_groups(changed.graph) if group.is_free and group.readers]
    assert groups
    for group in groups:
        first, largest = (
            np.max(list(largest_values(m, group.values, crops).values()), axis=0) for m in (model, changed)
        )
        alive = first > 1.001 * SMALLEST * first.max()
        assert largest[alive] == pytest.approx(first.max(), rel=1e-3), group.values
        assert (largest <= 1.001 * first.max()).all(), group.values


def test_values_that_others_read_or_write_stay() -> None:
    free = {value for group in channel_groups(small_model().graph) if group.is_free for value in group.values}
    assert free == {"a3_out", "b1_out", "relu", "c3_out"}


def test_scales_of_channels_make_no_difference() -> None:
    crops, model = torch.randn(6, 1, 8, 8), small_model()
    scaled = onnx.ModelProto()
    scaled.CopyFrom(model)
    weights = {initializer.name: initializer for initializer in scaled.graph.initializer}
    factor = np.array([0.3, 1.0, 4.0, 2.0], np.float32)
    for name, by in {
        "a3": factor[:, None, None, None], "a3_bias": factor, "b1": factor[:, None, None, None], "b1_bias": factor,
        "c3": 1 / factor.repeat(2)[:, None, None, None], "d1": 1 / factor.reshape(2, 2).repeat(3, 0)[..., None, None],
    }.items():  # fmt: skip
        weights[name].CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights[name]) * by, name))
    expected, found = (equalized(m, crops).graph.initializer for m in (model, scaled))
    for a, b in zip(expected, found):
        ratio = numpy_helper.to_array(b) / numpy_helper.to_array(a)
        assert np.ptp(ratio) < 1e-3 * ratio.mean(), a.name  # all channels alike
