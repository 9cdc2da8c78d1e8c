"""Tensors that claim to be on a GPU, and a network for them."""

from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from trackertraincode.facemodel.embedded import embedded_head
from trackertraincode.models.pose_network import NetworkConfig, PoseNetwork, build_network

SMALL = NetworkConfig(backbone="repvgg_az", width=0.5, input_size=33, uncertainty=True, rotation="sixd")


def small_network() -> PoseNetwork:
    return build_network(SMALL, embedded_head())


class Copies(TorchDispatchMode):
    """Notes operations that take memory of the host to the device or back while one waits for the other."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        used, made = ({t.device.type for t in tree_leaves(x) if isinstance(t, torch.Tensor)} for x in (args, result))
        if len(used | made) > 1 and not (kwargs or {}).get("non_blocking"):
            self.found.append(str(func))
        return result


def move_fakes(module: nn.Module, device: str) -> None:
    """With tensors of a device that need not be there."""
    for part in module.modules():
        for name, value in part._parameters.items():
            part._parameters[name] = None if value is None else nn.Parameter(torch.empty(value.shape, device=device))
        for name, held in part._buffers.items():
            part._buffers[name] = None if held is None else torch.empty(held.shape, device=device, dtype=held.dtype)
