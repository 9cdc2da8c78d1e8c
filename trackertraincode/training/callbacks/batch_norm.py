"""Running statistics of batch norm that all processes share."""

from typing import Any

import lightning as L
import torch
from torch import nn

BATCH_NORM = nn.modules.batchnorm._BatchNorm


def batch_norms(network: nn.Module) -> list[nn.Module]:
    """The layers as they are now: for several GPUs, Lightning replaces them when training begins."""
    return [module for module in network.modules() if isinstance(module, BATCH_NORM)]


class SharedStatistics(L.Callback):
    """Means over the processes of running batch-norm statistics, at the end of each epoch."""

    @torch.no_grad()
    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.world_size == 1 or not trainer.is_last_batch:
            return
        layers = batch_norms(pl_module.network)
        buffers = [b for m in layers for b in (m.running_mean, m.running_var) if isinstance(b, torch.Tensor)]
        if not buffers:
            return
        shared = trainer.strategy.reduce(torch.cat(buffers), reduce_op="mean")
        for buffer, values in zip(buffers, torch.as_tensor(shared).split([len(b) for b in buffers])):
            buffer.copy_(values)
