"""How long, how fast and by what the weights change."""

from dataclasses import dataclass
from typing import Any

import torch
from timm.models.vision_transformer import Block
from torch import nn

from trackertraincode.models.pose_network import PoseNetwork
from trackertraincode.options import check, option
from trackertraincode.training.schedule import PERIODS, SCHEDULES, rising

REFERENCE_BATCH = 64  # learning rates are for this many samples, which matters with `scale_lr`
AUTO_BATCH = 0  # a batch size that `batchsize` is to choose
UNCERTAINTY_LR, TRANSFORMER_LR = 0.1, 0.01  # factors of the learning rate (published recipe)
OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


@dataclass(frozen=True, kw_only=True)
class OptimisationOptions:
    """Raises ConfigError where a value can't be."""

    epochs: int = option(1500, "how long to train", least=1, short="-e")
    batchsize: int = option(
        64,
        "samples per step, over all devices; auto: on one CUDA device, the largest power of two that fits in its memory and "
        "is faster per sample than the one before, elsewhere 64",
        least=2, short="-b", metavar="N|auto", words={"auto": 0},
    )  # fmt: skip
    pretrained: str | None = option(
        None,
        "start from a checkpoint (ours, OpNet's), an exported .onnx, the model of this package, a .pth of RepVGG or "
        "EfficientNet-Lite, or timm's weights", metavar="FILE|default|timm|none",
    )  # fmt: skip
    lr: float = option(1e-3, "peak learning rate", above=0.0)
    scale_lr: bool = option(
        False, "multiply the learning rate by batchsize / 64; else it is --lr, whatever the batch size"
    )
    optimizer: str = option("adam", "optimiser", choices=tuple(OPTIMIZERS))
    weight_decay: float = option(0.01, "of adamw and of transformer layers", least=0.0)
    schedule: str = option(
        "steps", "steps: a tenth from half time on; cosine: falls to a hundredth", choices=tuple(SCHEDULES)
    )
    find_lr: bool = option(
        False,
        "raise the learning rate a hundredfold over the run instead; the curves show from where on it is too high",
    )
    gradient_clip: float = option(1.0, "largest norm of the gradient; 0: no limit", least=0.0)
    with_swa: bool = option(False, "average the weights of the last third of the run")
    ema: float = option(
        0.0, "decay of a moving average of the weights, such as 0.999; 0: none", least=0.0, most=0.999999
    )
    freeze_batchnorm: bool = option(False, "keep batch-norm statistics and scales as they start")
    calibrate: bool = option(True, "scale the uncertainties by the validation errors at the end (with --with-nll-loss)")

    def __post_init__(self) -> None:
        check(self)

    def lr_factor(self, period: int) -> float:
        """Learning rate / peak_lr in a period of the schedule."""
        return (rising if self.find_lr else SCHEDULES[self.schedule])(period, PERIODS)

    @property
    def peak_lr(self) -> float:
        """The learning rate after scaling by the batch size."""
        return self.lr * (self.batchsize / REFERENCE_BATCH if self.scale_lr else 1.0)


def make_optimizer(network: PoseNetwork, options: OptimisationOptions, *, fused: bool) -> torch.optim.Optimizer:
    """Of the parameters that aren't frozen; each group knows its `peak_lr`."""
    return OPTIMIZERS[options.optimizer](parameter_groups(network, options), fused=fused)


def parameter_groups(network: PoseNetwork, options: OptimisationOptions) -> list[dict[str, Any]]:
    """Learning rates: uncertainty × 0.1, transformer layers × 0.01 with weight decay, all others × 1."""
    uncertain = {id(p) for p in network.uncertainty_parameters()}
    transformer = {id(p) for m in network.modules() if isinstance(m, Block) for p in m.parameters()}
    chosen: dict[str, list[nn.Parameter]] = {"all": [], "uncertainty": [], "transformer": []}
    for parameter in (p for p in network.parameters() if p.requires_grad):
        kind = "transformer" if id(parameter) in transformer else "uncertainty" if id(parameter) in uncertain else "all"
        chosen[kind].append(parameter)
    decay = options.weight_decay if options.optimizer == "adamw" else 0.0
    rows = (
        ("all", 1.0, decay),
        ("uncertainty", UNCERTAINTY_LR, 0.0),
        ("transformer", TRANSFORMER_LR, options.weight_decay),
    )
    return [
        {"params": chosen[name], "lr": options.peak_lr * factor, "weight_decay": decay}
        for name, factor, decay in rows
        if chosen[name]
    ]
