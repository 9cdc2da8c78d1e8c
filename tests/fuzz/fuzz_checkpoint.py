"""Checkpoints: of wrong types, with mutated members, foreign ones, and damaged archives."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import main, mutated, mutated_member, nasty

from trackertraincode.evaluation.predictor import CheckpointPredictor
from trackertraincode.localizer.network import load_localizer
from trackertraincode.models.pose_network import NetworkConfig, PoseNetwork

NAME = "x.ckpt"
torch.manual_seed(0)
NETWORK = PoseNetwork(NetworkConfig(backbone="timm:lcnet_035", input_size=32, uncertainty=True))
GOOD: dict[str, Any] = {
    "format": 1, "kind": "pose", "config": NETWORK.config.to_dict(), "state": NETWORK.state_dict(),
    "about": {"recipe": {"epochs": 1}, "trained_on": ["a"], "regions": {"head": [1.0, 2.0, 3.0]}, "epoch": 3},
}  # fmt: skip
OPNET_STATE = {"boxnet.linear.weight": torch.zeros(4, 1024), "convnet.conv1.weight": torch.zeros(8, 1, 5, 5)}
OPNET: dict[str, Any] = {"state_dict": OPNET_STATE, "config": {}}


def saved(content: Any, *, old: bool = False) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=not old)
    return buffer.getvalue()


LARGE: dict[str, list[Any]] = {  # options of networks that are much larger than the file
    "backbone": ["timm:vit_giant_patch14_224", "timm:regnety_2560", "hybrid_vit", "efficientnet_b4", "repvgg_b1"],
    "width": [4.0], "input_size": [1024], "offsets_of": [["a"] * 2**17], "channels": [[2048] * 8, [10**6]],
    "depths": [[64] * 8, [10**9]],
}  # fmt: skip
SEEDS = [saved(GOOD), saved(GOOD, old=True), saved(OPNET)]


def make(rng: np.random.Generator) -> bytes:
    kind = rng.integers(5)
    if kind == 0:
        return mutated(SEEDS[rng.integers(len(SEEDS))], rng, SEEDS)
    if kind == 1:
        return mutated_member(
            SEEDS[rng.choice([0, 2])], rng, lambda name: rng.random() < 0.3 or name.endswith("data.pkl")
        )
    if rng.random() < 0.1:
        localizer = rng.random() < 0.3
        names = ("channels", "depths") if localizer else ("backbone", "width", "input_size", "offsets_of")
        config = {} if localizer else dict(GOOD["config"])
        config |= {name: LARGE[name][rng.integers(len(LARGE[name]))] for name in names if rng.random() < 0.5}
        return saved(GOOD | {"kind": "localizer" if localizer else "pose", "config": config})
    if kind == 2:
        content = {name: nasty(rng) if rng.random() < 0.3 else value for name, value in GOOD.items()}
    else:
        content = {name: dict(value) if isinstance(value, dict) else value for name, value in GOOD.items()}
        for _ in range(int(rng.integers(1, 4))):
            part = content[str(rng.choice(["config", "about", "state"]))]
            name = str(rng.choice(list(part)))
            part[name] = _other(part[name], rng)
    return saved(content, old=rng.random() < 0.2)


def _other(value: Any, rng: np.random.Generator) -> Any:
    if not isinstance(value, torch.Tensor) or rng.random() < 0.3:
        return nasty(rng)
    changes = (
        lambda t: t.double() * float("nan"), lambda t: t.to(torch.int8), lambda t: t.reshape(-1)[:0], lambda t: t[None],
        lambda t: t.to_sparse(), lambda t: torch.zeros(1).expand(2**40), lambda t: t.to(torch.complex64),
        lambda t: t.to("meta"), lambda t: t + float("inf"),
    )  # fmt: skip
    return changes[rng.integers(len(changes))](value)


def read(path: Path) -> None:
    torch.set_num_threads(1)
    if b"localizer" in path.read_bytes():
        load_localizer(path)
        return
    predictor = CheckpointPredictor(path)
    predictor.predict(torch.zeros(1, predictor.channels, predictor.input_size, predictor.input_size))


if __name__ == "__main__":
    main(__doc__, NAME, make, read)
