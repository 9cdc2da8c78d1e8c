"""A batch as the two tensors that travel from loaders to devices: crops, and all numbers of a face in one row.

labels (B, ...) by name --pack_values--> PackedBatch(image, values) --.to(device)--> --unpack--> Batch, whose labels are views
"""

from collections.abc import Mapping
from itertools import accumulate
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor

from trackertraincode.sample.sample import BATCH_LABELS, Batch, make_batch

_WIDTHS = [prod(shape) for shape in BATCH_LABELS.values()]
COLUMNS = {  # label -> its columns
    name: slice(end - width, end) for name, end, width in zip(BATCH_LABELS, accumulate(_WIDTHS), _WIDTHS)
}
WEIGHT, DATASET, ROW = range(sum(_WIDTHS), sum(_WIDTHS) + 3)  # the last two hold the bits of int32
WIDTH = ROW + 1


class PackedBatch(NamedTuple):
    """B faces as two tensors."""

    image: Tensor  # (B, C, S, S) uint8 or float32 pixels 0…255
    values: Tensor  # (B, WIDTH) float32, and with tables 256 + 1 more: a table, the standard deviation of noise

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "PackedBatch":
        """The same batch on another device, which never waits where the memory is page-locked."""
        return PackedBatch(*(value.to(device, non_blocking=non_blocking) for value in self))

    def unpack(self) -> Batch:
        """The same numbers with names; nothing is copied but numbers of data sets and rows."""
        count = len(self.values)
        return make_batch(
            self.image,
            self.values[:, DATASET].view(torch.int32).long(),
            self.values[:, ROW].view(torch.int32).long(),
            self.values[:, WEIGHT],
            self.values[:, WIDTH:] if self.values.shape[1] > WIDTH else None,
            **{name: self.values[:, COLUMNS[name]].reshape(count, *shape) for name, shape in BATCH_LABELS.items()},
        )


def pack_values(labels: Mapping[str, Tensor], *, weight: Tensor, dataset: Tensor, row: Tensor) -> Tensor:
    """labels: all of BATCH_LABELS, (B, ...); weight, dataset, row: (B,) -> (B, WIDTH)."""
    values = torch.empty(len(weight), WIDTH)
    for name, columns in COLUMNS.items():
        values[:, columns] = labels[name].reshape(len(weight), -1)
    values[:, WEIGHT] = weight
    values[:, DATASET].view(torch.int32).copy_(dataset)
    values[:, ROW].view(torch.int32).copy_(row)
    return values
