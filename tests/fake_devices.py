"""Tensors that claim to be on a GPU, and a network for them."""

import re
from pathlib import Path
from typing import Any

import torch
import torchgen
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from trackertraincode.facemodel.embedded import embedded_head
from trackertraincode.models.pose_network import NetworkConfig, PoseNetwork, build_network

SMALL = NetworkConfig(backbone="repvgg_az", width=0.5, input_size=33, uncertainty=True, rotation="sixd")


def small_network() -> PoseNetwork:
    return build_network(SMALL, embedded_head())


class Copies(TorchDispatchMode):
    """Notes operations that take memory of the host to the device or back, and those of them that wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.moved: list[str] = []  # all that do so, also where none waits
        self.operations: set[str] = set()  # names of all, as in `without_mps`
        self.doubles: list[str] = []  # those that make numbers of 64 bits, which MPS doesn't have, and where

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        used, made = ([t for t in tree_leaves(x) if isinstance(t, torch.Tensor)] for x in (args, result))
        if len({t.device.type for t in used + made}) > 1:
            self.moved.append(str(func))
            if not (kwargs or {}).get("non_blocking"):
                self.found.append(str(func))
        self.operations.add(func.name().removeprefix("aten::"))
        self.doubles += [f"{func} on {t.device.type}" for t in made if t.dtype == torch.float64]
        return result


ANY_DEVICE = {"CompositeImplicitAutograd", "CompositeExplicitAutograd", "CompositeExplicitAutogradNonFunctional"}


def without_mps(operations: set[str]) -> set[str]:
    """Those of ATen's operations that MPS can't compute, by torch's own table of its kernels."""
    table = Path(torchgen.__file__).parent / "packaged/ATen/native/native_functions.yaml"
    kernels: dict[str, set[str]] = {}  # operation -> devices, or what it is made of
    for block in table.read_text(encoding="utf-8").split("\n- func: ")[1:]:
        name, delegate = block[: block.index("(")], re.search(r"\n  structured_delegate: (\S+)", block)
        lines = re.search(r"\n  dispatch:\n((?:    .*\n?|\s*#.*\n)+)", block)
        keys = re.findall(r"^ +([\w, ]+):", lines[1], re.MULTILINE) if lines else ["CompositeImplicitAutograd"]
        kernels[name] = {delegate[1]} if delegate else {key.strip() for line in keys for key in line.split(",")}

    def there(name: str) -> bool:
        found = kernels[name]
        if found & kernels.keys():
            return there(next(iter(found)))
        return bool(found & {"MPS", *ANY_DEVICE})

    # Others are no computations, or variants of such for CUDA.
    known = {name for name in operations & kernels.keys() if not name.startswith("cudnn_")}
    variants = {name: [v for v in kernels if v.split(".")[0] == name.split(".")[0]] for name in known}
    return {
        name
        for name in known
        if not there(name) or any("CPU" in kernels[v] and not there(v) for v in variants[name])  # which it calls
    }


def move_fakes(module: nn.Module, device: str) -> None:
    """With tensors of a device that need not be there."""
    for part in module.modules():
        for name, value in part._parameters.items():
            part._parameters[name] = None if value is None else nn.Parameter(torch.empty(value.shape, device=device))
        for name, held in part._buffers.items():
            part._buffers[name] = None if held is None else torch.empty(held.shape, device=device, dtype=held.dtype)
