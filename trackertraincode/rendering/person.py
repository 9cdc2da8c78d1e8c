"""Somebody: shape, looks, hair and what they wear."""

from dataclasses import dataclass, replace

import numpy as np

from trackertraincode.facemodel.embedded import NAME as EMBEDDED
from trackertraincode.facemodel.head_model import SHAPE_COUNT, HeadModel
from trackertraincode.facemodel.load import OWN_MODELS
from trackertraincode.rendering.assets import HEADWEAR
from trackertraincode.rendering.clothes import NECKLINES, PATTERNS
from trackertraincode.rendering.hair import STYLES, Hair
from trackertraincode.rendering.materials import Looks

HEADWEAR_SHARES = {"": 0.88, "cap": 0.04, "beanie": 0.03, "hat": 0.025, "headscarf": 0.025}


@dataclass(frozen=True, kw_only=True)
class Person:
    """What stays the same in all images of somebody."""

    head: str  # name of the head model: a key of OWN_MODELS
    shape: np.ndarray  # (40,)
    looks: Looks
    hair: Hair
    headwear: str  # "" or a key of HEADWEAR
    glasses: str  # "", "clear" or "dark"
    round_lenses: bool
    glasses_color: tuple[float, float, float]
    reflection: float  # brightness of what glasses mirror
    clothes: tuple[float, float, float]
    second_clothes: tuple[float, float, float]  # of collar and headwear
    neckline: str  # key of NECKLINES
    pattern: str  # key of PATTERNS
    cloth_seed: int  # of folds and of the body's shape

    @staticmethod
    def draw(rng: np.random.Generator, head: str = EMBEDDED) -> "Person":
        model = OWN_MODELS[head]()
        looks, hair = Looks.draw(rng), Hair.draw(rng)
        if STYLES[hair.style].shell and rng.random() < 0.8:
            looks = replace(looks, beard=0.0, moustache=0.0)
        frame, clothes, second = (_color(rng, 0.0, high) for high in (0.35, 0.9, 1.0))
        return Person(
            head=head,
            shape=rng.normal(0.0, 1.0, SHAPE_COUNT) * model.coefficient_std[:SHAPE_COUNT],
            looks=looks,
            hair=hair,
            headwear=_choose(rng, HEADWEAR_SHARES),
            glasses=_choose(rng, {"": 0.82, "clear": 0.13, "dark": 0.05}),
            round_lenses=bool(rng.random() < 0.5),
            glasses_color=frame,
            reflection=float(rng.uniform(0.2, 1.0)) if rng.random() < 0.5 else 0.0,
            clothes=clothes,
            second_clothes=second,
            neckline=_choose(rng, {name: neckline.share for name, neckline in NECKLINES.items()}),
            pattern=_choose(rng, {name: share for name, (share, _) in PATTERNS.items()}),
            cloth_seed=int(rng.integers(2**31)),
        )

    @property
    def model(self) -> HeadModel:
        """The head that this person has."""
        return OWN_MODELS[self.head]()

    @property
    def bald(self) -> bool:
        return self.hair.style == "bald"


def _choose(rng: np.random.Generator, shares: dict[str, float]) -> str:
    return str(rng.choice(list(shares), p=list(shares.values())))


def _color(rng: np.random.Generator, low: float, high: float) -> tuple[float, float, float]:
    """Clothes are rarely colourful: a brightness, and a little of a hue."""
    r, g, b = np.clip(rng.uniform(low, high) * (1.0 + rng.normal(0, 0.25, 3)), 0.0, 1.0)
    return float(r), float(g), float(b)


assert set(HEADWEAR_SHARES) == {"", *HEADWEAR}
