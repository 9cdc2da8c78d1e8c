"""What a run's network starts from."""

from pathlib import Path

import pytest
import torch

from trackertraincode.models.backbones import BackboneOptions, build_backbone
from trackertraincode.training.config import TrainConfig
from trackertraincode.training.data import Members
from trackertraincode.training.network import make_network

SMALL = {"backbone": "repvgg_ax", "width": 0.125, "input_size": 65}


def made(**options: object) -> torch.nn.Module:
    return make_network(TrainConfig.of(**SMALL | options), Members([], []))


def test_none_starts_at_random() -> None:
    same = [made(pretrained=value).state_dict() for value in (None, "none")]
    assert all(torch.equal(a, b) for a, b in zip(same[0].values(), same[1].values()))


def test_weights_that_timm_lacks_are_said_to_be_missing(capsys: pytest.CaptureFixture) -> None:
    made(pretrained="timm")
    assert "no ImageNet weights for repvgg_ax of width 0.125, which starts at random" in capsys.readouterr().out


def test_published_weights_are_taken(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    weights = build_backbone("repvgg_ax", BackboneOptions(channels=3, width=0.125)).state_dict()
    torch.save(weights, tmp_path / "a.pth")
    network = made(pretrained=str(tmp_path / "a.pth"), rgb=True)
    key = "stem.conv_kxk.conv.weight"
    assert torch.equal(network.state_dict()[f"backbone.{key}"], weights[key])
    assert f"tensors start from {tmp_path / 'a.pth'}" in capsys.readouterr().out
