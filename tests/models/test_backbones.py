"""Every backbone takes crops of any size and gives features."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from trackertraincode.errors import ConfigError
from trackertraincode.models.backbones import (
    BACKBONES,
    BackboneOptions,
    Residual,
    StridedPointwise,
    build_backbone,
    feature_count,
    reparameterize,
)

SMALL = ("mobilenetv1", "resnet18", "repvgg_az", "efficientnet_lite0", "hybrid_vit")


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize(("channels", "size", "width"), [(1, 129, 0.25), (3, 96, 0.5)])
def test_sizes_and_channels(name: str, channels: int, size: int, width: float) -> None:
    backbone = build_backbone(name, BackboneOptions(channels=channels, size=size, width=width, queries=3)).eval()
    features = backbone(torch.zeros(2, channels, size, size))
    assert features.shape == ((2, 3, feature_count(backbone)) if name == "hybrid_vit" else (2, feature_count(backbone)))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(BACKBONES) - set(SMALL)))
def test_every_other_backbone_runs(name: str) -> None:
    backbone = build_backbone(name, BackboneOptions(size=64)).eval()
    with torch.no_grad():
        assert backbone(torch.zeros(1, 1, 64, 64)).shape == (1, feature_count(backbone))


def test_published_sizes() -> None:
    count = {n: sum(p.numel() for p in build_backbone(n, BackboneOptions()).parameters()) for n in SMALL}
    assert count["mobilenetv1"] == pytest.approx(3.2e6, rel=0.01)
    assert count["resnet18"] == pytest.approx(11.2e6, rel=0.01)


def test_mobilenet_has_residual_connections() -> None:
    """With their weights at zero, the eight blocks that keep their shape hand on what they get."""
    blocks = [
        m for m in build_backbone("mobilenetv1", BackboneOptions(width=0.25)).modules() if isinstance(m, Residual)
    ]
    assert len(blocks) == 8
    for residual in blocks:
        nn.init.zeros_(residual.block.bn2.weight)
        x = torch.rand(2, residual.block.conv_pw.in_channels, 4, 4)
        assert torch.equal(residual(x), x)


def test_full_width_tables_equal_timm() -> None:
    """The own table of RepVGG gives timm's network at the width where both exist."""
    own = build_backbone("repvgg_a0", BackboneOptions(width=0.999999))
    timm = build_backbone("repvgg_a0", BackboneOptions())
    assert [tuple(p.shape) for p in own.parameters()] == [tuple(p.shape) for p in timm.parameters()]


@pytest.mark.parametrize(("name", "width"), [("repvgg_a0", 0.25), ("repvgg_az", 1.0), ("repvgg_b1g2", 0.125)])
def test_fused_branches_give_the_same_outputs(name: str, width: float) -> None:
    torch.manual_seed(0)
    backbone = build_backbone(name, BackboneOptions(width=width, size=64))
    optimizer = torch.optim.SGD(backbone.parameters(), lr=0.05)
    for _ in range(4):  # statistics and scales that training has moved
        optimizer.zero_grad()
        backbone(torch.randn(8, 1, 64, 64)).square().mean().backward()
        optimizer.step()
    backbone.eval()
    fused = reparameterize(backbone)
    images = torch.randn(4, 1, 64, 64)
    with torch.no_grad():
        before, after = backbone(images), fused(images)
    assert (before - after).abs().max() <= 1e-5 * max(1.0, float(before.abs().max()))
    convolutions = [sum(isinstance(m, nn.Conv2d) for m in net.modules()) for net in (backbone, fused)]
    assert convolutions[1] < convolutions[0]


def test_blurpool_suppresses_aliases() -> None:
    """A shift by one pixel changes the features less."""
    changes = []
    for blurpool in (False, True):
        torch.manual_seed(0)
        backbone = build_backbone("mobilenetv1", BackboneOptions(width=0.25), blurpool=blurpool).eval()
        image = torch.rand(8, 1, 130, 130)
        with torch.no_grad():
            a, b = backbone(image[..., :129, :129]), backbone(image[..., :129, 1:])
        changes.append(float((a - b).norm() / a.norm()))
    assert changes[1] < changes[0]


@pytest.mark.parametrize(
    ("name", "options", "blurpool", "message"),
    [
        ("mobilnetv1", {}, False, r"'mobilnetv1' is unknown; choose timm:NAME or one of: mobilenetv1"),
        ("timm:resnet81", {}, False, r"'timm:resnet81' is unknown"),
        ("timm:lcnet_050", {"width": 0.5}, False, "timm:lcnet_050 has one width"),
        ("repvgg_a0", {}, True, "repvgg_a0 can't have --blurpool"),
        ("hybrid_vit", {"pretrained": True}, False, "no ImageNet weights"),
        ("mobilenetv1", {"pretrained": True}, False, "timm:mobilenetv1_100"),
    ],
)
def test_what_cannot_be_is_said(name: str, options: dict, blurpool: bool, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_backbone(name, BackboneOptions(**options), blurpool=blurpool)


ONE_STEP = """
import sys, torch
from trackertraincode.models.backbones import BackboneOptions, build_backbone

torch.set_num_threads(1)
sizes, *names = sys.argv[1:]
for name in names:
    for size in map(int, sizes.split(",")):
        for channels in (1, 3) if "repvgg" in name else (3,):
            options = BackboneOptions(channels=channels, size=size, width=0.25)
            network = build_backbone(name, options).to(memory_format=torch.channels_last)
            image = torch.rand(2, channels, size, size).to(memory_format=torch.channels_last)
            print(name, size, channels, flush=True)
            network(image).square().mean().backward()
"""


@pytest.mark.parametrize(
    ("names", "sizes"),
    [
        pytest.param(("repvgg_ax", "repvgg_a0"), "64", id="some"),
        pytest.param(tuple(BACKBONES), "64,129,224", marks=pytest.mark.slow, id="all"),
    ],
)
def test_training_in_channels_last_does_not_harm_the_process(names: tuple[str, ...], sizes: str) -> None:
    """In a process of its own: oneDNN's strided 1 × 1 convolutions of few channels end it."""
    done = subprocess.run([sys.executable, "-c", ONE_STEP, sizes, *names], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-200:] + done.stderr[-2000:]


def test_strided_pointwise_convolutions_compute_the_same() -> None:
    plain, safe = nn.Conv2d(3, 5, 1, stride=2), StridedPointwise(3, 5, 1, stride=2)
    safe.load_state_dict(plain.state_dict())
    image = torch.randn(2, 3, 8, 7)
    assert torch.allclose(safe(image), plain(image), atol=1e-6)
    assert torch.equal(safe.eval()(image), plain(image))


def test_any_network_of_timm() -> None:
    backbone = build_backbone("timm:lcnet_050", BackboneOptions()).eval()
    assert backbone(torch.zeros(1, 1, 129, 129)).shape == (1, feature_count(backbone))
