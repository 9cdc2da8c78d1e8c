"""Several processes train as one: what DDP, batch norm and errors need so that only the speed differs.

global batch --rank-th part--> loss / share --backward--> gradients --mean over processes--> those of the global batch

Parts are equal and losses are divided by the batch size, not by labelled rows, so the mean is exact.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning as L
import torch
from lightning.pytorch.plugins.layer_sync import LayerSync
from lightning.pytorch.strategies import DDPStrategy, Strategy
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from timm.layers import convert_sync_batchnorm
from torch import nn

from trackertraincode.training.config import TrainConfig

BATCH_NORM = nn.modules.batchnorm._BatchNorm


@rank_zero_only
def say(text: str) -> None:
    """Print once, not once per process."""
    print(text, flush=True)


def make_strategy(config: TrainConfig) -> Strategy | str:
    """A part of a batch may lack labels that others have, so that some parameters get no gradient there.

    Buffers aren't copied at each step: processes may validate on different numbers of batches.
    """
    if config.world_size == 1:
        return "auto"
    return DDPStrategy(find_unused_parameters=True, broadcast_buffers=False)


class SyncBatchNorm(LayerSync):
    """Batch norm over the global batch, on CUDA. Lightning's own conversion drops the activations in timm's layers."""

    def apply(self, model: nn.Module) -> nn.Module:
        converted: nn.Module = convert_sync_batchnorm(model)
        return converted

    def revert(self, model: nn.Module) -> nn.Module:
        """Nothing to do: after training, only the weights are asked for, which have the same names."""
        return model


class SharedStatistics(L.Callback):
    """Means over the processes of running batch-norm statistics, at the end of each epoch."""

    @torch.no_grad()
    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.world_size == 1 or not trainer.is_last_batch:
            return
        layers = [m for m in pl_module.network.modules() if isinstance(m, BATCH_NORM)]
        buffers = [b for m in layers for b in (m.running_mean, m.running_var) if b is not None]
        if not buffers:
            return
        shared = trainer.strategy.reduce(torch.cat(buffers), reduce_op="mean")
        for buffer, values in zip(buffers, torch.as_tensor(shared).split([len(b) for b in buffers])):
            buffer.copy_(values)


@contextmanager
def ending_together(trainer: L.Trainer) -> Iterator[None]:
    """The processes that this one started stop when it fails, instead of waiting for it."""
    try:
        yield
    except BaseException:
        launcher = trainer.strategy.launcher
        if launcher is not None:
            launcher.kill(signal.SIGTERM)  # type: ignore[attr-defined]
        raise
