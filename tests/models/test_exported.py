"""Exported ONNX files, to train on: the same function, with batch norms that have statistics again."""

from pathlib import Path

import pytest
import torch
from torch import nn

from close import known
from trackertraincode.errors import ConfigError, ModelFileError
from trackertraincode.export.onnx import export_full, export_opentrack
from trackertraincode.export.quantize import export_fp16
from trackertraincode.facemodel.embedded import embedded_head
from trackertraincode.models.about import About
from trackertraincode.models.exported import load_exported, read_exported, remeasure
from trackertraincode.models.pose_network import NetworkConfig, PoseNetwork, build_network
from trackertraincode.models.pretrained import Start, weights_for
from trackertraincode.pretrained import pose_network


def trained(backbone: str = "mobilenetv1", width: float = 0.25, **options: object) -> PoseNetwork:
    """With values everywhere that a new network doesn't have."""
    torch.manual_seed(0)
    config = NetworkConfig.from_dict({"backbone": backbone, "width": width, "input_size": 65} | options)
    network = build_network(config, embedded_head()).eval()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            known(layer.running_mean).normal_(0, 0.1)
            known(layer.running_var).uniform_(0.5, 1.5)
    with torch.no_grad():
        for values in network.parameters():
            values.add_(torch.randn_like(values), alpha=0.02)
    return network


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of `trained()`; to read only."""
    path = tmp_path_factory.mktemp("exported") / "a.onnx"
    export_opentrack(trained(), path, About())
    return path


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(8, 1, 65, 65, generator=torch.Generator().manual_seed(1)) - 0.5


@pytest.mark.parametrize(
    ("backbone", "width", "options", "full"),
    [
        ("mobilenetv1", 0.25, {"uncertainty": True}, True),
        ("mobilenetv1", 0.25, {"uncertainty": True}, False),
        ("resnet18", 0.125, {"rotation": "sixd", "uncertainty": True}, False),
        ("efficientnet_b0", 0.25, {"blurpool": True, "uncertainty": True}, True),
    ],
)
def test_an_exported_network_is_read_as_the_same_function(
    tmp_path: Path, images: torch.Tensor, backbone: str, width: float, options: dict[str, object], full: bool
) -> None:
    network = trained(backbone, width, **options)
    for name, values in network.named_parameters():
        if name.endswith("se.conv_reduce.bias"):  # files leave such biases out
            nn.init.zeros_(values)
    (export_full if full else export_opentrack)(network, tmp_path / "a.onnx", About())
    again, _ = read_exported(tmp_path / "a.onnx")
    assert again.config == network.config
    with torch.no_grad():
        expected, found = network(images), again(images)
    told = ["rotation", "head", "face_box", "landmarks", "rotation_tril", "head_tril"]
    for name in [*told, "shape", "landmarks_scale", "face_box_scale", "shape_scale"] if full else told:
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), rtol=1e-3, atol=1e-4)


def test_measured_norms_keep_the_function_and_have_the_statistics_of_the_images(images: torch.Tensor) -> None:
    network = trained()
    with torch.no_grad():
        before = network(images).landmarks
        remeasure(network, images.split(3))
        after = network(images).landmarks
        network.train()
        training = network(images).landmarks
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(training, before, rtol=1e-3, atol=1e-4)
    assert network.training


def test_what_measured_norms_were_before_would_change_the_network_in_training(images: torch.Tensor) -> None:
    network = trained()
    with torch.no_grad():
        before = network(images).landmarks
        assert (network.train()(images).landmarks - before).abs().max() > 0.01


@pytest.mark.parametrize("backbone", ["repvgg_az", "hybrid_vit"])
def test_backbones_that_are_other_ones_in_files_are_refused(tmp_path: Path, backbone: str) -> None:
    export_opentrack(trained(backbone, 0.25 if "vgg" in backbone else 1.0), tmp_path / "a.onnx", About())
    with pytest.raises(
        ModelFileError, match=rf"a\.onnx: can't be trained on \(backbone\..* of {backbone} isn't in it as it is"
    ):
        read_exported(tmp_path / "a.onnx")


def test_other_precisions_are_refused(tmp_path: Path) -> None:
    network = trained("repvgg_az", input_size=33)
    crops = torch.rand(8, 1, 33, 33, generator=torch.Generator().manual_seed(1)) - 0.5
    export_fp16(network, tmp_path / "a.onnx", About(), crops)
    with pytest.raises(ModelFileError, match=r"a\.onnx: holds fp16 weights, which can't be trained; give the float32"):
        read_exported(tmp_path / "a.onnx")


def test_a_file_that_lacks_an_output_is_no_checkpoint(exported: Path, tmp_path: Path) -> None:
    import onnx

    _, about = load_exported(exported)
    assert about.trained_on == read_exported(exported)[1]["trained_on"]
    model = onnx.load(exported)
    del model.graph.output[[output.name for output in model.graph.output].index("pt3d_68")]
    onnx.save(model, tmp_path / "a.onnx")
    with pytest.raises(ModelFileError, match=r"a\.onnx: lacks the output pt3d_68; give the \.ckpt"):
        load_exported(tmp_path / "a.onnx")


def test_files_of_other_tools_are_refused(exported: Path, tmp_path: Path) -> None:
    import onnx

    model = onnx.load(exported)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "a.onnx")
    with pytest.raises(ModelFileError, match=r"a\.onnx: wasn't written by `ttc export`, so its weights can't be read"):
        read_exported(tmp_path / "a.onnx")


def test_a_file_that_says_something_else_than_its_weights_is_refused(exported: Path, tmp_path: Path) -> None:
    import onnx

    model = onnx.load(exported)
    node = [n for n in model.graph.node if n.op_type == "Relu"][-1]
    node.op_type = "Neg"
    onnx.save(model, tmp_path / "a.onnx")
    with pytest.raises(
        ModelFileError, match=r"a\.onnx: can't be trained on \(\w+ of the network made of it differs by"
    ):
        read_exported(tmp_path / "a.onnx")


def test_the_model_in_the_box_can_be_trained_on() -> None:
    found = weights_for(
        PoseNetwork(NetworkConfig(width=0.5, uncertainty=True, face_model="anny-v1")), Start.read(pose_network())
    )
    assert len([name for name in found if name.startswith("backbone.")]) > 100


def test_another_backbone_or_width_than_that_of_the_file_is_told(exported: Path) -> None:
    for options in ({"width": 1.0}, {"backbone": "resnet18", "width": 0.25}):
        network = PoseNetwork(NetworkConfig.from_dict({"input_size": 65} | options))
        with pytest.raises(
            ConfigError, match=r"a\.onnx: is another network than .*; add --backbone mobilenetv1 --width 0.25"
        ):
            weights_for(network, Start.read(exported))
