"""What a run's network starts from."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from trackertraincode.conversion.synthetic import write_faces
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.datasets.mixing import Member
from trackertraincode.errors import ConfigError
from trackertraincode.export.onnx import sample_images
from trackertraincode.facemodel.embedded import embedded_head
from trackertraincode.models.about import About, origins
from trackertraincode.models.backbones import BackboneOptions, build_backbone
from trackertraincode.models.checkpoint import load_network, save_network
from trackertraincode.models.onnx_model import OnnxPoseModel
from trackertraincode.models.pose_network import NetworkConfig, PoseNetwork
from trackertraincode.pretrained import pose_network
from trackertraincode.rendering.generate import Request
from trackertraincode.training.config import TrainConfig
from trackertraincode.training.data import Members
from trackertraincode.training.network import make_network

SMALL = {"backbone": "repvgg_ax", "width": 0.125, "input_size": 65}


def made(**options: object) -> torch.nn.Module:
    return make_network(TrainConfig.of(**SMALL | options), Members([], []))[0]


def test_a_size_that_a_network_of_timm_cannot_take_is_said_at_once() -> None:
    """Some say so only when they see an image."""
    with pytest.raises(ConfigError, match=r"takes no crops of 129 pixels \(height.*\); choose .*such as 224"):
        made(backbone="timm:maxvit_tiny_tf_224", width=1.0, input_size=129)
    assert made(backbone="timm:lcnet_050", width=1.0, input_size=33).training


def test_none_starts_at_random() -> None:
    same = [made(pretrained=value).state_dict() for value in (None, "none")]
    assert all(torch.equal(a, b) for a, b in zip(same[0].values(), same[1].values()))


def test_weights_that_timm_lacks_are_said_to_be_missing(capsys: pytest.CaptureFixture) -> None:
    made(pretrained="timm")
    assert "no ImageNet weights for repvgg_ax of width 0.125, which starts at random" in capsys.readouterr().out


def test_the_model_of_this_package_is_where_a_run_may_start(
    run: Callable[..., Path], capsys: pytest.CaptureFixture
) -> None:
    """A step too small to change anything: what is trained is what stands in the file, with statistics measured."""
    outdir = run(
        backbone="mobilenetv1", width=0.5, input_size=129, with_nll_loss=True, pretrained="default", epochs=1,
        samples_per_epoch=16, lr=1e-9, gradient_clip=1e-9, calibrate=False,
    )  # fmt: skip
    assert "statistics of batch norms, which default lacks, are those of 1 batch\n" in capsys.readouterr().out
    trained, _ = load_network(outdir / "last.ckpt")
    image = sample_images(1, 129, 1)
    expected = OnnxPoseModel(pose_network()).run(image.numpy())
    with torch.no_grad():
        found = trained(image)
    for name in ("rotation", "head", "face_box"):
        torch.testing.assert_close(getattr(found, name).numpy(), expected[name], rtol=0.02, atol=0.02)


def test_landmarks_stay_those_of_the_face_model_that_the_weights_are_for(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Where no labels ask for another: shape coefficients of one model mean nothing to another."""
    torch.manual_seed(0)
    given = PoseNetwork(NetworkConfig.from_dict(SMALL | {"face_model": "anny-v1"}))
    given.landmarks.mean.normal_()
    save_network(tmp_path / "a.ckpt", given, About())
    network = made(pretrained=str(tmp_path / "a.ckpt"))
    assert isinstance(network, PoseNetwork)
    assert network.config.face_model == "anny-v1"
    assert torch.equal(network.landmarks.mean, given.landmarks.mean)
    (tmp_path / "labels").mkdir()
    write_faces(Request(2, 64, 1, "hdf5"), tmp_path / "labels" / "a.h5", 0)
    dataset = Hdf5PoseDataset(tmp_path / "labels" / "a.h5")
    member = Member("a", dataset, np.arange(2), 1.0, ("shape",))
    other, _ = make_network(TrainConfig.of(**SMALL, pretrained=str(tmp_path / "a.ckpt")), Members([member], []))
    assert torch.equal(other.landmarks.mean, torch.from_numpy(embedded_head().keypoint_mean).float())
    assert "its landmarks are those of anny-v1, here they are those of embedded-v1" in capsys.readouterr().out


def test_where_weights_come_from_is_handed_on(tmp_path: Path) -> None:
    """So that networks are told as trained on what the network that they began with was trained on."""
    about = About(trained_on=["aflw2k"], selected_on=["biwi"], training_files=["a.h5"])
    save_network(tmp_path / "a.ckpt", PoseNetwork(NetworkConfig.from_dict(SMALL)), about)
    packaged = {"backbone": "mobilenetv1", "width": 0.5, "pretrained": str(pose_network())}
    for options, expected in (
        (SMALL, origins()),
        (SMALL | {"pretrained": str(tmp_path / "a.ckpt")}, origins(vars(about))),
        (packaged, {"trained_on": ["rendered"], "selected_on": [], "training_files": ["rendered.h5"]}),
    ):
        assert make_network(TrainConfig.of(**options), Members([], []))[1] == expected


def test_published_weights_are_taken(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    weights = build_backbone("repvgg_ax", BackboneOptions(channels=3, width=0.125)).state_dict()
    torch.save(weights, tmp_path / "a.pth")
    network = made(pretrained=str(tmp_path / "a.pth"), rgb=True)
    key = "stem.conv_kxk.conv.weight"
    assert torch.equal(network.state_dict()[f"backbone.{key}"], weights[key])
    assert f"tensors start from {tmp_path / 'a.pth'}" in capsys.readouterr().out
