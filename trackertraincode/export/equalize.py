"""Channels of one range, without another answer: int8 has one scale for all channels of a value.

Conv --Relu, Add, MaxPool--> Conv    channel i leaves the first × s_i, and the second's weights for it are / s_i

Fused RepVGG layers need it: where a channel hardly varies, batch norm scales the identity branch up a hundredfold, and one
such weight makes the steps of its row as large as the other weights are.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from trackertraincode.export.values import attributes, values_on

SCALABLE = ("Relu", "Add", "MaxPool")  # operators f with f(s x) = s f(x) for s > 0
SMALLEST = 0.01  # of the largest range: channels below are scaled as if they had it, so that other images may show more


@dataclass
class Group:
    """Values whose channels must have the same scales, and the convolutions on both sides."""

    values: set[str] = field(default_factory=set)
    writers: list[Any] = field(default_factory=list)
    readers: list[Any] = field(default_factory=list)
    is_free: bool = True  # no other operator reads or writes them


def equalized(model: Any, crops: Tensor) -> Any:
    """A ModelProto with the same answers, whose channels between convolutions have the same largest values.

    crops: (n, C, S, S), which show the values. Channels that other operators read or write stay as they are.
    """
    import onnx

    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    weights = {initializer.name: initializer for initializer in changed.graph.initializer}
    groups = [group for group in channel_groups(changed.graph) if group.is_free and group.writers and group.readers]
    ranges = largest_values(changed, {value for group in groups for value in group.values}, crops)
    for group in groups:
        largest = np.max([ranges[value] for value in group.values], axis=0)
        factor = largest.max() / np.maximum(largest, SMALLEST * largest.max())
        if not np.isfinite(factor).all():  # a value that is always 0
            continue
        for node in group.writers:
            for name in node.input[1:]:
                _scale_rows(weights[name], factor)
        for node in group.readers:
            _scale_columns(node, weights[node.input[1]], 1.0 / factor)
    return changed


def channel_groups(graph: Any) -> list[Group]:
    """Of all values between nodes but those that a Relu alone reads, which get its range. Weights belong to none."""
    weights = {initializer.name for initializer in graph.initializer}
    uses = Counter(value for node in graph.node for value in node.input)
    cut = {node.input[0] for node in graph.node if node.op_type == "Relu" and uses[node.input[0]] == 1}
    of: dict[str, Group] = {}

    def joined(*values: str) -> Group:
        parts = {id(of[value]): of[value] for value in values if value in of}
        group, *others = parts.values() or [Group()]
        for other in others:
            group.values |= other.values
            group.writers += other.writers
            group.readers += other.readers
            group.is_free &= other.is_free
        group.values |= {*values}
        of.update(dict.fromkeys(group.values, group))
        return group

    for node in graph.node:
        if node.op_type == "Conv" and {*node.input[1:]} <= weights:
            joined(node.input[0]).readers.append(node)
            joined(node.output[0]).writers.append(node)
        elif node.op_type in SCALABLE and not weights & {*node.input}:
            joined(*node.input, *node.output)
        else:
            for value in {*node.input, *node.output} - weights:
                joined(value).is_free = False
    for port in [*graph.input, *graph.output]:
        joined(port.name).is_free = False
    groups = list({id(group): group for group in of.values()}.values())
    for group in groups:
        group.values -= cut
    return groups


def largest_values(model: Any, values: set[str], crops: Tensor) -> dict[str, np.ndarray]:
    """(C,) largest absolute value of each channel, by the name of the value (n, C, h, w)."""
    found: dict[str, np.ndarray] = {}
    for answers in values_on(model, values, crops):
        for name, answer in answers.items():
            largest = np.abs(answer).max(axis=(0, 2, 3))
            found[name] = np.maximum(found.get(name, 0.0), largest)
    return found


def _scale_rows(weight: Any, factor: np.ndarray) -> None:
    """Multiply an initializer (O, ...) by factors (O,)."""
    _multiply(weight, lambda values: factor.reshape(-1, *[1] * (values.ndim - 1)))


def _scale_columns(node: Any, weight: Any, factor: np.ndarray) -> None:
    """Multiply weights (O, C / groups, h, w) by factors (C,) of what they read."""
    groups = attributes(node).get("group", 1)
    _multiply(weight, lambda values: factor.reshape(groups, -1).repeat(len(values) // groups, axis=0)[..., None, None])


def _multiply(weight: Any, by: Callable[[np.ndarray], np.ndarray]) -> None:
    from onnx import numpy_helper

    values = numpy_helper.to_array(weight)
    scaled = (values * by(values)).astype(values.dtype)
    weight.CopyFrom(numpy_helper.from_array(scaled, weight.name))
