"""The network of a run, with the weights that it starts from."""

from dataclasses import replace
from pathlib import Path

import torch

from trackertraincode.facemodel.bfm import NAME as BFM_NAME
from trackertraincode.facemodel.head_model import HeadModel
from trackertraincode.facemodel.load import OWN_MODELS, load_head_model
from trackertraincode.models.backbones import has_imagenet_weights
from trackertraincode.models.pose_network import PoseNetwork, build_network
from trackertraincode.models.pretrained import weights_for
from trackertraincode.training.config import TrainConfig
from trackertraincode.training.data import Members
from trackertraincode.training.distributed import say
from trackertraincode.training.module import seed_of
from trackertraincode.training.trainer import wants_channels_last

FROM_TIMM, FROM_NOTHING = "timm", "none"  # values of --pretrained besides files


def make_network(config: TrainConfig, members: Members) -> PoseNetwork:
    """A new network, with weights of --pretrained where they fit. Raises ConfigError, ModelFileError."""
    torch.manual_seed(seed_of(config.machine.seed, 0))
    face_model, pretrained = _choose_face_model(config, members), config.optimisation.pretrained
    offsets_of = tuple(m.name for m in members.training) if config.data.ds_offsets else ()
    from_timm = pretrained == FROM_TIMM
    if from_timm and not has_imagenet_weights(config.network.backbone, config.network.width):
        name = f"{config.network.backbone} of width {config.network.width:g}"
        say(f"timm has no ImageNet weights for {name}, which starts at random")
        from_timm = False
    network = build_network(
        replace(config.network, face_model=face_model.name, offsets_of=offsets_of),
        face_model,
        pretrained=from_timm,
    )
    if pretrained not in (None, FROM_TIMM, FROM_NOTHING):
        _take_weights(network, Path(pretrained))
    if wants_channels_last(config.machine, network):
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def _choose_face_model(config: TrainConfig, members: Members) -> HeadModel:
    """Our own head where all shape labels are its; else that of --face-model or $DATADIR, else the embedded head.

    Says when shape labels belong to another.
    """
    labelled = {m.dataset.face_model for m in members.training if "shape" in m.dataset.labels}
    own = labelled & set(OWN_MODELS) if len(labelled) == 1 and config.data.face_model is None else set()
    model = OWN_MODELS[own.pop()]() if own else load_head_model(config.data.face_model)
    others = sorted(labelled - {model.name})
    if config.network.landmarks and others:
        hint = f"; --face-model {BFM_NAME}.pkl would use them" if BFM_NAME in others else ""
        say(f"shape labels of {', '.join(others)} aren't trained: the network's face model is {model.name}{hint}")
    return model


def _take_weights(network: PoseNetwork, path: Path) -> None:
    """Weights of a file where they fit; says how many. Raises ConfigError when nothing does."""
    own, fitting = network.state_dict(), weights_for(network, path)
    network.load_state_dict(own | fitting)
    say(f"{len(fitting)} of {len(own)} tensors start from {path}")
