"""What a training run is made of, as one checked table of options.

    recipe (TOML) --+
    command line ---+--> TrainConfig --resolved--> OUTDIR/config.toml --(--resume)--> TrainConfig

Every field is an option of `scripts/train_poseestimator.py`, a key of a recipe and a key of the resolved file, with the
same name. Numbers are the published OpNet recipe's; those of the second recipe are in `recipes/sixd.toml`.
"""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trackertraincode.augmentation.extras import NAMES as EXTRA_NAMES
from trackertraincode.errors import ConfigError, closest_first
from trackertraincode.models.backbones import BACKBONES

FREE_BACKBONE = "timm:"  # prefix of any network of timm
REFERENCE_BATCH = 64  # learning rates are for this many samples, which matters with `scale_lr`


def option(default: Any, help: str, **limits: Any) -> Any:
    """A field with its help text and limits: `choices`, `above` (exclusive), `least`, `most` (inclusive), `metavar`."""
    return field(default=default, metadata={"help": help, **limits})


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """All options of a run. Raises ConfigError where a value can't be."""

    # Data
    ds: str = option("300wlp", 'data sets and sampling weights, such as "300wlp" or "a:92+b:8"', group="data")
    ds_weighting: bool = option(False, "sample data sets evenly and scale their losses by the weights instead")
    val: str | None = option(
        None, "data sets to validate on (default: a part of each training set)", metavar="NAME[+NAME...]"
    )
    val_fraction: float = option(0.02, "share of each training set that validates instead", above=0.0, most=0.5)
    catalog: Path | None = option(None, "TOML file with data sets of your own", metavar="FILE")
    samples_per_epoch: int = option(10240, "an epoch is this many samples", least=1)
    face_model: Path | None = option(
        None, "bfm_noneck_v3.pkl (default: the one in $DATADIR, else the embedded head)", metavar="FILE"
    )
    workers: int | None = option(
        None, "processes that load data (default: NUM_WORKERS, else the cores, 8 at most)", least=0
    )

    # Augmentation
    augmentation: str = option(
        "auto",
        "intensity augmentation: as tables on the CPU or as kornia pipelines on the device; auto takes tables on CPU",
        choices=("auto", "tables", "kornia", "none"),
        group="augmentation",
    )
    imgaug: bool = option(True, "--no-imgaug is --augmentation none")
    raug: float = option(30.0, "in-plane rotation of a third of the samples, degrees", least=0.0, most=180.0)
    continuous_rotation: bool = option(False, "any angle up to --raug instead of only 0 and plus or minus --raug")
    roi_override: str = option(
        "original",
        "where crops come from: the stored box, or the landmarks with or without forehead",
        choices=("original", "extent_to_forehead", "landmarks"),
    )
    crop: str = option(
        "opnet",
        "opnet: around 1.1 boxes with shifts; tight: with small ones; mixed: 0.9 to 1.6 boxes; loose: as 6DRepNet trains",
        choices=("opnet", "tight", "mixed", "loose"),
    )
    extra: str = option(
        "",
        "further augmentations, joined by +: plugin_brightness, cutout, jpeg, motion_blur, rescale",
        metavar="NAME[+NAME...]",
    )

    # Network
    backbone: str = option("mobilenetv1", "a known backbone or timm:NAME", group="network", metavar="NAME")
    width: float = option(1.0, "factor of the backbone's channels", above=0.0, most=4.0)
    input_size: int = option(129, "edge of the crops, pixels", least=32, most=1024)
    rgb: bool = option(False, "colour input with ImageNet statistics instead of grey")
    blurpool: bool = option(False, "low-pass filter before each stride of the backbone")
    pretrained: str | None = option(
        None, "start from a checkpoint of this suite, or from timm's weights", metavar="FILE|timm"
    )
    enable_6drot: bool = option(False, "six numbers per rotation instead of a quaternion")
    pointhead: bool = option(True, "predict shape and 3-D landmarks by the face model")
    neck_dropout: float = option(0.0, "dropout between backbone and heads", least=0.0, most=0.95)
    ds_offsets: bool = option(False, "learn per data set how its head centre, size and zero pitch differ")

    # Losses
    with_nll_loss: bool = option(False, "predict uncertainty and train it by negative log likelihood", group="losses")
    rampup_nll_losses: bool = option(False, "raise the weight of these likelihoods from a tenth of the epochs on")
    rotation_loss: str = option(
        "auto",
        "auto: the usual one of the rotation's form",
        choices=("auto", "geodesic"),
    )
    teachers: str = option("", "ONNX models to learn from besides the labels, joined by +", metavar="FILE[+FILE...]")
    teacher_weight: float = option(0.5, "weight of the teachers' losses", least=0.0)

    # Optimisation
    epochs: int = option(1500, "how long to train", least=1, group="optimisation")
    batchsize: int = option(64, "samples per step, over all devices", least=2)
    lr: float = option(1e-3, "peak learning rate", above=0.0)
    scale_lr: bool = option(False, "multiply the learning rate by batchsize / 64")
    optimizer: str = option("adam", "optimiser", choices=("adam", "adamw"))
    weight_decay: float = option(0.01, "of adamw and of transformer layers", least=0.0)
    schedule: str = option(
        "steps",
        "steps: a tenth from half time on; cosine: falls to a hundredth",
        choices=("steps", "cosine", "constant"),
    )
    gradient_clip: float = option(1.0, "largest norm of the gradient; 0: no limit", least=0.0)
    with_swa: bool = option(False, "average the weights of the last third of the epochs")
    ema: float = option(
        0.0, "decay of a moving average of the weights, such as 0.999; 0: none", least=0.0, most=0.999999
    )
    freeze_batchnorm: bool = option(False, "keep batch-norm statistics and scales as they start")
    calibrate: bool = option(True, "scale the uncertainties by the validation errors at the end (with --with-nll-loss)")

    # Machine
    device: str = option("auto", "where to compute", choices=("auto", "cpu", "cuda", "mps"), group="machine")
    devices: int = option(1, "devices (on cpu: processes) per node", least=1)
    nodes: int = option(1, "machines", least=1)
    precision: str = option("32", "arithmetic: 32, or mixed with bf16 or fp16", choices=("32", "bf16", "fp16"))
    compile: bool = option(False, "compile the network (slow start, faster steps)")
    channels_last: bool = option(True, "memory format of pictures; a fifth faster on CPU")
    seed: int = option(0, "of every random number", least=0)

    # Output
    outdir: Path | None = option(
        None, "new folder of the run (default: runs/DATE-BACKBONE)", metavar="DIR", group="output"
    )
    best: str = option("loss", "what best.ckpt is best in on the validation samples", choices=("loss", "mae"))
    onnx: bool = option(True, "export each checkpoint at the end")
    save_plot: bool = option(True, "draw train.pdf")
    draw_every: int = option(10, "draw predictions on pictures every so many epochs; 0: never", least=0)
    tensorboard: bool = option(True, "write TensorBoard logs")

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            _check(item, getattr(self, item.name))
        if self.backbone not in BACKBONES and not self.backbone.startswith(FREE_BACKBONE):
            close = ", ".join(closest_first(self.backbone, list(BACKBONES)))
            raise ConfigError(f"backbone={self.backbone!r} is unknown; choose timm:NAME or one of: {close}.")
        for name in self.extras:
            if name not in EXTRA_NAMES:
                raise ConfigError(
                    f"extra {name!r} is unknown; choose among {', '.join(closest_first(name, EXTRA_NAMES))}."
                )
        if self.rampup_nll_losses and not self.with_nll_loss:
            raise ConfigError("rampup_nll_losses has nothing to raise; add --with-nll-loss.")
        if self.world_size > 1 and self.outdir is None:
            raise ConfigError(f"devices={self.devices}, nodes={self.nodes}: several processes need --outdir in common.")
        if self.batchsize % self.world_size:
            raise ConfigError(
                f"batchsize={self.batchsize} can't be split evenly over {self.world_size} processes; choose a multiple."
            )

    @property
    def intensity(self) -> str:
        """The intensity augmentation that `augmentation` and `imgaug` mean together."""
        return self.augmentation if self.imgaug else "none"

    @property
    def extras(self) -> tuple[str, ...]:
        """Names in `extra`."""
        return _names(self.extra)

    @property
    def teacher_files(self) -> tuple[Path, ...]:
        """Files in `teachers`."""
        return tuple(Path(name) for name in _names(self.teachers))

    @property
    def peak_lr(self) -> float:
        """The learning rate after scaling by the batch size."""
        return self.lr * (self.batchsize / REFERENCE_BATCH if self.scale_lr else 1.0)

    @property
    def world_size(self) -> int:
        """Processes that train together."""
        return self.devices * self.nodes


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split("+") if name.strip())


def _check(item: dataclasses.Field, value: Any) -> None:
    limits, name = item.metadata, item.name
    choices = limits.get("choices")
    if choices is not None and value not in choices:
        raise ConfigError(f"{name}={value!r}: choose one of {', '.join(closest_first(str(value), choices))}.")
    if value is None or not isinstance(value, (int, float)):
        return
    rules = {
        "above": lambda v, limit: v > limit,
        "least": lambda v, limit: v >= limit,
        "most": lambda v, limit: v <= limit,
    }
    words = {"above": "above", "least": "at least", "most": "at most"}
    for key, holds in rules.items():
        if key in limits and not holds(value, limits[key]):
            raise ConfigError(f"{name}={value}: expected a number {words[key]} {limits[key]}.")
