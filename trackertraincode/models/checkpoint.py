"""Checkpoints: weights and everything that must be known to use them, read without executing anything.

{"format": 1, "kind": "pose", "config": …, "state": …, "about": …}
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import nn

from trackertraincode import __version__
from trackertraincode.errors import ConfigError, ModelFileError
from trackertraincode.files import whole_file
from trackertraincode.models.pose_network import NetworkConfig, PoseNetwork

N = TypeVar("N", bound=nn.Module)

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class About:
    """Where weights come from; plain values only."""

    recipe: dict[str, Any] = field(default_factory=dict)  # the resolved training configuration
    trained_on: list[str] = field(default_factory=list)  # data set names
    selected_on: list[str] = field(default_factory=list)  # data sets whose errors chose this checkpoint
    training_files: list[str] = field(default_factory=list)  # names of the files with the rows that were trained on
    regions: dict[str, list[float]] = field(default_factory=dict)  # by field: radii that hold 50, 90, 95 % of errors
    epoch: int = 0
    library: str = __version__


class Saved(Protocol):
    """A network that checkpoints hold."""

    kind: str
    config: Any  # a dataclass with `to_dict`

    def state_dict(self) -> dict[str, Any]: ...


def save_network(path: Path, network: Saved, about: About) -> None:
    """Write a checkpoint; it has its name only when it is complete."""
    content = {
        "format": FORMAT,
        "kind": network.kind,
        "config": network.config.to_dict(),
        "state": {name: value.detach().cpu() for name, value in network.state_dict().items()},
        "about": dict(vars(about)),
    }
    with whole_file(path) as temporary:
        torch.save(content, temporary)


def load_network(path: Path) -> tuple[PoseNetwork, About]:
    """Read a pose network, in evaluation mode. Raises ModelFileError when the file is anything else."""
    return load_checkpoint(path, PoseNetwork.kind, lambda config: PoseNetwork(NetworkConfig.from_dict(config)))


def load_checkpoint(path: Path, kind: str, build: Callable[[dict[str, Any]], N]) -> tuple[N, About]:
    """Read a network of a kind, in evaluation mode. Raises ModelFileError when the file is anything else."""
    content = _read(path, kind)
    try:
        network = build(content["config"])
        network.load_state_dict(content["state"])
    except (ConfigError, RuntimeError, TypeError) as error:
        raise ModelFileError(
            f"{path}: the {kind} network can't be built again ({str(error).splitlines()[0]})."
        ) from error
    if not all(values.isfinite().all() for values in network.state_dict().values()):
        raise ModelFileError(f"{path}: has weights that are not finite; the training diverged, train anew.")
    return network.eval(), _about(content)


def _about(content: dict[str, Any]) -> About:
    known = set(About.__dataclass_fields__)
    return About(**{key: value for key, value in content.get("about", {}).items() if key in known})


def read_plain(path: Path) -> Any:
    """What torch saved, on the CPU; plain values and tensors alone. Raises ModelFileError when it is anything else."""
    if not path.is_file():
        raise ModelFileError(f"{path}: no such file; give a .ckpt of this library.")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's unpickler raises anything for bytes that are no pickle
        reason = (str(error).splitlines() or ["damaged"])[0]
        raise ModelFileError(
            f"{path}: not a readable checkpoint ({reason[:120]}); copy it again or train anew."
        ) from error


def _read(path: Path, kind: str) -> dict[str, Any]:
    content = read_plain(path)
    if not isinstance(content, dict) or "config" not in content or "state" not in content:
        hint = (
            " resume.ckpt is for --resume; best.ckpt, last.ckpt and swa.ckpt hold networks."
            if path.stem == "resume"
            else ""
        )
        raise ModelFileError(f"{path}: holds no network of this library.{hint}")
    if content.get("format") != FORMAT:
        raise ModelFileError(
            f"{path}: checkpoint format {content.get('format')}, expected {FORMAT}; update this library."
        )
    if content.get("kind") != kind:
        raise ModelFileError(f"{path}: holds a {content.get('kind')} network, expected a {kind} network.")
    return content
