"""Network and losses of a training step as two CUDA graphs, forward and backward.

A step has about a thousand small operations, and Python starts fifty thousand a second: a small network leaves a GPU idle
most of the time. Recorded once, they are started as two.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trackertraincode.errors import ConfigError
from trackertraincode.sample.sample import Batch, Prediction, make_batch

Losses = Callable[[Batch, Tensor], tuple[Prediction, Tensor, dict[str, Tensor]]]
TrainingLosses = Callable[[Batch, Tensor], tuple[Tensor, dict[str, Tensor]]]


class _Flat(nn.Module):
    """Losses as a function of tensors alone; the network's parameters are those that want gradients."""

    def __init__(self, network: nn.Module, losses: Losses, names: list[str]) -> None:
        super().__init__()
        self.network, self._losses, self._names = network, losses, names
        self.parts: list[str] = []

    def forward(self, ramp: Tensor, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        """Everything of a batch -> the loss () and its parts (P,), whose names are in `parts`."""
        _, loss, parts = self._losses(make_batch(**dict(zip(self._names, tensors))), ramp)
        self.parts = list(parts)
        return loss, torch.stack([value.detach().float() for value in parts.values()])


def recorded(
    losses: Losses, network: nn.Module, batch: Batch, ramp: Tensor, half: torch.dtype | None
) -> TrainingLosses:
    """The same losses, for batches of this one's shapes and in this state of the network's layers.

    half: to compute in, inside of autocast. Random numbers and batch-norm statistics stay as they were.
    Raises ConfigError for networks that wait for the device while they compute.
    """
    flat = _Flat(network, losses, list(batch.tensors()))
    device = batch.image.device
    # What is recorded runs in a stream of its own; the optimiser waits for it, and that is meant.
    torch.autograd.graph.set_warn_on_accumulate_grad_stream_mismatch(False)
    kept, state = [value.clone() for value in network.buffers()], torch.cuda.get_rng_state(device)
    try:
        with torch.autocast("cuda", half, enabled=half is not None, cache_enabled=False):
            run: Any = torch.cuda.make_graphed_callables(
                flat, (ramp, *batch.tensors().values()), allow_unused_input=True
            )
    except torch.cuda.OutOfMemoryError:
        raise
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"these steps can't be recorded ({reason}); train with --no-cuda-graph.") from error
    torch.cuda.set_rng_state(state, device)
    with torch.no_grad():
        for buffer, value in zip(network.buffers(), kept):
            buffer.copy_(value)

    def replay(batch: Batch, ramp: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        loss, parts = map(
            Tensor.clone, run(ramp, *batch.tensors().values())
        )  # the next step writes over what isn't copied
        return loss, dict(zip(flat.parts, parts.unbind()))

    return replay
