"""The network predicts valid poses in crop coordinates, and a checkpoint brings it back exactly."""

import math
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from trackertraincode.errors import ModelFileError
from trackertraincode.facemodel.embedded import embedded_head
from trackertraincode.facemodel.landmarks68 import EYE_CORNERS
from trackertraincode.geometry.camera import project_weak_perspective
from trackertraincode.geometry.rotation import quat_geodesic_angle, random_quats
from trackertraincode.localizer.network import Localizer, LocalizerConfig, load_localizer
from trackertraincode.models.about import About
from trackertraincode.models.checkpoint import load_network, save_network
from trackertraincode.models.heads import DatasetOffsets, FaceModelLandmarks
from trackertraincode.models.pose_network import NetworkConfig, PoseNetwork, build_network

IDENTITY = torch.tensor([[0.0, 0.0, 0.0, 1.0]])


def small(**changes: object) -> PoseNetwork:
    torch.manual_seed(0)
    values: dict = {"width": 0.25, "input_size": 65, "uncertainty": True, "rotation": "quaternion"}
    return build_network(NetworkConfig(**(values | changes)), embedded_head())


@pytest.mark.parametrize("rotation", ["quaternion", "sixd"])
def test_predictions_are_valid_and_start_near_the_identity(rotation: str) -> None:
    prediction = small(rotation=rotation).eval()(torch.randn(4, 1, 65, 65))
    assert torch.allclose(prediction.rotation.norm(dim=-1), torch.ones(4), atol=1e-5)
    assert quat_geodesic_angle(prediction.rotation, IDENTITY).rad2deg().max() < 20
    assert prediction.head[:, :2].abs().max() < 0.2
    assert prediction.head[:, 2].detach().numpy() == pytest.approx(1.5, abs=0.2)
    for name in ("rotation_tril", "head_tril"):
        factor = getattr(prediction, name)
        assert (factor.triu(1) == 0).all()
        assert (factor.diagonal(dim1=-2, dim2=-1) > 0).all()
    assert (prediction.face_box_scale > 0).all()


def test_parts_that_are_off_are_none() -> None:
    prediction = small(landmarks=False, uncertainty=False)(torch.randn(2, 1, 65, 65))
    assert prediction.landmarks is None
    assert prediction.shape is None
    assert prediction.rotation_tril is None


def test_landmarks_are_the_face_models() -> None:
    model, head = embedded_head(), torch.tensor([[0.1, -0.2, 0.7], [0.0, 0.3, 0.5]])
    rotation, shape = random_quats(2, torch.Generator().manual_seed(0)), torch.randn(2, 50) * 0.3
    module = FaceModelLandmarks()
    module.mean.copy_(torch.from_numpy(model.keypoint_mean))
    module.basis.copy_(torch.from_numpy(model.keypoint_basis))
    points = module(rotation, head, shape)
    local = torch.from_numpy(model.keypoints68(shape.numpy()))
    expected = project_weak_perspective(local, rotation, head)
    assert torch.allclose(points[..., :2], expected[..., :2], atol=1e-5)
    assert points[:, list(EYE_CORNERS), 2].mean(-1).abs().max() < 1e-6
    assert torch.allclose(points[..., 2].diff(dim=-1), expected[..., 2].diff(dim=-1), atol=1e-5)


def test_neck_dropout_is_applied_in_training_only() -> None:
    network = small(dropout=0.5)
    image = torch.randn(4, 1, 65, 65)
    network.eval()
    assert torch.equal(network(image).head, network(image).head)
    network.train()
    network.backbone.eval()
    assert not torch.equal(network(image).head, network(image).head)


def test_first_data_set_is_the_reference_of_the_offsets() -> None:
    offsets = DatasetOffsets(3)
    with torch.no_grad():
        offsets.offsets.copy_(torch.tensor([[0.2, 0.1, -0.3, 0.0], [0.0, 0.0, 0.0, 0.5]]))
    rotation, head = random_quats(3, torch.Generator().manual_seed(1)), torch.rand(3, 3) + 0.1
    turned, moved = offsets(rotation, head, torch.tensor([0, 1, 2]))
    assert torch.allclose(turned[0], rotation[0])
    assert torch.allclose(moved[0], head[0])
    assert quat_geodesic_angle(turned[1], rotation[1]).item() == pytest.approx(0.2, abs=1e-5)
    assert moved[1, 2] == head[1, 2]
    assert torch.equal(turned[2], rotation[2])
    assert moved[2].tolist() == pytest.approx([*head[2, :2].tolist(), head[2, 2].item() * np.exp(0.5)], rel=1e-5)


def test_offsets_are_left_out_at_inference() -> None:
    network = small(offsets_of=("a", "b")).eval()
    with torch.no_grad():
        network.offsets.offsets.fill_(0.3)
    image = torch.randn(2, 1, 65, 65)
    assert torch.equal(network(image).head, network(image, dataset=torch.zeros(2, dtype=torch.long)).head)
    assert not torch.equal(network(image).head, network(image, dataset=torch.ones(2, dtype=torch.long)).head)


@pytest.mark.parametrize("backbone", ["mobilenetv1", "repvgg_az", "hybrid_vit"])
def test_checkpoints_bring_the_network_back(tmp_path: Path, backbone: str) -> None:
    network = small(backbone=backbone).eval()
    about = About(recipe={"epochs": 3}, trained_on=["300wlp"], selected_on=["300wlp"], epoch=2)
    save_network(tmp_path / "a.ckpt", network, about)
    again, read = load_network(tmp_path / "a.ckpt")
    assert (read, again.config) == (about, network.config)
    image = torch.randn(2, 1, 65, 65)
    assert torch.equal(again(image).landmarks, network(image).landmarks)
    assert torch.allclose(network.deployed()(image).landmarks, network(image).landmarks, atol=1e-5)


def test_localizer_checkpoints(tmp_path: Path) -> None:
    localizer = Localizer(LocalizerConfig()).eval()
    save_network(tmp_path / "l.ckpt", localizer, About())
    image = torch.randn(1, 1, 224, 288)
    assert torch.equal(load_localizer(tmp_path / "l.ckpt")(image), localizer(image))
    with pytest.raises(ModelFileError, match=r"l\.ckpt: holds a localizer network, expected a pose network"):
        load_network(tmp_path / "l.ckpt")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"channels": [2048] * 8, "depths": [64] * 8}, "much larger than its weights"),
        ({"channels": [10**6], "depths": [1]}, "whole numbers from 1 to 2048"),
        ({"channels": [8], "depths": [10**9]}, "whole numbers from 1 to 64"),
        ({"channels": [8.5], "depths": [1]}, "whole numbers"),
        ({"channels": "abc", "depths": [1]}, "whole numbers"),
        ({"channels": [8, 8], "depths": [1]}, "2 channels and 1 depths"),
        ({"channels": [], "depths": []}, "0 channels"),
    ],
)
def test_localizers_that_cannot_be_are_not_built(tmp_path: Path, config: dict, message: str) -> None:
    torch.save({"format": 1, "kind": "localizer", "config": config, "state": {}}, tmp_path / "l.ckpt")
    with pytest.raises(ModelFileError, match=rf"l\.ckpt: the localizer network can't be built again \(.*{message}"):
        load_localizer(tmp_path / "l.ckpt")


class Evil:
    def __reduce__(self) -> tuple:
        return (open, ("executed", "w"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a readable checkpoint"),
        (b"PK\x03\x04 cut", "not a readable checkpoint"),
        ({"epoch": 1}, "holds no network of this library"),
        ({"format": 99, "config": {}, "state": {}}, "checkpoint format 99, expected 1"),
        ({"format": 1, "kind": "pose", "config": {"backbon": "x"}, "state": {}}, "'backbon' is unknown"),
        ({"format": 1, "kind": "pose", "config": {"width": 0.25}, "state": {}}, "can't be built again"),
        ({"format": 1, "kind": "pose", "config": Evil(), "state": {}}, "not a readable checkpoint"),
        ({"format": 1, "kind": "pose", "config": [1], "state": {}}, "can't be built again"),
        ({"format": 1, "kind": "pose", "config": {"width": "x"}, "state": {}}, "network option 'width' is 'x'"),
        (
            {"format": 1, "kind": "pose", "config": {"input_size": {}}, "state": {}},
            "network option 'input_size' is '{}'",
        ),
        ({"format": 1, "kind": "pose", "config": {}, "state": 7}, "can't be built again"),
        (
            {"format": 1, "kind": "pose", "config": {"backbone": "timm:vit_giant_patch14_224"}, "state": {}},
            "much larger than its weights, which have 0 bytes",
        ),
        ({"format": 1, "kind": "pose", "config": {}, "state": {}, "about": 3}, "about itself isn't a table"),
        (
            {"format": 1, "kind": "pose", "config": {}, "state": {}, "about": {"trained_on": [1]}},
            r"trained_on = '\[1\]'",
        ),
        ({"format": 1, "kind": "pose", "config": {}, "state": {}, "about": {"regions": {"a": 1}}}, "regions = "),
        *(
            ({"format": 1, "kind": "pose", "config": {}, "state": {}, "about": {"regions": {"a": row}}}, "regions = ")
            for row in ([1.0], [1.0, math.nan, 3.0], [1.0, 2.0, 2**990])
        ),
        *(
            ({"format": 1, "kind": "pose", "config": {}, "state": {}, "about": {"recipe": recipe}}, "recipe = ")
            for recipe in ({"a": torch.zeros(2)}, {"a": [b"x"]}, {1: 2})
        ),
        *(
            ({"format": 1, "kind": "pose", "config": {"backbone": f"timm:{name}"}, "state": {}}, "is unknown")
            for name in ("hf-hub:timm/resnet18", "local-dir:/tmp", "resnet18.a://b", "/etc/passwd")
        ),
        ({"format": 1, "kind": "pose", "config": {"offsets_of": [[]]}, "state": {}}, "isn't a list of names"),
        ({"format": torch.ones(3), "config": {}, "state": {}}, "checkpoint format tensor"),
        ({"format": 1, "kind": torch.ones(3), "config": {}, "state": {}}, r"holds a tensor.* network"),
        ({"config": {1: 2}, "state": None}, "checkpoint format None"),
    ],
)
def test_damaged_checkpoints_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: object, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "bad.ckpt"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(ModelFileError, match=rf"bad\.ckpt: .*{message}"):
        load_network(path)
    assert not (tmp_path / "executed").exists()


def test_a_checkpoint_that_would_be_counted_for_ever_is_refused(tmp_path: Path) -> None:
    """Its dict has a pair of pairs of pairs as a key, whose hash takes 2**60 steps."""
    torch.save({}, tmp_path / "a.ckpt")
    endless = b"\x80\x02)q\x00" + b"h\x00h\x00\x86q\x00" * 60 + b"}h\x00K\x01s."
    with zipfile.ZipFile(tmp_path / "a.ckpt") as good, zipfile.ZipFile(tmp_path / "b.ckpt", "w") as bad:
        for name in good.namelist():
            bad.writestr(name, endless if name.endswith("data.pkl") else good.read(name))
    with pytest.raises(ModelFileError, match=r"b\.ckpt: not a readable checkpoint \(it has a dict whose keys"):
        load_network(tmp_path / "b.ckpt")


def test_checkpoints_of_old_torch_versions_are_read(tmp_path: Path) -> None:
    network = small()
    save_network(tmp_path / "a.ckpt", network, About())
    content = torch.load(tmp_path / "a.ckpt", weights_only=True)
    torch.save(content, tmp_path / "old.ckpt", _use_new_zipfile_serialization=False)
    assert load_network(tmp_path / "old.ckpt")[0].config == network.config


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"no\.ckpt: no such file"):
        load_network(tmp_path / "no.ckpt")
