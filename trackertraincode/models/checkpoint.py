"""Checkpoints: weights and everything that must be known to use them, read without executing anything.

{"format": 1, "kind": "pose", "config": …, "state": …, "about": …}
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from torch import nn

from trackertraincode.errors import ModelFileError
from trackertraincode.models.about import About, check_about
from trackertraincode.models.opnet import build_opnet, is_opnet
from trackertraincode.models.pose_network import NetworkConfig, PoseNetwork
from trackertraincode.models.weights import bytes_of, no_larger_than, read_plain, save_plain, tensors_of

N = TypeVar("N", bound=nn.Module)

FORMAT = 1


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
    save_plain(path, content)


def load_network(path: Path) -> tuple[PoseNetwork, About]:
    """Read a pose network, ours or OpNet's, in evaluation mode. Raises ModelFileError when the file is anything else."""
    content = read_plain(path)
    if is_opnet(content):
        given, config = tensors_of(path, content), content.get("config")
        return _built(path, PoseNetwork.kind, given, lambda: build_opnet(given, config)), About(library="OpNet")
    return load_checkpoint(path, PoseNetwork.kind, lambda config: PoseNetwork(NetworkConfig.from_dict(config)))


def average(shares: dict[Path, float]) -> tuple[PoseNetwork, About]:
    """The network whose weights are the weighted mean of those of networks that began alike, and what the first says of
    itself but for the size of its errors, which was measured on that one alone.

    shares: checkpoint -> its share; they add up to 1. Such means can be as calm as one and as exact as the other
    (Wortsman et al., "Model soups", arXiv 2203.05482). Raises ModelFileError, also when the networks differ.
    """
    loaded = {path: load_network(path) for path in shares}
    mean, about = loaded[next(iter(shares))]
    for path, (network, _) in loaded.items():
        if network.config != mean.config:
            raise ModelFileError(f"{path}: a network of other options than {next(iter(shares))}; name two of one kind.")
    states = [(share, loaded[path][0].state_dict()) for path, share in shares.items()]
    mean.load_state_dict({
        name: sum(share * state[name] for share, state in states) if values.is_floating_point() else values
        for name, values in mean.state_dict().items()
    })  # fmt: skip
    return mean, replace(about, regions={})


def load_checkpoint(path: Path, kind: str, build: Callable[[dict[str, Any]], N]) -> tuple[N, About]:
    """Read a network of a kind, in evaluation mode. Raises ModelFileError when the file is anything else."""
    content = read_plain(path)
    if not is_own(content):
        hint = " resume.ckpt is for --resume; best.ckpt, last.ckpt and swa.ckpt hold networks."
        raise ModelFileError(f"{path}: holds no network of this library.{hint if path.stem == 'resume' else ''}")
    found, what = (str(content.get(name))[:40] for name in ("format", "kind"))  # of any type
    if found != str(FORMAT):
        raise ModelFileError(f"{path}: checkpoint format {found}, expected {FORMAT}; update this library.")
    if what != kind:
        raise ModelFileError(f"{path}: holds a {what} network, expected a {kind} network.")
    about = check_about(path, content.get("about", {}))
    known = {key: value for key, value in about.items() if key in About.__dataclass_fields__}

    def rebuild() -> N:
        network = build(content["config"])
        network.load_state_dict(content["state"])
        return network

    return _built(path, kind, content["state"], rebuild), About(**known)


def is_own(content: Any) -> bool:
    """Whether a file's content is a checkpoint of this library."""
    return isinstance(content, dict) and "config" in content and "state" in content


def _built(path: Path, kind: str, state: Any, build: Callable[[], N]) -> N:
    """state: weights as they stand in the file."""
    try:
        with no_larger_than(bytes_of(state)):
            network = build()
    except Exception as error:  # options and tensors of any type can stand in a file
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ModelFileError(f"{path}: the {kind} network can't be built again ({reason[:200]}).") from error
    if not all(values.isfinite().all() for values in network.state_dict().values()):
        raise ModelFileError(f"{path}: has weights that are not finite; the training diverged, train anew.")
    return network.eval()
