"""The network of a run, with the weights that it starts from."""

import math
from dataclasses import replace

import torch

from trackertraincode.augmentation.loader import TrainBatches, checked
from trackertraincode.facemodel.bfm import NAME as BFM_NAME
from trackertraincode.facemodel.head_model import HeadModel
from trackertraincode.facemodel.load import OWN_MODELS, load_head_model
from trackertraincode.models.about import origins
from trackertraincode.models.backbones import check_size, has_imagenet_weights
from trackertraincode.models.exported import is_exported, remeasure
from trackertraincode.models.pose_network import NetworkConfig, PoseNetwork, build_network
from trackertraincode.models.pretrained import Start, weights_for
from trackertraincode.pretrained import pose_network
from trackertraincode.training.config import TrainConfig
from trackertraincode.training.data import Members
from trackertraincode.training.device_augmentation import DeviceAugmentation
from trackertraincode.training.distributed import say
from trackertraincode.training.module import seed_of
from trackertraincode.training.trainer import wants_channels_last

FROM_TIMM, FROM_NOTHING = "timm", "none"  # values of --pretrained besides files and the model in the box
MEASURED = 1024  # samples that tell the statistics of batch norms that a file lacks
AT_ONCE = 128  # images


def make_network(config: TrainConfig, members: Members) -> tuple[PoseNetwork, dict[str, list[str]]]:
    """A new network, with weights of --pretrained where they fit, and the images that those come from (`about.ORIGINS`).

    Raises ConfigError, ModelFileError.
    """
    pretrained = config.optimisation.pretrained
    start = None if pretrained in (None, FROM_TIMM, FROM_NOTHING) else Start.read(pose_network(pretrained))
    torch.manual_seed(seed_of(config.machine.seed, 0))
    from_timm = pretrained == FROM_TIMM
    if from_timm and not has_imagenet_weights(config.network.backbone, config.network.width):
        name = f"{config.network.backbone} of width {config.network.width:g}"
        say(f"timm has no ImageNet weights for {name}, which starts at random")
        from_timm = False
    wanted = _options(config, members)
    if (kept := _kept_face_model(config, members, start)) is not None:
        network = PoseNetwork(replace(wanted, face_model=kept))
    else:
        face_model = _choose_face_model(config, members)
        network = build_network(replace(wanted, face_model=face_model.name), face_model, pretrained=from_timm)
    check_size(wanted.backbone, network.backbone, wanted.channels, wanted.input_size)
    if start is not None:
        _take_weights(network, start)
    return _laid_out(network, config), start.origins if start is not None else origins()


def empty_network(config: TrainConfig, members: Members, face_model: str) -> PoseNetwork:
    """For a run that is resumed, whose checkpoint has all weights and landmarks: it needs no other file."""
    return _laid_out(PoseNetwork(replace(_options(config, members), face_model=face_model)), config)


def _options(config: TrainConfig, members: Members) -> NetworkConfig:
    """All but the face model."""
    offsets_of = tuple(m.name for m in members.training) if config.data.ds_offsets else ()
    return replace(config.network, offsets_of=offsets_of)


def _laid_out(network: PoseNetwork, config: TrainConfig) -> PoseNetwork:
    if wants_channels_last(config.machine, network):
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def complete(network: PoseNetwork, pretrained: str | None, batches: TrainBatches, augment: DeviceAugmentation) -> None:
    """Measure on the first of the training batches what ONNX files lack; nothing where none is started from."""
    if pretrained in (None, FROM_TIMM, FROM_NOTHING) or not is_exported(pose_network(pretrained)):
        return
    count = min(len(batches), math.ceil(MEASURED / batches.batchsize))
    made = (augment(checked(batches[0, step]).unpack(), random=True).image for step in range(count))
    remeasure(network, (part for images in made for part in images.split(AT_ONCE)))
    say(f"statistics of batch norms, which {pretrained} lacks, are those of {count} batch{'es' * (count != 1)}")


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


def _kept_face_model(config: TrainConfig, members: Members, start: Start | None) -> str | None:
    """That of the network to start from, whose shapes mean nothing to another; its landmarks come with its weights.

    None where shape labels of another, or --face-model, have a say.
    """
    given = start.network.config if start is not None and start.network is not None else None
    if given is None or not given.landmarks or not config.network.landmarks or config.data.face_model is not None:
        return None
    labelled = {m.dataset.face_model for m in members.training if "shape" in m.dataset.labels}
    return given.face_model if labelled <= {given.face_model} else None


def _take_weights(network: PoseNetwork, start: Start) -> None:
    """Where they fit; says how many. Raises ConfigError when nothing does."""
    own, fitting = network.state_dict(), weights_for(network, start)
    network.load_state_dict(own | fitting)
    say(f"{len(fitting)} of {len(own)} tensors start from {start.path}")
    if start.network is not None and network.config.landmarks and "landmarks.mean" not in fitting:
        before, now = start.network.config.face_model, network.config.face_model
        say(f"  its landmarks are those of {before}, here they are those of {now}: they have to be trained anew")
