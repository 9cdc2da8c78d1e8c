"""Recipes and catalogs in TOML: mutated texts, values of wrong types, deep nesting."""

from pathlib import Path

import numpy as np
from harness import main, mutated, nasty

from trackertraincode.datasets.catalog import load_catalog
from trackertraincode.training.config import TrainConfig
from trackertraincode.training.options import RECIPES, read_recipe

NAME = "x.toml"
CATALOG = b'[mine]\nfile = "mine.h5"\nweight = 3\nlabels = ["pose", "landmarks"]\nrows = [0, 100]\n'
CROP = b'[crop]\npreset = "tight"\nshift = 0.1\n'
SEEDS = [*(path.read_bytes() for path in sorted(RECIPES.glob("*.toml"))), CATALOG, CROP]
KEYS = [line.partition(b"=")[0].strip() for seed in SEEDS for line in seed.splitlines() if b"=" in line]


def toml(value: object) -> bytes:
    text = "''" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    return text.replace("b'", "'").encode()


def make(rng: np.random.Generator) -> bytes:
    kind = rng.integers(4)
    seed = SEEDS[rng.integers(len(SEEDS))]
    if kind == 0:
        return mutated(seed, rng, SEEDS)
    if kind == 1:
        depth = int(10 ** rng.integers(1, 6))
        return b"a = " + (b"[" * depth if rng.random() < 0.5 else b"{a=" * depth)
    lines = seed.splitlines()
    for _ in range(int(rng.integers(1, 4))):
        key = KEYS[rng.integers(len(KEYS))]
        lines.insert(int(rng.integers(len(lines) + 1)), key + b" = " + toml(nasty(rng)))
    return b"\n".join(dict.fromkeys(lines)) if kind == 2 else mutated(b"\n".join(lines), rng)


def read(path: Path) -> None:
    if path.stat().st_size % 2:
        load_catalog(path)
    else:
        TrainConfig.of(**read_recipe(str(path)))


if __name__ == "__main__":
    main(__doc__, NAME, make, read)
