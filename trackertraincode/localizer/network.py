"""The face localizer: is there a face in this 4:3 image, and where.

    (B, 1, 224, 288) in [-0.5, 0.5] --halved, backbone--> (B, C, 7, 9) --every cell votes--> (B, 5) face logit, x0, y0, x1, y1

Each cell gives a face logit, a box relative to its own place, and how much it should be heard; the softmax of the last
averages the votes. Boxes are in [-1, 1] of the image.
"""

import copy
import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from timm.models import byobnet
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from trackertraincode.errors import ConfigError
from trackertraincode.models.backbones import reparameterize
from trackertraincode.models.checkpoint import load_checkpoint

MOST = {"channels": 2048, "depths": 64}  # of a stage
MOST_STAGES = 8


@dataclass(frozen=True, kw_only=True)
class LocalizerConfig:
    """What it takes to build a localizer again: RepVGG's blocks, since dense convolutions train and run fast on CPUs."""

    channels: tuple[int, ...] = (16, 32, 80)  # of the stages, each of half the resolution of the one before
    depths: tuple[int, ...] = (1, 2, 4)  # blocks of the stages

    def __post_init__(self) -> None:
        """Raises ConfigError where a value can't be, as in a damaged file."""
        for name, most in MOST.items():
            values = getattr(self, name)
            if not isinstance(values, (tuple, list)) or not all(type(n) is int and 0 < n <= most for n in values):
                raise ConfigError(f"{name}={str(values)[:40]}: expected whole numbers from 1 to {most}")
        if not 0 < len(self.channels) == len(self.depths) <= MOST_STAGES:
            raise ConfigError(
                f"{len(self.channels)} channels and {len(self.depths)} depths: expected 1 to {MOST_STAGES}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for checkpoints."""
        return {name: list(value) for name, value in dataclasses.asdict(self).items()}


class Localizer(nn.Module):
    """Votes of a small convolutional network's cells; see the top of this module."""

    kind = "localizer"  # in checkpoints

    def __init__(self, config: LocalizerConfig) -> None:
        super().__init__()
        self.config = config
        blocks = [byobnet.ByoBlockCfg(type="rep", d=d, c=c, s=2) for d, c in zip(config.depths, config.channels)]
        shape = byobnet.ByoModelCfg(blocks=tuple(blocks), stem_type="rep", stem_chs=config.channels[0])
        self.backbone: Any = byobnet.ByobNet(shape, in_chans=1, num_classes=0)
        self.votes = nn.Conv2d(config.channels[-1], 6, kernel_size=1)
        nn.init.normal_(self.votes.weight, std=0.01)
        # Start from a box of half the image's size, the middle of the published training faces' range.
        self.votes.bias = nn.Parameter(torch.tensor([0.0, 0.0, 0.0, 0.0, -1.0, -1.0]))

    def deployed(self) -> "Localizer":
        """A copy in evaluation mode whose parallel branches are fused into single convolutions."""
        result = copy.deepcopy(self).eval()
        result.backbone = reparameterize(result.backbone)
        return result

    def forward(self, image: Tensor) -> Tensor:
        """(B, 1, H, W) -> (B, 5): face logit and box in [-1, 1]."""
        votes = self.votes(self.backbone.forward_features(avg_pool2d(image, 2))).float()
        rows, columns = votes.shape[-2:]
        hear = votes[:, 0].flatten(1).softmax(-1)[:, None, :]
        y = _cell_centers(rows, votes)[:, None].expand(rows, columns)
        x = _cell_centers(columns, votes)[None, :].expand(rows, columns)
        place = torch.stack([x, y]).flatten(1)
        centers = place + votes[:, 2:4].flatten(2)
        half_sizes = votes[:, 4:6].flatten(2).exp()
        logit = (hear * votes[:, 1:2].flatten(2)).sum(-1)
        center, half_size = (hear * centers).sum(-1), (hear * half_sizes).sum(-1)
        return torch.cat([logit, center - half_size, center + half_size], dim=-1)


def _cell_centers(count: int, like: Tensor) -> Tensor:
    """(count,) places of cells in [-1, 1]."""
    return (torch.arange(count, device=like.device, dtype=like.dtype) + 0.5) * (2.0 / count) - 1.0


def load_localizer(path: Path) -> Localizer:
    """Read a localizer's checkpoint, in evaluation mode. Raises ModelFileError when the file is anything else."""
    return load_checkpoint(path, Localizer.kind, lambda config: Localizer(LocalizerConfig(**config)))[0]
