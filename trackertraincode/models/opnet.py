"""Checkpoints of the OpNet authors' training code as networks of ours.

Not converted are uncertainties, whose factors depend on features in another way, and backbones that are built otherwise
(EfficientNet, hybrid_vit, low-pass filters before the convolutions).
"""

from typing import Any

import torch
from torch import Tensor

from trackertraincode.errors import ConfigError
from trackertraincode.models.heads import positive
from trackertraincode.models.pose_network import NetworkConfig, PoseNetwork
from trackertraincode.models.weights import in_order

FACE_MODEL = "bfm_noneck_v3"
FIRST_LAYERS = {"convnet.conv1.weight": "mobilenetv1", "convnet.layers.0.weight": "resnet18"}
MARK = "boxnet.linear.weight"  # a tensor that every such network has


def is_opnet(content: Any) -> bool:
    """Whether a file's content is a network of OpNet's training code."""
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    return isinstance(state, dict) and any(isinstance(name, str) and name.endswith(MARK) for name in state)


def build_opnet(given: dict[str, Tensor], config: Any) -> PoseNetwork:
    """given: tensors by the names of `NetworkWithPointHead`; config: what the file says of it, None for old files.

    Raises ConfigError where its layout can't be converted.
    """
    backbone = next((ours for name, ours in FIRST_LAYERS.items() if name in given), None)
    if backbone is None or any(name.endswith(".kernel") for name in given):
        kind = config.get("config", "unknown") if isinstance(config, dict) else "unknown"
        filters = "" if backbone is None else " with low-pass filters"
        raise ConfigError(
            f"OpNet's backbone {kind}{filters} is built differently here; export it to ONNX with OpNet's code"
        )
    features = given[MARK].shape[1]
    network = PoseNetwork(
        NetworkConfig(
            backbone=backbone,
            width=features / 1024 if backbone == "mobilenetv1" else 1.0,
            rotation="sixd" if len(given["quatnet.linear.bias"]) == 6 else "quaternion",
            landmarks="landmarks.shapenet.weight" in given,
            face_model=FACE_MODEL,
            fixed_offsets="local_pose_offset.p" in given,
        )
    )
    own = network.backbone.state_dict()
    body = in_order(own, {name: value for name, value in given.items() if name.startswith("convnet.")})
    state = {f"backbone.{name}": value for name, value in body.items()}
    for kind in ("weight", "bias"):
        state[f"rotation.linear.{kind}"] = given[f"quatnet.linear.{kind}"]
        state[f"face_box.linear.{kind}"] = given[f"boxnet.linear.{kind}"]
        state[f"head.linear.{kind}"] = torch.cat([given[f"posnet.linear_{part}.{kind}"] for part in ("xy", "size")])
        if network.config.landmarks:
            state[f"shape.linear.{kind}"] = given[f"landmarks.shapenet.{kind}"]
    if network.config.landmarks:
        state["landmarks.mean"] = given["landmarks.deformablekeypoints.keypts"]
        state["landmarks.basis"] = given["landmarks.deformablekeypoints.keyeigvecs"]
    if network.config.fixed_offsets:
        used = config is None or config.get("use_local_pose_offset", True)
        rows = [_offsets(given[f"local_pose_offset{part}.p"], used) for part in ("", "_kpts")]
        state["fixed_offsets"] = torch.stack(rows)
    network.load_state_dict(state)
    return network


def _offsets(p: Tensor, used: bool) -> Tensor:
    """(N, 4) as trained: unused, pitch and down, back, size before elu + 1 -> (4,) as `DatasetOffsets` has, of the first."""
    if not used:
        return torch.zeros(4)
    if p.ndim != 2:  # of one data set only, with other meanings
        raise ConfigError("its offsets are of an older generation of OpNet; export it to ONNX with OpNet's code")
    _, pitch, back, size = p[0]
    factor = positive(size)
    return torch.stack([pitch, -pitch * factor, -back * factor, factor.log()])
