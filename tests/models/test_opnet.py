"""Checkpoints of OpNet's own code give the outputs that its networks give."""

from pathlib import Path
from typing import Any

import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor
from torch.nn.functional import batch_norm, conv2d, elu, linear, normalize, relu

from trackertraincode.errors import ModelFileError
from trackertraincode.models.about import About
from trackertraincode.models.checkpoint import load_network, save_network

Weights = dict[str, Tensor]
BLOCKS = {"dw2_1": (32, 64, 1), "dw2_2": (64, 128, 2), "dw3_1": (128, 128, 1), "dw3_2": (128, 256, 2), "dw4_1": (256, 256, 1),
          "dw4_2": (256, 512, 2), **{f"dw5_{i}": (512, 512, 1) for i in range(1, 6)}, "dw5_6": (512, 1024, 2),
          "dw6": (1024, 1024, 1)}  # fmt: skip
WIDTH = 0.25


def random_opnet(*, sixd: bool) -> Weights:
    """Random weights by the names of the published code."""
    torch.manual_seed(0)
    w: Weights = {}

    def convolution(name: str, *shape: int) -> None:
        w[f"{name}.weight"] = torch.randn(*shape) * (2 / (shape[1] * shape[2] * shape[3])) ** 0.5

    def norm(name: str, count: int) -> None:
        w[f"{name}.weight"], w[f"{name}.bias"] = torch.rand(count) + 0.5, torch.randn(count) * 0.1
        w[f"{name}.running_mean"], w[f"{name}.running_var"] = torch.randn(count) * 0.1, torch.rand(count) + 0.5
        w[f"{name}.num_batches_tracked"] = torch.tensor(3)

    def layer(name: str, count: int) -> None:
        w[f"{name}.weight"], w[f"{name}.bias"] = torch.randn(count, int(1024 * WIDTH)) * 0.05, torch.randn(count) * 0.3

    convolution("convnet.conv1", int(32 * WIDTH), 1, 5, 5)
    norm("convnet.bn1", int(32 * WIDTH))
    for name, (before, after, _) in BLOCKS.items():
        before, after = int(before * WIDTH), int(after * WIDTH)
        convolution(f"convnet.{name}.conv_dw", before, 1, 3, 3)
        norm(f"convnet.{name}.bn_dw", before)
        convolution(f"convnet.{name}.conv_sep", after, before, 1, 1)
        norm(f"convnet.{name}.bn_sep", after)
    heads = {"boxnet.linear": 4, "posnet.linear_xy": 2, "posnet.linear_size": 1, "quatnet.linear": 6 if sixd else 4,
             "landmarks.shapenet": 50, "quatnet.uncertainty_net.neck.lin": 7}  # fmt: skip
    for name, count in heads.items():
        layer(name, count)
    w["landmarks.deformablekeypoints.keypts"] = torch.randn(68, 3)
    w["landmarks.deformablekeypoints.keyeigvecs"] = torch.randn(50, 68, 3) * 0.1
    for name in ("local_pose_offset.p", "local_pose_offset_kpts.p"):
        w[name] = torch.randn(8, 4) * 0.2
    return w


def run_opnet(w: Weights, x: Tensor, *, offsets: bool) -> Weights:
    """The published network's formulas: head, face box, rotation (B, 3, 3) and landmarks."""

    def norm(name: str, x: Tensor) -> Tensor:
        mean, var, weight, bias = (w[f"convnet.{name}.{k}"] for k in ("running_mean", "running_var", "weight", "bias"))
        return batch_norm(x, mean, var, weight, bias)

    def head(name: str) -> Tensor:
        return linear(features, w[f"{name}.weight"], w[f"{name}.bias"])

    def moved(p: Tensor, matrix: Tensor, coord: Tensor) -> tuple[Tensor, Tensor]:
        _, pitch, back, size = p[0]
        scale = coord[:, 2:] * (elu(size) + 1)
        shift = (matrix @ torch.stack([torch.zeros(()), pitch, back]))[:, :2] * scale
        turn = torch.from_numpy(Rotation.from_euler("x", float(pitch)).as_matrix()).float()
        return matrix @ turn, torch.cat([coord[:, :2] + shift, scale], dim=-1)

    x = relu(norm("bn1", conv2d(x, w["convnet.conv1.weight"], None, 2, 2)))
    for name, (before, after, stride) in BLOCKS.items():
        y = conv2d(x, w[f"convnet.{name}.conv_dw.weight"], None, stride, 1, groups=x.shape[1])
        y = norm(f"{name}.bn_sep", conv2d(relu(norm(f"{name}.bn_dw", y)), w[f"convnet.{name}.conv_sep.weight"]))
        x = relu(y + x if stride == 1 and before == after else y)
    features = x.mean((2, 3))
    box, z = head("boxnet.linear"), head("quatnet.linear")
    half = elu(box[:, 2:]) + 1
    coord = torch.cat([head("posnet.linear_xy"), elu(head("posnet.linear_size")) + 1], dim=-1)
    if z.shape[1] == 6:
        first, third = z[:, :3], torch.linalg.cross(z[:, :3], z[:, 3:])
        matrix = normalize(torch.stack([first, torch.linalg.cross(third, first), third], dim=-2), dim=-1)
    else:
        quat = torch.cat([z[:, :3], elu(z[:, 3:]) + 1], dim=-1)
        matrix = torch.from_numpy(Rotation.from_quat(quat.numpy()).as_matrix()).float()
    keys, bases = (w[f"landmarks.deformablekeypoints.{k}"] for k in ("keypts", "keyeigvecs"))
    local = keys + torch.einsum("bi,ijk->bjk", head("landmarks.shapenet"), bases)
    posed = moved(w["local_pose_offset_kpts.p"], matrix, coord) if offsets else (matrix, coord)
    points = local @ posed[0].mT * posed[1][:, None, 2:]
    points[..., :2] += posed[1][:, None, :2]
    matrix, coord = moved(w["local_pose_offset.p"], matrix, coord) if offsets else (matrix, coord)
    return {
        "head": coord,
        "face_box": torch.cat([box[:, :2] - half, box[:, :2] + half], -1),
        "matrix": matrix,
        "points": points,
    }


@pytest.mark.parametrize("sixd", [False, True])
@pytest.mark.parametrize("layout", ["saved", "without offsets", "lightning"])
def test_outputs_are_those_of_the_published_network(tmp_path: Path, sixd: bool, layout: str) -> None:
    weights = random_opnet(sixd=sixd)
    prefix = "_model." if layout == "lightning" else ""
    content: dict[str, Any] = {"state_dict": {prefix + name: value for name, value in weights.items()}}
    if layout != "lightning":
        config = {"config": "mobilenetv1", "use_local_pose_offset": layout == "saved", "enable_6drot": sixd}
        content |= {"class_name": "NetworkWithPointHead", "config": config}
    torch.save(content, tmp_path / "swa.ckpt")
    network, about = load_network(tmp_path / "swa.ckpt")
    assert about.library == "OpNet"
    image = torch.randn(3, 1, 129, 129)
    with torch.no_grad():
        found, expected = network(image), run_opnet(weights, image, offsets=layout != "without offsets")
    assert torch.allclose(found.head, expected["head"], atol=1e-4)
    assert torch.allclose(found.face_box, expected["face_box"], atol=1e-4)
    turns = Rotation.from_quat(found.rotation.numpy()) * Rotation.from_matrix(expected["matrix"].numpy()).inv()
    assert turns.magnitude().max() < 1e-3
    assert torch.allclose(found.landmarks[..., :2], expected["points"][..., :2], atol=1e-3)
    save_network(tmp_path / "ours.ckpt", network, About())
    with torch.no_grad():
        assert torch.equal(load_network(tmp_path / "ours.ckpt")[0](image).landmarks, found.landmarks)
        assert torch.allclose(network.deployed()(image).head, found.head, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda w: w | {"convnet.dw2_2.conv_dw.0.kernel": torch.ones(3, 3)},
            "with low-pass filters is built differently",
        ),
        (
            lambda w: {k: v for k, v in w.items() if k != "convnet.conv1.weight"},
            "backbone hybrid_vit is built differently",
        ),
        (lambda w: w | {"boxnet.linear.weight": torch.zeros(4, 7)}, "can't be built again"),
        (lambda w: w | {"boxnet.linear.weight": torch.zeros(())}, "can't be built again"),
    ],
)
def test_other_layouts_are_named(tmp_path: Path, change: Any, message: str) -> None:
    torch.save(
        {"state_dict": change(random_opnet(sixd=False)), "config": {"config": "hybrid_vit"}}, tmp_path / "a.ckpt"
    )
    with pytest.raises(ModelFileError, match=rf"a\.ckpt: .*{message}"):
        load_network(tmp_path / "a.ckpt")


def test_offsets_of_an_older_generation_are_told(tmp_path: Path) -> None:
    weights = random_opnet(sixd=False)
    weights |= {name: torch.zeros(4) for name in ("local_pose_offset.p", "local_pose_offset_kpts.p")}
    torch.save({"state_dict": weights}, tmp_path / "old.ckpt")
    with pytest.raises(
        ModelFileError, match=r"old\.ckpt: .*its offsets are of an older generation of OpNet; export it"
    ):
        load_network(tmp_path / "old.ckpt")
