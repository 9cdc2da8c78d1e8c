"""Backbones: one table over timm. A backbone maps crops to features, (B, C, S, S) -> (B, F) or (B, Q, F).

Names come from the published pipelines; `timm:NAME` takes any other network of timm. `width` scales all channels.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import timm
import torch
from timm.layers import BlurPool2d
from timm.models import byobnet, efficientnet, is_model_pretrained, resnet, vision_transformer
from timm.utils import reparameterize_model
from torch import Tensor, nn

from trackertraincode.errors import ConfigError, closest_first

FREE_PREFIX = "timm:"  # of any network of timm
LITE_EPSILON = 1e-3  # of the batch norms of published EfficientNet-Lite
VECTOR = 16  # float32 values in the longest vector register of a CPU


@dataclass(frozen=True, kw_only=True)
class BackboneOptions:
    """What a backbone is built for."""

    channels: int = 1  # of the crops
    size: int = 129  # edge of the crops, pixels
    width: float = 1.0  # factor of the channels inside
    queries: int = 1  # outputs of a transformer, one per head
    pretrained: bool = False  # timm's ImageNet weights, where timm has them (downloads them)


Build = Callable[[BackboneOptions], nn.Module]


def build_backbone(name: str, options: BackboneOptions, *, blurpool: bool = False) -> nn.Module:
    """A module; `feature_count` tells F. Raises ConfigError for unknown names and what the network can't do."""
    check_backbone(name)
    if options.pretrained and not has_imagenet_weights(name, options.width):
        hint = "; choose --backbone timm:mobilenetv1_100" if name == "mobilenetv1" else ""
        width = f" of width {options.width:g}" if options.width != 1.0 else ""
        raise ConfigError(f"timm has no ImageNet weights for {name}{width}; leave --pretrained out{hint}.")
    build = BACKBONES[name] if name in BACKBONES else partial(_any, name.removeprefix(FREE_PREFIX))
    try:
        backbone = build(options)
    except OSError as error:  # huggingface_hub: no network, no such file
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"timm's weights of {name} can't be downloaded ({reason}); leave --pretrained out."
        ) from error
    if blurpool:
        _add_blurpool(name, backbone)
    return with_safe_strides(backbone)


def feature_count(backbone: nn.Module) -> int:
    """F of the features (B, F) or (B, Q, F)."""
    return int(getattr(backbone, "head_hidden_size", None) or backbone.num_features)  # type: ignore[arg-type]


def with_safe_strides(network: nn.Module) -> nn.Module:
    """The same network; its strided 1 × 1 convolutions of few channels train on CPU without harm."""
    for layer in network.modules():
        few = isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1) and layer.in_channels < VECTOR
        if few and layer.stride != (1, 1):
            layer.__class__ = StridedPointwise
    return network


class StridedPointwise(nn.Conv2d):
    """A 1 × 1 convolution that, while it trains on CPU, picks the values it needs before it multiplies.

    oneDNN's own stride writes past its buffer in the backward pass in channels-last when there are fewer input channels
    than its vectors hold. 1 × 1 weights are contiguous in both formats, so `contiguous()` doesn't keep it away.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H / stride, W / stride), rounded up."""
        if not (self.training and x.is_cpu):
            return super().forward(x)
        down, across = self.stride
        return nn.functional.conv2d(x[..., ::down, ::across], self.weight, self.bias, groups=self.groups)


def has_imagenet_weights(name: str, width: float) -> bool:
    """Whether timm has some for a backbone, which it may have to download."""
    return width == 1.0 and is_model_pretrained(_timm_name(name))


def _timm_name(name: str) -> str:
    """Where timm has the weights of a backbone; those of EfficientNet-Lite are TensorFlow's."""
    return f"tf_{name}" if name.startswith("efficientnet_lite") else name.removeprefix(FREE_PREFIX)


def check_backbone(name: str) -> None:
    """Raises ConfigError with the known names, those most alike first."""
    free, model = name.startswith(FREE_PREFIX), name.removeprefix(FREE_PREFIX)
    if name in BACKBONES or (free and ":" not in model and timm.is_model(model)):  # others name where to load it from
        return
    known = timm.list_models() if free else list(BACKBONES)
    close = ", ".join(closest_first(model, known)[: None if not free else 5])
    raise ConfigError(f"backbone={name!r} is unknown; choose timm:NAME or one of: {close}.")


def reparameterize(backbone: nn.Module) -> nn.Module:
    """A copy whose parallel branches (RepVGG) are fused into single convolutions; others come back as they are."""
    return reparameterize_model(backbone)


def _timm_arguments(options: BackboneOptions) -> dict[str, Any]:
    return {"in_chans": options.channels, "num_classes": 0}


def _any(name: str, options: BackboneOptions) -> nn.Module:
    _only_full_width(f"timm:{name}", options)
    arguments = _timm_arguments(options) | {"pretrained": options.pretrained}
    try:
        return timm.create_model(name, img_size=options.size, **arguments)
    except TypeError:  # most networks take any size and have no such argument
        return timm.create_model(name, **arguments)


def check_size(name: str, backbone: nn.Module, channels: int, size: int) -> None:
    """Raises ConfigError where a network of timm can't take such crops; some say so only when they see one."""
    if not name.startswith(FREE_PREFIX):
        return
    usual = getattr(backbone, "pretrained_cfg", {}).get("input_size")
    advice = f"choose another --input-size, such as {usual[-1]}" if usual else "choose another --input-size"
    try:
        with torch.no_grad():
            features = backbone.eval()(torch.zeros(2, channels, size, size))
    except (AssertionError, RuntimeError, ValueError, IndexError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(f"backbone {name} takes no crops of {size} pixels ({reason[:200]}); {advice}.") from error
    finally:
        backbone.train()
    if features.shape != (2, feature_count(backbone)):
        raise ConfigError(
            f"backbone {name} gives {tuple(features.shape)[1:]} numbers of a crop, not one row of features; choose another "
            "network."
        )


def _only_full_width(name: str, options: BackboneOptions) -> None:
    if options.width != 1.0:
        raise ConfigError(f"backbone {name} has one width; leave --width out, or choose a smaller network.")


class Residual(nn.Module):
    """relu(x + block(x)) around a depth-wise separable block that keeps its shape."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.block = block
        block.bn2.act = nn.Identity()  # comes after the sum

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        return torch.relu(x + self.block(x))


def _mobilenet_v1(options: BackboneOptions) -> nn.Module:
    """OpNet's: 5 × 5 stem, ReLU, residual connections; without these it learns little in the first 10,000 samples."""
    network = efficientnet._gen_mobilenet_v1(
        "mobilenetv1_100", options.width, stem_kernel_size=5, act_layer=nn.ReLU, **_timm_arguments(options)
    )
    for stage in network.blocks:
        for index, block in enumerate(stage):
            if block.conv_dw.stride == (1, 1) and block.conv_pw.in_channels == block.conv_pw.out_channels:
                stage[index] = Residual(block)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):  # small depth-wise weights, which Adam can turn round in a few steps
            nn.init.normal_(layer.weight, 0.0, math.sqrt(2 / (layer.kernel_size[0] ** 2 * layer.out_channels)))
    return network


def _efficientnet(kind: str, width: float, depth: float, options: BackboneOptions) -> nn.Module:
    """Compound scaling of Tan & Le (arXiv 1905.11946); the lite ones without squeeze-excite and with ReLU6."""
    arguments = _timm_arguments(options)
    if not kind.startswith("efficientnet_lite"):
        return efficientnet._gen_efficientnet(
            kind, width * options.width, depth, pretrained=options.pretrained, **arguments
        )
    network = efficientnet._gen_efficientnet_lite(kind, width * options.width, depth, **arguments)
    if options.pretrained:  # padded otherwise, which makes no difference at odd sizes
        weights = timm.create_model(_timm_name(kind), pretrained=True, **arguments).state_dict()
        network.load_state_dict(with_lite_epsilon(weights, network))
    return network


def with_lite_epsilon(weights: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Published weights of EfficientNet-Lite, with variances for which its batch norms compute the same with our epsilon."""
    added = {f"{name}.running_var": LITE_EPSILON - layer.eps
             for name, layer in network.named_modules() if isinstance(layer, nn.BatchNorm2d)}  # fmt: skip
    return {name: value + added.get(name, 0) for name, value in weights.items()}


def _resnet18(options: BackboneOptions) -> nn.Module:
    if options.width == 1.0:
        return timm.create_model("resnet18", pretrained=options.pretrained, **_timm_arguments(options))
    channels = tuple(_round8(c * options.width) for c in (64, 128, 256, 512))
    block: Any = resnet.BasicBlock
    return resnet.ResNet(block, (2, 2, 2, 2), channels=channels, **_timm_arguments(options))


def _repvgg(
    depths: tuple[int, ...], widths: tuple[float, ...], groups: int, name: str | None, options: BackboneOptions
) -> nn.Module:
    """RepVGG (arXiv 2101.03697, table 2); `name` is timm's, where timm has it."""
    if name is not None and options.width == 1.0:
        return timm.create_model(name, pretrained=options.pretrained, **_timm_arguments(options))
    scaled = tuple(w * options.width for w in widths)
    blocks = tuple(
        byobnet.ByoBlockCfg(
            type="rep", d=depth, c=_round8(c * w), s=2, gs=partial(_group_size, groups) if groups else 0
        )
        for depth, c, w in zip(depths, (64, 128, 256, 512), scaled)
    )
    stem = _round8(min(64.0, 64.0 * scaled[0]))
    config = byobnet.ByoModelCfg(blocks=blocks, stem_type="rep", stem_chs=stem)
    return byobnet.ByobNet(config, **_timm_arguments(options))


def _group_size(groups: int, channels: int, index: int) -> int:
    """Every second block has its 3 × 3 convolutions in groups."""
    return channels // groups if index % 2 else 0


def _round8(channels: float) -> int:
    return max(8, round(channels / 8) * 8)


class HybridVit(nn.Module):
    """Convolutional stem to 8 × 8 tokens (of 129 pixels), then a transformer with one query token per output."""

    def __init__(self, options: BackboneOptions, depth: int = 8, heads: int = 8) -> None:
        super().__init__()
        dim = _round8(256 * options.width / heads) * heads
        stages, channels = [], options.channels
        for index, factor in enumerate((1 / 8, 1 / 4, 1 / 2, 1)):
            wide = _round8(dim * factor)
            padding = 0 if index == 0 else 1  # 129 -> 64 -> 32 -> 16 -> 8
            stages += [nn.Conv2d(channels, wide, 3, 2, padding, bias=False), nn.BatchNorm2d(wide), nn.ReLU()]
            channels = wide
        self.stem = nn.Sequential(*stages, nn.Conv2d(channels, dim, 1))
        side = (options.size - 3) // 2 + 1
        for _ in range(3):
            side = (side - 1) // 2 + 1
        self.places = nn.Parameter(torch.randn(1, side * side, dim) * 0.02)
        self.queries = nn.Parameter(torch.randn(1, options.queries, dim) * 0.02)
        self.transformer = nn.Sequential(
            *(vision_transformer.Block(dim, heads, 4.0, qkv_bias=True) for _ in range(depth))
        )
        self.norm = nn.LayerNorm(dim)
        self.num_features = dim

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, S, S) -> (B, Q, F)."""
        tokens = self.stem(image).flatten(2).transpose(1, 2) + self.places
        queries = self.queries.expand(tokens.shape[0], -1, -1)
        return self.norm(self.transformer(torch.cat([queries, tokens], dim=1))[:, : self.queries.shape[1]])


_A, _B = (2, 4, 14, 1), (4, 6, 16, 1)

BACKBONES: dict[str, Build] = {
    "mobilenetv1": _mobilenet_v1,
    "resnet18": _resnet18,
    "efficientnet_b0": partial(_efficientnet, "efficientnet_b0", 1.0, 1.0),
    "efficientnet_b1": partial(_efficientnet, "efficientnet_b1", 1.0, 1.1),
    "efficientnet_b2": partial(_efficientnet, "efficientnet_b2", 1.1, 1.2),
    "efficientnet_b3": partial(_efficientnet, "efficientnet_b3", 1.2, 1.4),
    "efficientnet_b4": partial(_efficientnet, "efficientnet_b4", 1.4, 1.8),
    "hybrid_vit": HybridVit,
    "repvgg_az": partial(_repvgg, (1, 2, 4, 1), (0.25, 0.25, 0.25, 0.5), 0, None),
    "repvgg_ay": partial(_repvgg, (2, 2, 6, 1), (0.375, 0.375, 0.375, 1.0), 0, None),
    "repvgg_ax": partial(_repvgg, (2, 4, 8, 1), (0.5, 0.5, 0.5, 1.5), 0, None),
    "repvgg_a0": partial(_repvgg, _A, (0.75, 0.75, 0.75, 2.5), 0, "repvgg_a0"),
    "repvgg_a1": partial(_repvgg, _A, (1.0, 1.0, 1.0, 2.5), 0, "repvgg_a1"),
    "repvgg_a2": partial(_repvgg, _A, (1.5, 1.5, 1.5, 2.75), 0, "repvgg_a2"),
    "repvgg_b0": partial(_repvgg, _B, (1.0, 1.0, 1.0, 2.5), 0, "repvgg_b0"),
    "repvgg_b1": partial(_repvgg, _B, (2.0, 2.0, 2.0, 4.0), 0, "repvgg_b1"),
    "repvgg_b1g2": partial(_repvgg, _B, (2.0, 2.0, 2.0, 4.0), 2, None),
    "efficientnet_lite0": partial(_efficientnet, "efficientnet_lite0", 1.0, 1.0),
    "efficientnet_lite1": partial(_efficientnet, "efficientnet_lite1", 1.0, 1.1),
    "efficientnet_lite2": partial(_efficientnet, "efficientnet_lite2", 1.1, 1.2),
    "efficientnet_lite3": partial(_efficientnet, "efficientnet_lite3", 1.2, 1.4),
}


def _add_blurpool(name: str, backbone: nn.Module) -> None:
    """Each convolution with stride 2 gets stride 1 and a low-pass filter that takes every second value."""
    if any(isinstance(m, byobnet.RepVggBlock) for m in backbone.modules()):
        raise ConfigError(f"backbone {name} can't have --blurpool: its parallel branches couldn't be fused any more.")
    for parent in list(backbone.modules()):
        for key, child in list(parent.named_children()):
            if isinstance(child, nn.Conv2d) and child.stride == (2, 2) and child.kernel_size[0] > 1:
                child.stride = (1, 1)
                setattr(parent, key, nn.Sequential(child, BlurPool2d(child.out_channels, stride=2)))
