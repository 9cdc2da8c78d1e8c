"""Expressions that go together, as moods: a smile lifts the cheeks, surprise lifts brows and drops the jaw."""

import numpy as np

from trackertraincode.facemodel.embedded_modes import EXPRESSION_STD, EXPRESSIONS

# Mood -> how often, and the full strength of its expressions; each face has a random share of that.
MOODS: dict[str, tuple[float, dict[str, float]]] = {
    "calm": (0.29, {}),
    "smile": (0.2, {"smile": 0.8}),
    "laugh": (0.2, {"smile": 1.0, "upper_lip_up": 0.5, "open_jaw": 0.35, "brows_up": 0.2}),
    "talk": (0.13, {"open_jaw": 0.5, "pucker": 0.4, "brows_up": 0.3}),
    "surprise": (0.04, {"brows_up": 1.0, "open_jaw": 0.9}),
    "anger": (0.05, {"brows_together": 1.0, "corners_down": 0.5, "upper_lip_up": 0.3}),
    "sadness": (0.04, {"corners_down": 1.0, "brows_together": 0.3}),
    "kiss": (0.03, {"pucker": 1.0}),
    "blow": (0.02, {"cheeks_puffed": 1.0, "pucker": 0.5}),
}
WIDE = -0.3  # eyes are closed by less than nothing: wider open than those of the mean head
NOISE = 0.3  # of the spread of everyday faces, on top of the mood


def draw_expression(rng: np.random.Generator) -> np.ndarray:
    """(10,): a mood, more or less of it; one face in twelve has its eyes shut, one in thirty winks."""
    name = str(rng.choice(list(MOODS), p=[share for share, _ in MOODS.values()]))
    weights = rng.normal(0.0, NOISE, len(EXPRESSIONS)) * EXPRESSION_STD
    strength = rng.uniform(0.3, 1.0)
    for expression, full in MOODS[name][1].items():
        weights[EXPRESSIONS.index(expression)] += full * strength
    weights[2] = np.clip(weights[2], 0.0, 1.0)  # the jaw only opens
    smile, surprise = (max(float(weights[i]), 0.0) for i in (3, 5))
    weights[:2] = np.clip(rng.normal(-0.06, 0.12) + 0.12 * smile - 0.1 * surprise, WIDE, 0.5)
    choice = rng.random()
    if choice < 0.08:
        weights[:2] = rng.uniform(0.9, 1.0)
    elif choice < 0.11:
        weights[rng.integers(2)] = 1.0
    return np.clip(weights, -1.0, 1.0)
