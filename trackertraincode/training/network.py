"""The network of a run, with the weights that it starts from."""

from dataclasses import replace
from pathlib import Path

import torch

from trackertraincode.errors import ConfigError
from trackertraincode.facemodel.bfm import NAME as BFM_NAME
from trackertraincode.facemodel.head_model import HeadModel
from trackertraincode.facemodel.load import load_head_model
from trackertraincode.models.checkpoint import load_network
from trackertraincode.models.pose_network import PoseNetwork, build_network
from trackertraincode.training.config import TrainConfig
from trackertraincode.training.data import Members
from trackertraincode.training.distributed import say
from trackertraincode.training.module import seed_of

FROM_TIMM = "timm"  # value of --pretrained


def make_network(config: TrainConfig, members: Members) -> PoseNetwork:
    """A new network, with weights of --pretrained where they fit. Raises ConfigError, ModelFileError."""
    torch.manual_seed(seed_of(config.machine.seed, 0))
    face_model, pretrained = _choose_face_model(config, members), config.optimisation.pretrained
    offsets_of = tuple(m.name for m in members.training) if config.data.ds_offsets else ()
    network = build_network(
        replace(config.network, face_model=face_model.name, offsets_of=offsets_of),
        face_model,
        pretrained=pretrained == FROM_TIMM,
    )
    if pretrained not in (None, FROM_TIMM):
        _take_weights(network, Path(pretrained))
    if config.machine.channels_last:
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def _choose_face_model(config: TrainConfig, members: Members) -> HeadModel:
    """The one of --face-model or $DATADIR, else the embedded head. Says when shape labels belong to another."""
    model = load_head_model(config.data.face_model)
    others = sorted({m.dataset.face_model for m in members.training if "shape" in m.dataset.labels} - {model.name})
    if config.network.landmarks and others:
        hint = f"; --face-model {BFM_NAME}.pkl would use them" if BFM_NAME in others else ""
        say(f"shape labels of {', '.join(others)} aren't trained: the network's face model is {model.name}{hint}")
    return model


def _take_weights(network: PoseNetwork, path: Path) -> None:
    """Weights of a checkpoint where names and shapes agree; says what didn't. Raises ConfigError when nothing does."""
    given = load_network(path)[0].state_dict()
    own = network.state_dict()
    fitting = {name: value for name, value in given.items() if name in own and own[name].shape == value.shape}
    fitting = {name: value for name, value in fitting.items() if not name.startswith("landmarks.")}
    if not any(name.startswith("backbone.") for name in fitting):
        raise ConfigError(f"--pretrained {path}: no weights of its backbone fit this network.")
    network.load_state_dict(own | fitting)
    say(f"{len(fitting)} of {len(own)} tensors start from {path}")
