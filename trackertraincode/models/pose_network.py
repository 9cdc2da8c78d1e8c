"""The pose network: backbone, heads, uncertainty.

crop (B, C, S, S) --backbone--> features --neck dropout--> heads --> Prediction, in [-1, 1] of the crop
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trackertraincode.errors import ConfigError
from trackertraincode.facemodel.head_model import COEFFICIENT_COUNT, HeadModel
from trackertraincode.facemodel.landmarks68 import COUNT
from trackertraincode.models.backbones import (
    BACKBONES,
    BackboneOptions,
    build_backbone,
    check_backbone,
    feature_count,
    reparameterize,
)
from trackertraincode.models.heads import (
    MORE_HEADS,
    ROTATION_HEADS,
    BoxHead,
    DatasetOffsets,
    FaceModelLandmarks,
    HeadCenterHead,
    ShapeHead,
    offset_pose,
)
from trackertraincode.models.uncertainty import UNCERTAINTY, ConstantScale, TriangularFactor
from trackertraincode.options import check, option
from trackertraincode.sample.sample import Prediction


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Everything it takes to build a network again. Raises ConfigError where a value can't be."""

    backbone: str = option("mobilenetv1", f"{', '.join(BACKBONES)}, or timm:NAME", metavar="NAME")
    width: float = option(1.0, "factor of the backbone's channels", above=0.0, most=4.0)
    input_size: int = option(129, "edge of the crops, pixels", least=32, most=1024)
    channels: int = option(
        1,
        "colour input with ImageNet statistics instead of grey",
        key="rgb",
        values={True: 3, False: 1},
        choices=(1, 3),
    )
    blurpool: bool = option(False, "low-pass filter before each stride of the backbone")
    rotation: str = option(
        "quaternion",
        "six numbers per rotation instead of a quaternion",
        key="enable_6drot",
        values={True: "sixd", False: "quaternion"},
        choices=tuple(ROTATION_HEADS),
    )
    landmarks: bool = option(True, "predict shape and 3-D landmarks by the face model", key="pointhead")
    uncertainty: bool = option(
        False, "predict uncertainty and train it by negative log likelihood", key="with_nll_loss"
    )
    dropout: float = option(0.0, "dropout between backbone and heads", key="neck_dropout", least=0.0, most=0.95)
    face_model: str = "embedded-v1"  # whose landmarks and coefficients
    offsets_of: tuple[str, ...] = ()  # data sets with offsets of their own; the first is the reference
    fixed_offsets: bool = False  # pose and landmarks each move by constants, as in OpNet's checkpoints

    def __post_init__(self) -> None:
        check(self)
        check_backbone(self.backbone)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "NetworkConfig":
        """The inverse of `to_dict`. Raises ConfigError for keys of a newer version."""
        known = {f.name for f in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ConfigError(f"network option {unknown[0]!r} is unknown; a newer version of this library wrote it.")
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        for name, default in vars(cls()).items():
            kinds = (int, float) if isinstance(default, float) else (type(default),)
            if type(plain.get(name, default)) not in kinds:
                raise ConfigError(f"network option {name!r} is {str(plain[name])[:40]!r}; the file is damaged.")
        if not all(isinstance(name, str) for name in plain.get("offsets_of", ())):
            raise ConfigError("network option 'offsets_of' isn't a list of names; the file is damaged.")
        return cls(**plain)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for checkpoints and metadata; what only OpNet's have is left out of others."""
        values = {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}
        return {k: v for k, v in values.items() if k != "fixed_offsets" or v}


class PoseNetwork(nn.Module):
    """Predicts pose, face box and, as configured, shape, landmarks and uncertainty."""

    kind = "pose"  # in checkpoints
    fixed_offsets: Tensor

    def __init__(self, config: NetworkConfig, *, pretrained: bool = False) -> None:
        super().__init__()
        self.config = config
        names = ["rotation", "head", "face_box"] + (["shape"] if config.landmarks else []) + [*MORE_HEADS]
        self._queries = {name: i for i, name in enumerate(names)}
        options = BackboneOptions(
            channels=config.channels,
            size=config.input_size,
            width=config.width,
            queries=len(names),
            pretrained=pretrained,
        )
        self.backbone = build_backbone(config.backbone, options, blurpool=config.blurpool)
        self.dropout = nn.Dropout(config.dropout)
        features = feature_count(self.backbone)
        self.rotation = ROTATION_HEADS[config.rotation](features)
        self.head = HeadCenterHead(features)
        self.face_box = BoxHead(features)
        if config.landmarks:
            self.shape = ShapeHead(features)
            self.landmarks = FaceModelLandmarks()
        self.more = nn.ModuleDict({name: make(features) for name, make in MORE_HEADS.items()})
        if config.uncertainty:
            self.rotation_tril, self.head_tril = TriangularFactor(features), TriangularFactor(features)
            self.face_box_scale = ConstantScale(4)
            if config.landmarks:
                self.landmarks_scale = ConstantScale(COUNT, 3)
                self.shape_scale = ConstantScale(COEFFICIENT_COUNT)
        if len(config.offsets_of) > 1:
            self.offsets = DatasetOffsets(len(config.offsets_of))
        if config.fixed_offsets:
            self.register_buffer("fixed_offsets", torch.zeros(2, 4))  # of pose, of landmarks

    def set_face_model(self, model: HeadModel) -> None:
        """Take the landmarks of a face model; once, when the network is made."""
        assert model.name == self.config.face_model, "the configuration names another face model"
        if self.config.landmarks:
            self.landmarks.mean.copy_(torch.from_numpy(model.keypoint_mean))
            self.landmarks.basis.copy_(torch.from_numpy(model.keypoint_basis))

    def forward(self, image: Tensor, dataset: Tensor | None = None) -> Prediction:
        """image: (B, C, S, S), normalised (`augmentation.units`). dataset: (B,) long, while training with offsets."""
        features = self.dropout(self.backbone(image))
        with torch.autocast(image.device.type, enabled=False):  # heads are cheap, and geometry needs float32
            return self._predict(features.float(), dataset)

    def _predict(self, features: Tensor, dataset: Tensor | None) -> Prediction:
        """features: (B, F), or (B, Q, F) of a transformer; dataset: (B,)."""
        count = features.shape[0]
        rotation, raw = self.rotation(self._of(features, "rotation"))
        head = self.head(self._of(features, "head"))
        parts: dict[str, Tensor] = {"rotation_raw": raw, "face_box": self.face_box(self._of(features, "face_box"))}
        if self.config.landmarks:
            parts["shape"] = self.shape(self._of(features, "shape"))
            posed = (
                offset_pose(rotation, head, self.fixed_offsets[1:]) if self.config.fixed_offsets else (rotation, head)
            )
            parts["landmarks"] = self.landmarks(*posed, parts["shape"])
        parts |= {name: head(self._of(features, name)) for name, head in self.more.items()}
        if self.config.uncertainty:
            parts["rotation_tril"] = self.rotation_tril(self._of(features, "rotation"))
            parts["head_tril"] = self.head_tril(self._of(features, "head"))
            parts["face_box_scale"] = self.face_box_scale(count)
            if self.config.landmarks:
                parts["landmarks_scale"] = self.landmarks_scale(count)
                parts["shape_scale"] = self.shape_scale(count)
        if dataset is not None and len(self.config.offsets_of) > 1:
            rotation, head = self.offsets(rotation, head, dataset)
        if self.config.fixed_offsets:
            rotation, head = offset_pose(rotation, head, self.fixed_offsets[:1])
        return Prediction(rotation=rotation, head=head, **parts)

    def uncertainty_parameters(self) -> list[nn.Parameter]:
        """Those that only say how sure the network is."""
        return [p for m in self.modules() if isinstance(m, UNCERTAINTY) for p in m.parameters()]

    def deployed(self) -> "PoseNetwork":
        """A copy for inference: evaluation mode, parallel branches fused."""
        copy = PoseNetwork(self.config)
        copy.load_state_dict(self.state_dict())
        copy.backbone = reparameterize(copy.backbone)
        return copy.eval()

    def _of(self, features: Tensor, name: str) -> Tensor:
        """(B, F) that a head reads: those of its own query of a transformer, all of a convolutional network."""
        return features[:, self._queries[name]] if features.ndim == 3 else features


def build_network(config: NetworkConfig, face_model: HeadModel, *, pretrained: bool = False) -> PoseNetwork:
    """A new network with random weights (or timm's) and the face model's landmarks."""
    network = PoseNetwork(config, pretrained=pretrained)
    network.set_face_model(face_model)
    return network
