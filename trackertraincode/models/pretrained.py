"""Weights to start from: networks of this suite and OpNet's, and published ones of RepVGG, EfficientNet-Lite and timm.

.ckpt --load_network----> weights of the same names and shapes
.onnx --read_exported-->
.pth  --read_plain--> tensors --_translated--> weights of the backbone
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

from timm.models import adapt_input_conv
from torch import Tensor, nn

from trackertraincode.errors import ConfigError, ModelFileError
from trackertraincode.models.about import origins
from trackertraincode.models.backbones import with_lite_epsilon
from trackertraincode.models.checkpoint import is_own, load_network
from trackertraincode.models.exported import is_exported, read_exported
from trackertraincode.models.opnet import is_opnet
from trackertraincode.models.pose_network import PoseNetwork
from trackertraincode.models.weights import in_order, read_plain, tensors_of

REPVGG_NAMES = (  # published -> timm's
    (r"^stage0\.", "stem."),
    *((rf"^stage{n}\.", f"stages.{n - 1}.") for n in (1, 2, 3, 4)),
    (r"\.rbr_identity\.", ".identity."),
    (r"\.rbr_dense\.", ".conv_kxk."),
    (r"\.rbr_1x1\.", ".conv_1x1."),
)
LITE_LAYER = "._depthwise_conv."  # of the published EfficientNet-Lite for PyTorch


@dataclass(frozen=True, eq=False)
class Start:
    """What a file has to start from: a network of this suite or OpNet's, or published tensors by name."""

    path: Path
    network: PoseNetwork | None
    published: dict[str, Tensor] = field(default_factory=dict)
    origins: dict[str, list[str]] = field(default_factory=origins)  # images that the network comes from

    @classmethod
    def read(cls, path: Path) -> "Start":
        """Raises ModelFileError for what holds no weights."""
        if is_exported(path):
            exported, told = read_exported(path)
            return cls(path, exported, origins=origins(told))
        content = read_plain(path)
        if is_own(content) or is_opnet(content):
            network, about = load_network(path)
            return cls(path, network, origins=origins(vars(about)))
        return cls(path, None, tensors_of(path, content))


def weights_for(network: PoseNetwork, start: Start) -> dict[str, Tensor]:
    """Those that a network can start from, by its names; neither landmarks of another face model nor offsets of other sets.

    Raises ConfigError when none of the backbone fit, ModelFileError for weights that aren't finite.
    """
    path, given = start.path, start.network
    own = network.state_dict()
    if given is not None:
        kind, wanted = (f"--backbone {c.backbone} --width {c.width:g}" for c in (given.config, network.config))
        if kind != wanted:
            raise ConfigError(f"--pretrained {path}: is another network than {wanted}; add {kind}.")
        other = []  # of which the same numbers mean something else
        if given.config.face_model != network.config.face_model:
            other.append("landmarks.")
        if given.config.offsets_of != network.config.offsets_of:
            other.append("offsets.")
        fitting = {
            name: value
            for name, value in given.state_dict().items()
            if name in own and own[name].shape == value.shape and not name.startswith(tuple(other))
        }
    else:
        translated = _translated(path, start.published, network.backbone)
        fitting = {f"backbone.{name}": value for name, value in translated.items()}
    if not any(name.startswith("backbone.") for name in fitting):
        raise ConfigError(f"--pretrained {path}: no weights of its backbone fit this network.")
    if not all(value.isfinite().all() for value in fitting.values()):
        raise ModelFileError(f"{path}: has weights that are not finite; its training diverged, give another file.")
    return fitting


def _translated(path: Path, given: dict[str, Tensor], backbone: nn.Module) -> dict[str, Tensor]:
    """By the backbone's names; empty where they don't fit."""
    if any("rbr_reparam" in name for name in given):
        raise ConfigError(
            f"--pretrained {path}: its branches are already fused, so it can't be trained; give the file for training "
            "(RepVGG-…-train.pth)."
        )
    own = backbone.state_dict()
    for pattern, replacement in REPVGG_NAMES:
        given = {re.sub(pattern, replacement, name): value for name, value in given.items()}
    lite = any(LITE_LAYER in name for name in given)
    if not own.keys() <= given.keys():
        given = in_order(own, given)
    fitting = {name: _adapted(value, own[name]) for name, value in given.items() if name in own}
    if any(value.shape != own[name].shape for name, value in fitting.items()):
        return {}
    return with_lite_epsilon(fitting, backbone) if lite else fitting


def _adapted(value: Tensor, own: Tensor) -> Tensor:
    """Weights of a first convolution of colour for grey; others as they are."""
    if value.ndim == 4 and own.ndim == 4 and value.shape[1] == 3 and own.shape[1] == 1:
        return adapt_input_conv(1, value)
    return value
