"""Somebody: shape, looks and what they wear."""

from dataclasses import dataclass

import numpy as np

from trackertraincode.facemodel.embedded import embedded_head
from trackertraincode.facemodel.embedded_modes import SHAPE_MODES
from trackertraincode.rendering.materials import Looks


@dataclass(frozen=True, kw_only=True)
class Person:
    """What stays the same in all images of somebody."""

    shape: np.ndarray  # (40,)
    looks: Looks
    glasses: str  # "", "clear" or "dark"
    round_lenses: bool
    glasses_color: tuple[float, float, float]
    long_hair: float  # y where it ends; 0: short
    clothes: tuple[float, float, float]

    @staticmethod
    def draw(rng: np.random.Generator) -> "Person":
        looks = Looks.draw(rng)
        long_hair = looks.hair_top > -1.5 and rng.random() < 0.35
        color = [float(v) for v in rng.uniform(0.0, 0.35, 3)]
        clothes = [float(v) for v in rng.uniform(0.05, 0.9, 3)]
        return Person(
            shape=rng.normal(0.0, 1.0, len(SHAPE_MODES)) * embedded_head().coefficient_std[: len(SHAPE_MODES)],
            looks=looks,
            glasses=str(rng.choice(["", "clear", "dark"], p=[0.75, 0.2, 0.05])),
            round_lenses=bool(rng.random() < 0.5),
            glasses_color=(color[0], color[1], color[2]),
            long_hair=float(rng.choice([0.7, 1.0, 1.4])) if long_hair else 0.0,
            clothes=(clothes[0], clothes[1], clothes[2]),
        )
