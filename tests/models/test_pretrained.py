"""Weights of others: each network computes what it computed where it comes from."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, conv2d, relu, relu6

from close import known
from trackertraincode.errors import ConfigError, ModelFileError
from trackertraincode.facemodel.embedded import embedded_head
from trackertraincode.models.about import About
from trackertraincode.models.backbones import BackboneOptions, build_backbone
from trackertraincode.models.checkpoint import save_network
from trackertraincode.models.pose_network import NetworkConfig, PoseNetwork, build_network
from trackertraincode.models.pretrained import Start, weights_for

Weights = dict[str, Tensor]


def network(backbone: str, width: float = 1.0, channels: int = 1) -> PoseNetwork:
    torch.manual_seed(0)
    config = NetworkConfig(backbone=backbone, width=width, input_size=65, channels=channels)
    return build_network(config, embedded_head()).eval()


def random_statistics(module: nn.Module) -> Weights:
    """Its state after means, variances and scales have moved."""
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for values in (layer.running_mean, layer.bias.data):
                known(values).normal_(0, 0.1)
            for values in (layer.running_var, layer.weight.data):
                known(values).uniform_(0.5, 1.5)
    return module.state_dict()


def norm(weights: Weights, name: str, x: Tensor, epsilon: float = 1e-5) -> Tensor:
    mean, var, scale, shift = (weights[f"{name}.{k}"] for k in ("running_mean", "running_var", "weight", "bias"))
    return batch_norm(x, mean, var, scale, shift, eps=epsilon)


def published_repvgg() -> Weights:
    torch.manual_seed(1)
    names: list[tuple[str, str | Callable[[re.Match], str]]] = [
        (r"^stem\.", "stage0."), (r"^stages\.(\d)\.", lambda m: f"stage{int(m[1]) + 1}."),
        (r"\.identity\.", ".rbr_identity."), (r"\.conv_kxk\.", ".rbr_dense."), (r"\.conv_1x1\.", ".rbr_1x1."),
    ]  # fmt: skip
    weights = random_statistics(build_backbone("repvgg_a0", BackboneOptions(channels=3)))
    for pattern, replacement in names:
        weights = {re.sub(pattern, replacement, name): value for name, value in weights.items()}
    return {**weights, "linear.weight": torch.zeros(1000, 1280), "linear.bias": torch.zeros(1000)}


def run_repvgg(weights: Weights, x: Tensor) -> Tensor:
    blocks = dict.fromkeys(name.partition(".rbr_")[0] for name in weights if ".rbr_" in name)
    for block in blocks:
        stride = 2 if block == "stage0" or block.endswith(".0") else 1
        parts = [
            norm(
                weights, f"{block}.{name}.bn", conv2d(x, weights[f"{block}.{name}.conv.weight"], None, stride, padding)
            )
            for name, padding in (("rbr_dense", 1), ("rbr_1x1", 0))
        ]
        if f"{block}.rbr_identity.weight" in weights:
            parts.append(norm(weights, f"{block}.rbr_identity", x))
        x = relu(sum(parts))  # type: ignore[arg-type]
    return x.mean((2, 3))


def test_official_repvgg_weights_give_its_features(tmp_path: Path) -> None:
    torch.save(published_repvgg(), tmp_path / "RepVGG-A0-train.pth")
    net = network("repvgg_a0", channels=3)
    net.load_state_dict(net.state_dict() | weights_for(net, Start.read(tmp_path / "RepVGG-A0-train.pth")))
    image = torch.randn(2, 3, 65, 65)
    assert torch.allclose(net.backbone(image), run_repvgg(published_repvgg(), image), rtol=1e-4, atol=1e-5)


def test_a_trained_6drepnet_gives_the_same_backbone(tmp_path: Path) -> None:
    """Its stages are called layers, and a file of its training has more than weights."""
    given = published_repvgg()
    renamed = {k.replace("stage", "layer"): v for k, v in given.items()} | {"linear_reg.weight": torch.zeros(6, 1280)}
    torch.save({"epoch": 79, "model_state_dict": renamed, "optimizer_state_dict": {"state": {}}}, tmp_path / "a.tar")
    torch.save(given, tmp_path / "a.pth")
    net = network("repvgg_a0")
    trained, published = (weights_for(net, Start.read(tmp_path / name)) for name in ("a.tar", "a.pth"))
    assert trained.keys() == published.keys()
    assert all(torch.equal(trained[name], published[name]) for name in trained)


def test_weights_for_colour_see_grey_images_as_colour_without_any(tmp_path: Path) -> None:
    torch.save({"state_dict": {f"module.{k}": v for k, v in published_repvgg().items()}}, tmp_path / "a.pth")
    net = network("repvgg_a0")
    net.load_state_dict(net.state_dict() | weights_for(net, Start.read(tmp_path / "a.pth")))
    image = torch.randn(2, 1, 65, 65)
    expected = run_repvgg(published_repvgg(), image.expand(-1, 3, -1, -1))
    assert torch.allclose(net.backbone(image), expected, rtol=1e-4, atol=1e-5 * float(expected.max()))


LITE_STAGES = ((1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1))  # blocks, stride of the first


def published_lite() -> Weights:
    torch.manual_seed(1)
    weights = random_statistics(build_backbone("efficientnet_lite0", BackboneOptions(channels=3)))
    expand = {
        "conv_pw": "_expand_conv",
        "bn1": "_bn0",
        "conv_dw": "_depthwise_conv",
        "bn2": "_bn1",
        "conv_pwl": "_project_conv",
    }
    first = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
    outside = {"conv_stem": "stem.0", "bn1": "stem.1", "conv_head": "head.0", "bn2": "head.1"}
    renamed = {}
    for name, value in weights.items():
        *place, layer, kind = name.split(".")
        table = outside if not place else first if place[1] == "0" else {**expand, "bn3": "_bn2"}
        renamed[".".join([*place, table[layer], kind])] = value
    return {**renamed, "fc.weight": torch.zeros(1000, 1280), "fc.bias": torch.zeros(1000)}


def run_lite(w: Weights, x: Tensor) -> Tensor:
    x = relu6(norm(w, "stem.1", conv2d(x, w["stem.0.weight"], None, 2, 1), 1e-3))
    for stage, (count, stride) in enumerate(LITE_STAGES):
        for index in range(count):
            block, before = f"blocks.{stage}.{index}", x
            if f"{block}._expand_conv.weight" in w:
                x = relu6(norm(w, f"{block}._bn0", conv2d(x, w[f"{block}._expand_conv.weight"]), 1e-3))
            kernel = w[f"{block}._depthwise_conv.weight"]
            step = stride if index == 0 else 1
            x = conv2d(x, kernel, None, step, kernel.shape[-1] // 2, groups=len(kernel))
            x = relu6(norm(w, f"{block}._bn1", x, 1e-3))
            x = norm(w, f"{block}._bn2", conv2d(x, w[f"{block}._project_conv.weight"]), 1e-3)
            x = x + before if before.shape == x.shape else x
    return relu6(norm(w, "head.1", conv2d(x, w["head.0.weight"]), 1e-3)).mean((2, 3))


def test_published_efficientnet_lite_weights_give_its_features(tmp_path: Path) -> None:
    torch.save(published_lite(), tmp_path / "efficientnet_lite0.pth")
    net = network("efficientnet_lite0", channels=3)
    net.load_state_dict(net.state_dict() | weights_for(net, Start.read(tmp_path / "efficientnet_lite0.pth")))
    image = torch.randn(2, 3, 65, 65)
    assert torch.allclose(net.backbone(image), run_lite(published_lite(), image), rtol=1e-4, atol=1e-5)


def test_timms_weights_of_efficientnet_lite_give_its_features_at_odd_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def create(name: str, pretrained: bool = False, **arguments: Any) -> nn.Module:
        assert (name, pretrained) == ("tf_efficientnet_lite0", True)
        made.append(timm.models.efficientnet.tf_efficientnet_lite0(**arguments))
        random_statistics(made[0])
        return made[0]

    monkeypatch.setattr(timm, "create_model", create)
    own = build_backbone("efficientnet_lite0", BackboneOptions(pretrained=True)).eval()
    image = torch.randn(2, 1, 65, 65)
    assert torch.allclose(own(image), made[0].eval()(image), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"stage0.rbr_reparam.weight": torch.zeros(1)}, "already fused"),
        ({"conv.weight": torch.zeros(3)}, "no weights of its backbone fit"),
        ({"stage0.rbr_dense.conv.weight": torch.zeros(48, 3, 3, 3)}, "no weights of its backbone fit"),
        ({}, "holds no weights"),
        ({"state_dict": {"a": 1}}, "holds no weights"),
        ([torch.zeros(1)], "holds no weights"),
    ],
)
def test_weights_that_do_not_apply_are_refused(tmp_path: Path, content: Any, message: str) -> None:
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises((ConfigError, ModelFileError), match=rf"a\.pth: .*{message}"):
        weights_for(network("repvgg_a0", width=0.25), Start.read(tmp_path / "a.pth"))


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    net = network("repvgg_az", width=0.25)
    torch.save({name: value * torch.nan for name, value in net.backbone.state_dict().items()}, tmp_path / "a.pth")
    with pytest.raises(ModelFileError, match=r"a\.pth: has weights that are not finite"):
        weights_for(net, Start.read(tmp_path / "a.pth"))


@pytest.mark.parametrize(
    ("name", "width"), [("repvgg_ax", 1), ("repvgg_b1g2", 1), ("efficientnet_b0", 0.5), ("resnet18", 2)]
)
def test_where_timm_has_no_weights_is_said(name: str, width: float) -> None:
    with pytest.raises(ConfigError, match=f"timm has no ImageNet weights for {name}"):
        build_backbone(name, BackboneOptions(width=width, pretrained=True))


def test_offsets_are_those_of_the_same_data_sets(tmp_path: Path) -> None:
    """Those of others, or of the same in another order, mean something else."""
    options: dict[str, Any] = {"width": 0.25, "input_size": 33}
    save_network(tmp_path / "a.ckpt", PoseNetwork(NetworkConfig(offsets_of=("a", "b"), **options)), About())
    for sets, taken in ((("a", "b"), True), (("b", "a"), False), (("a", "c"), False)):
        found = weights_for(PoseNetwork(NetworkConfig(offsets_of=sets, **options)), Start.read(tmp_path / "a.ckpt"))
        assert ("offsets.offsets" in found) == taken
        assert "rotation.linear.weight" in found
