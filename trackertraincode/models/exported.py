"""Weights of the ONNX files that this suite exports, to train on. Such files have each batch norm in the layer before it.

.onnx --read_exported--> PoseNetwork whose norms have no statistics --remeasure(images)--> the same function, ready to train
"""

import dataclasses
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm as BatchNorm

from trackertraincode.errors import ModelFileError
from trackertraincode.models.about import About
from trackertraincode.models.heads import positive
from trackertraincode.models.onnx_model import OUTPUTS, OnnxPoseModel
from trackertraincode.models.pose_network import NetworkConfig, PoseNetwork
from trackertraincode.models.uncertainty import ConstantScale, TriangularFactor
from trackertraincode.models.weights import no_larger_than

SUFFIX = ".onnx"
ROOT = "network."  # before the names of weights in files
MAX_DIFFERENCE = 1e-3  # of any output between a file and the network that is made of it
SAMPLES = 2  # that are compared


def is_exported(path: Path) -> bool:
    """Whether a name is that of an ONNX file."""
    return path.suffix.lower() == SUFFIX


def read_exported(path: Path) -> tuple[PoseNetwork, dict[str, Any]]:
    """The network of a float32 file of `ttc export`, in evaluation mode, compared with the file; what it says of itself.

    What no output of the file shows is as in a new network. Raises ModelFileError for files of other tools, of
    float16 and int8, and of backbones that can't be trained as they were exported.
    """
    model = OnnxPoseModel(path)
    precision = model.about.get("precision")
    if precision is None:
        raise ModelFileError(f"{path}: wasn't written by `ttc export`, so its weights can't be read to train on them.")
    if precision != "fp32":
        raise ModelFileError(
            f"{path}: holds {precision} weights, which can't be trained; give the float32 file or a .ckpt."
        )
    known = {field.name for field in dataclasses.fields(NetworkConfig)}
    try:
        config = NetworkConfig.from_dict({key: value for key, value in model.about.items() if key in known})
        with no_larger_than(path.stat().st_size):
            network = PoseNetwork(config).eval()
        _fill(network, path)
        _match(network, model)
    except Exception as error:  # graphs and values of any kind can stand in a file
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ModelFileError(
            f"{path}: can't be trained on ({reason[:200]}); give the .ckpt that it was exported from."
        ) from error
    return network, model.about


@torch.no_grad()
def load_exported(path: Path) -> tuple[PoseNetwork, About]:
    """As `checkpoint.load_network`, of a float32 file for OpenTrack: the network and where it comes from.

    Raises ModelFileError as `read_exported`, and for a file that lacks what such files of this network have.
    """
    network, told = read_exported(path)
    config = network.config
    answer = network(torch.zeros(1, config.channels, config.input_size, config.input_size))
    there = OnnxPoseModel(path).fields
    for key, output in OUTPUTS.items():
        if output.opentrack and key not in there and getattr(answer, key) is not None:
            raise ModelFileError(f"{path}: lacks the output {output.full}; give the .ckpt that it was exported from.")
    return network, About(**{key: value for key, value in told.items() if key in About.__dataclass_fields__})


@torch.no_grad()
def remeasure(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Give the batch norms the statistics of images (B, C, S, S), and scales with which the function stays the same.

    A norm without its statistics would change what the network computes as soon as it trains, by batches' own.
    """
    sums: dict[BatchNorm, Tensor] = {}

    def add(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(norm, BatchNorm)
        values = inputs[0].double().transpose(0, 1).flatten(1)  # (channels, N)
        count = torch.full_like(values[:, 0], values.shape[1])
        sums[norm] = sums.get(norm, 0) + torch.stack([count, values.sum(1), values.square().sum(1)])

    norms = [layer for layer in network.modules() if isinstance(layer, BatchNorm) and layer.affine]
    training = network.training
    network.eval()
    with ExitStack() as hooks:
        for norm in norms:
            hooks.callback(norm.register_forward_pre_hook(add).remove)
        for images in batches:
            network(images)
    network.train(training)
    for norm, (count, total, squares) in sums.items():
        mean = total / count
        _restate(norm, mean, (squares / count - mean.square()).clamp(min=0.0))


def _restate(norm: BatchNorm, mean: Tensor, variance: Tensor) -> None:
    """The same linear function with other statistics (C,)."""
    assert norm.running_mean is not None, "norms that are trained have statistics"
    assert norm.running_var is not None
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    shift = norm.bias - norm.running_mean * scale
    norm.weight.copy_(scale * (variance + norm.eps).sqrt())
    norm.bias.copy_(shift + scale * mean)
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)


@torch.no_grad()
def _fill(network: PoseNetwork, path: Path) -> None:
    """Take the weights of a file. Raises ValueError where those of the backbone aren't all in it as they are."""
    import onnx
    from onnx.numpy_helper import to_array

    graph = onnx.load_model(str(path), load_external_data=False).graph
    constants = {entry.name: torch.from_numpy(to_array(entry).copy()) for entry in graph.initializer}
    own = network.state_dict()
    found = {name: constants[ROOT + name] for name in own if ROOT + name in constants}
    norms = {name: layer for name, layer in network.named_modules() if isinstance(layer, BatchNorm)}
    for node in graph.node:
        if node.op_type not in ("Conv", "Gemm") or not node.input[1].startswith(ROOT):
            continue
        layer, scope = node.input[1].removeprefix(ROOT).rpartition(".")[0], node.name.partition("/")[0]
        added = constants.get(node.input[2]) if len(node.input) > 2 else None  # left out where all are 0
        if scope in norms and f"{scope}.weight" not in found:  # the norm is in this layer
            scale = torch.ones(norms[scope].num_features)
            if f"{layer}.weight" not in own:  # a low-pass filter, whose weights add up to 1 without the norm's scale
                scale = constants[node.input[1]].flatten(1).sum(1)
            found |= _linear(scope, norms[scope], scale, torch.zeros_like(scale) if added is None else added)
        elif f"{layer}.bias" in own:
            found[f"{layer}.bias"] = torch.zeros_like(own[f"{layer}.bias"]) if added is None else added
    for name, _ in network.backbone.named_parameters(prefix="backbone"):
        if name not in found or found[name].shape != own[name].shape:
            raise ValueError(f"{name} of {network.config.backbone} isn't in it as it is trained")
    network.load_state_dict(own | {name: value for name, value in found.items() if value.shape == own[name].shape})


def _linear(name: str, norm: BatchNorm, scale: Tensor, shift: Tensor) -> dict[str, Tensor]:
    """Weights of a norm that does nothing but scale and shift, both (C,)."""
    return {
        f"{name}.weight": scale * (1.0 + norm.eps) ** 0.5,
        f"{name}.bias": shift,
        f"{name}.running_mean": torch.zeros_like(scale),
        f"{name}.running_var": torch.ones_like(scale),
    }


@torch.no_grad()
def _match(network: PoseNetwork, model: OnnxPoseModel) -> None:
    """Take over how sure the file says it is, and compare all that it says. Raises ValueError where they differ."""
    config = network.config
    shape = (model.batch or SAMPLES, config.channels, config.input_size, config.input_size)
    images = np.random.default_rng(0).uniform(-0.5, 0.5, shape).astype(np.float32)
    expected = {name: torch.from_numpy(values) for name, values in model.run(images).items()}
    answer = network(torch.from_numpy(images))
    for name, values in expected.items():
        layer, given = getattr(network, name, None), getattr(answer, name)
        if isinstance(layer, TriangularFactor):
            layer.factor.copy_(_before_positive(positive(layer.factor) * (values[:, 0, 0] / given[:, 0, 0]).mean()))
        elif isinstance(layer, ConstantScale):
            layer.raw.copy_(_before_positive(values[0]))
    answer = network(torch.from_numpy(images))
    for name, values in expected.items():
        apart = (getattr(answer, name) - values).abs().max()
        if not apart <= MAX_DIFFERENCE * values.abs().max().clamp(min=1.0):
            raise ValueError(f"{name} of the network made of it differs by {apart:.2g}, more than {MAX_DIFFERENCE:g}")


def _before_positive(values: Tensor) -> Tensor:
    """The inverse of `positive`; any shape."""
    return torch.where(values > 1.0, values - 1.0, values.clamp(min=torch.finfo(values.dtype).tiny).log())
