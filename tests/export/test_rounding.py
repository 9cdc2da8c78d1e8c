"""Weights on steps: errors cancel where inputs go together, and what a quantiser finds are the same steps."""

from typing import Any

import numpy as np
import pytest
import torch
from onnx import helper, numpy_helper

from trackertraincode.export.rounding import round_rows, rounded
from trackertraincode.export.values import values_on

LEVELS = 20


def correlated(count: int, inputs: int, rng: np.random.Generator) -> np.ndarray:
    """(count, inputs) samples of few causes."""
    return rng.normal(size=(count, 3)) @ rng.normal(size=(3, inputs)) + 0.1 * rng.normal(size=(count, inputs))


def steps_of(rows: np.ndarray) -> np.ndarray:
    return np.asarray(np.abs(rows).max(-1, keepdims=True) / LEVELS)


def test_rows_are_whole_multiples_of_the_same_steps() -> None:
    rng = np.random.default_rng(0)
    x, rows = correlated(200, 12, rng), rng.normal(size=(1, 9, 12))
    found = round_rows(rows, (x.T @ x / len(x))[None], LEVELS)
    multiples = found / steps_of(rows)
    assert multiples == pytest.approx(np.rint(multiples), abs=1e-9)
    assert np.abs(found).max(-1) == pytest.approx(np.abs(rows).max(-1), rel=1e-12)
    assert np.abs(found - rows).max() > 0.6 * steps_of(rows).max(), "some are not the nearest ones"


def test_sums_are_nearer_than_those_of_the_nearest_steps() -> None:
    rng = np.random.default_rng(1)
    x, rows = correlated(500, 12, rng), rng.normal(size=(1, 40, 12))
    nearest = np.rint(rows / steps_of(rows)) * steps_of(rows)
    found = round_rows(rows, (x.T @ x / len(x))[None], LEVELS)
    errors = [np.square((w - rows)[0] @ x.T).mean() for w in (found, nearest)]
    assert errors[0] < 0.2 * errors[1]


@pytest.mark.parametrize("power", [1.0, 0.0])
def test_unrelated_inputs_and_those_that_are_always_zero_get_the_nearest_steps(power: float) -> None:
    rows = np.random.default_rng(2).normal(size=(2, 5, 7))
    products = power * np.stack([np.eye(7), np.diag(np.arange(1.0, 8.0))])
    assert round_rows(rows, products, LEVELS) == pytest.approx(np.rint(rows / steps_of(rows)) * steps_of(rows))


def test_groups_are_rounded_each_by_its_inputs() -> None:
    rng = np.random.default_rng(3)
    rows, x = rng.normal(size=(3, 4, 6)), [correlated(50, 6, rng) for _ in range(3)]
    products = np.stack([v.T @ v for v in x])
    alone = [round_rows(rows[i : i + 1], products[i : i + 1], LEVELS)[0] for i in range(3)]
    assert round_rows(rows, products, LEVELS) == pytest.approx(np.stack(alone))


def model_of(groups: int) -> Any:
    """A convolution with stride and uneven edges between two that stay as they are."""
    rng = np.random.default_rng(4)
    shapes = {"a": (4, 1, 3, 3), "a_bias": (4,), "b": (8, 4 // groups, 3, 2), "b_bias": (8,)}
    weights = [numpy_helper.from_array(rng.normal(size=s).astype(np.float32), name) for name, s in shapes.items()]
    nodes = [
        helper.make_node("Conv", ["x", "a", "a_bias"], ["hidden"], name="first"),
        helper.make_node("Relu", ["hidden"], ["relu"]),
        helper.make_node(
            "Conv", ["relu", "b", "b_bias"], ["y"], name="second", group=groups, strides=[2, 1], pads=[1, 0, 2, 1]
        ),
    ]  # fmt: skip
    ports = [helper.make_tensor_value_info(name, 1, [1, None, None, None]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "small", ports[:1], ports[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_answers_keep_their_mean_and_move_less_than_with_the_nearest_steps(groups: int) -> None:
    torch.manual_seed(0)
    crops, model = torch.randn(20, 1, 9, 9).cumsum(-1), model_of(groups)

    def answers(m: Any) -> np.ndarray:
        return np.concatenate([values["y"] for values in values_on(m, ["y"], crops)])

    changed = rounded(model, {"second": LEVELS}, crops)
    weights = {w.name: numpy_helper.to_array(w) for w in changed.graph.initializer}
    old = {w.name: numpy_helper.to_array(w) for w in model.graph.initializer}
    after, before = (values["b"].reshape(8, -1) for values in (weights, old))
    steps = steps_of(before)
    assert after / steps == pytest.approx(np.rint(after / steps), abs=1e-4)
    assert np.array_equal(weights["a"], old["a"])
    error = answers(changed) - answers(model)
    assert error.mean((0, 2, 3)) == pytest.approx(np.zeros(8), abs=1e-5)
    nearest = model_of(groups)
    weight = next(w for w in nearest.graph.initializer if w.name == "b")
    weight.CopyFrom(
        numpy_helper.from_array((np.rint(before / steps) * steps).reshape(old["b"].shape).astype(np.float32), "b")
    )
    assert np.square(error).mean() < np.square(answers(nearest) - answers(model)).mean()


def test_long_rows_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trackertraincode.export.rounding.MOST_INPUTS", 20)
    model = model_of(1)
    assert rounded(model, {"second": LEVELS}, torch.zeros(1, 1, 9, 9)).graph == model.graph
