"""The face localizer: is there a face in this 4:3 image, and where.

    (B, 1, 224, 288) in [-0.5, 0.5] --backbone--> (B, C, 7, 9) --every cell votes--> (B, 5) face logit, x0, y0, x1, y1

Each cell gives a face logit, a box relative to its own place, and how much it should be heard; the softmax of the last
averages the votes. Boxes are in [-1, 1] of the image.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from trackertraincode.models.backbones import with_safe_strides
from trackertraincode.models.checkpoint import load_checkpoint


@dataclass(frozen=True, kw_only=True)
class LocalizerConfig:
    """What it takes to build a localizer again."""

    backbone: str = "lcnet_050"  # a timm name; small, since it runs on whole images

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for checkpoints."""
        return dataclasses.asdict(self)


class Localizer(nn.Module):
    """Votes of a small convolutional network's cells; see the top of this module."""

    kind = "localizer"  # in checkpoints

    def __init__(self, config: LocalizerConfig, *, pretrained: bool = False) -> None:
        """pretrained: start from timm's ImageNet weights (downloads them)."""
        super().__init__()
        self.config = config
        self.backbone = with_safe_strides(
            timm.create_model(config.backbone, in_chans=1, features_only=True, out_indices=(-1,), pretrained=pretrained)
        )
        features: Any = self.backbone.feature_info
        self.votes = nn.Conv2d(features.channels()[-1], 6, kernel_size=1)
        nn.init.normal_(self.votes.weight, std=0.01)
        # Start from a box of half the image's size, the middle of the published training faces' range.
        self.votes.bias = nn.Parameter(torch.tensor([0.0, 0.0, 0.0, 0.0, -1.0, -1.0]))

    def forward(self, image: Tensor) -> Tensor:
        """(B, 1, H, W) -> (B, 5): face logit and box in [-1, 1]."""
        votes = self.votes(self.backbone(image)[-1])
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
