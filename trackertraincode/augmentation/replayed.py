"""Many small operations on a GPU, recorded once and then started as one: Python starts some fifty thousand a second.

function --Replayed--> the same function; its first call records a CUDA graph
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

WARM_UP = 2  # calls before recording, in which libraries choose their ways and take memory


class Replayed:
    """A function of tensors that never waits for the device and of which no gradients are wanted.

    All calls must bring tensors of the same shapes. Random numbers differ from call to call, as without recording.
    """

    def __init__(self, function: Callable[..., Sequence[Tensor]]) -> None:
        self._function = function
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: list[Tensor] = []
        self._outputs: list[Tensor] = []

    @torch.no_grad()
    def __call__(self, *inputs: Tensor) -> list[Tensor]:
        """What the function returns, in memory of its own."""
        if self._graph is None:
            self._graph = self._record(inputs)
        for own, value in zip(self._inputs, inputs, strict=True):
            own.copy_(value)
        self._graph.replay()
        return [value.clone() for value in self._outputs]

    def _record(self, inputs: Sequence[Tensor]) -> torch.cuda.CUDAGraph:
        self._inputs = [value.clone() for value in inputs]
        device = self._inputs[0].device
        state = torch.cuda.get_rng_state(device)
        stream = torch.cuda.Stream(device)
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                self._function(*self._inputs)
        torch.cuda.current_stream(device).wait_stream(stream)
        torch.cuda.set_rng_state(state, device)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # others may load batches meanwhile
            self._outputs = list(self._function(*self._inputs))
        return graph
