"""Weights on the steps of int8, rounded one after the other, so that errors cancel in the values that they meet.

Conv, its inputs x on crops --> mean of x xᵀ --> a weight is rounded, its error moves to the row's other weights, and so on

This is GPTQ (arXiv 2210.17323); ONNX Runtime has it for products of matrices alone.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from trackertraincode.export.values import attributes, values_on

DAMPING = 1e-3  # of the mean of x², added to it: what the crops don't show isn't free
MOST_INPUTS = 2304  # of a row; longer ones stay, as their x xᵀ would take too much memory


def rounded(model: Any, levels: Mapping[str, int], crops: Tensor) -> Any:
    """A ModelProto, the weights of whose named convolutions are whole multiples of a step of their row.

    levels: largest multiple by name of the node. The largest weight of a row keeps its value, so that a quantiser finds the
    same steps. crops: (n, C, S, S), which show the values.
    """
    import onnx
    from onnx import numpy_helper

    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    weights = {initializer.name: initializer for initializer in changed.graph.initializer}
    nodes = [node for node in changed.graph.node if node.name in levels and node.op_type == "Conv"]
    nodes = [node for node in nodes if np.prod(weights[node.input[1]].dims[1:]) <= MOST_INPUTS]
    moments = {node.name: _Moments(node, weights[node.input[1]].dims) for node in nodes}
    for values in values_on(model, {node.input[0] for node in nodes}, crops):
        for node in nodes:
            moments[node.name].add(values[node.input[0]])
    for node in nodes:
        found, weight = moments[node.name], weights[node.input[1]]
        before = numpy_helper.to_array(weight)
        rows = before.reshape(found.groups, -1, before[0].size).astype(np.float64)
        after = round_rows(rows, found.products / found.count, levels[node.name])
        weight.CopyFrom(numpy_helper.from_array(after.reshape(before.shape).astype(before.dtype), weight.name))
        if len(node.input) > 2:  # the mean stays
            bias = weights[node.input[2]]
            offset = numpy_helper.to_array(bias)
            moved = ((rows - after) @ (found.sums / found.count)[..., None]).reshape(offset.shape)
            bias.CopyFrom(numpy_helper.from_array((offset + moved).astype(offset.dtype), bias.name))
    return changed


def round_rows(rows: np.ndarray, products: np.ndarray, levels: int) -> np.ndarray:
    """(g, R, K) weights, (g, K, K) means of x xᵀ -> (g, R, K) multiples of each row's largest absolute value / levels."""
    power = np.einsum("gkk->gk", products)
    damping = np.maximum(DAMPING * power.mean(-1), np.finfo(np.float64).tiny ** 0.5)
    order = np.argsort(-power, axis=-1)  # inputs that matter first, while there are others to make up for errors
    rows = np.take_along_axis(rows, order[:, None], axis=2)
    products = np.take_along_axis(np.take_along_axis(products, order[:, None], 2), order[:, :, None], 1)
    inverse = np.linalg.inv(products + damping[:, None, None] * np.eye(rows.shape[2]))
    upper = np.linalg.cholesky(inverse).swapaxes(1, 2)
    largest = np.abs(rows).argmax(axis=-1)  # (g, R)
    limit = np.abs(rows).max(axis=-1)
    step = np.where(limit > 0, limit, 1.0) / levels
    fixed, found = np.sign(np.take_along_axis(rows, largest[..., None], 2))[..., 0] * limit, np.empty_like(rows)
    for k in range(rows.shape[2]):
        nearest = np.clip(np.rint(rows[..., k] / step), -levels, levels) * step
        found[..., k] = np.where(largest == k, fixed, nearest)
        error = (rows[..., k] - found[..., k]) / upper[:, k, k, None]
        rows[..., k + 1 :] -= error[..., None] * upper[:, None, k, k + 1 :]
    return np.take_along_axis(found, np.argsort(order, axis=-1)[:, None], axis=2)


class _Moments:
    """Sums over crops and places of what the rows of a convolution are multiplied with."""

    def __init__(self, node: Any, shape: tuple[int, ...]) -> None:
        """shape: of the weights, (O, C / groups, h, w)."""
        known = attributes(node)
        self.groups: int = known.get("group", 1)
        self._window = {
            name: known[key] for name, key in (("stride", "strides"), ("dilation", "dilations")) if key in known
        }
        self._edges, self._shape = known.get("pads", [0, 0, 0, 0]), tuple(shape)
        inputs = int(np.prod(self._shape[1:]))
        self.products = np.zeros((self.groups, inputs, inputs))  # sums of x xᵀ
        self.sums = np.zeros((self.groups, inputs))
        self.count = 0

    def add(self, value: np.ndarray) -> None:
        """value: (1, C, H, W)."""
        top, left, bottom, right = self._edges
        padded = F.pad(torch.from_numpy(value), (left, right, top, bottom))
        x = F.unfold(padded, self._shape[2:], **self._window)[0].unflatten(0, (self.groups, -1))
        self.products += (x @ x.transpose(1, 2)).numpy()
        self.sums += x.sum(-1).numpy()
        self.count += x.shape[-1]
