"""Who is who: people that were seen, and heads that are seen now.

people, heads --costs by place and size--> the pairs that fit best
"""

import math
from dataclasses import dataclass, replace

import numpy as np

MOST_SIZE_RATIO = 1.8  # of one person's head between two times
REACH = 2.5  # radii within which a person is looked for who was seen in the frame before…
REACH_PER_FRAME = 0.15  # … and that many more for each frame since
COASTING = 20  # frames for which somebody who isn't seen is thought to move on
BLEND = 0.4  # weight of the newest velocity


@dataclass(frozen=True)
class Motion:
    """Where a head is and how it moves, per frame; pixels."""

    place: np.ndarray  # (2,) x, y
    radius: float
    velocity: np.ndarray  # (2,)
    hidden: int = 0  # frames since it was seen

    @staticmethod
    def at(place: np.ndarray, radius: float) -> "Motion":
        """A head at a place (2,) that nobody has seen before."""
        return Motion(place, radius, np.zeros(2))

    def next(self) -> "Motion":
        """In the next frame, as long as it isn't seen there."""
        step = self.velocity if self.hidden < COASTING else np.zeros(2)
        return replace(self, place=self.place + step, hidden=self.hidden + 1)

    def seen(self, place: np.ndarray, radius: float, before: "Motion") -> "Motion":
        """At a place (2,) in the frame that `next` led to. before: when it was seen last."""
        step = (place - before.place) / max(1, self.hidden)
        weight = BLEND if self.hidden <= 1 else 1.0
        return Motion(place, radius, self.velocity + weight * (step - self.velocity))

    def cost(self, place: np.ndarray, radius: float) -> float:
        """How unlikely it is that this is the head seen at a place (2,); infinite where it can't be."""
        distance = float(np.linalg.norm(place - self.place)) / max(self.radius, 1e-6)
        ratio = abs(math.log(max(radius, 1e-6) / max(self.radius, 1e-6)))
        reach = REACH + REACH_PER_FRAME * max(0, self.hidden - 1)
        return distance / reach + ratio if distance <= reach and ratio <= math.log(MOST_SIZE_RATIO) else math.inf


def assign(costs: np.ndarray) -> list[tuple[int, int]]:
    """(N, M) costs -> the pairs of row and column that are possible at the least total cost, as many as can be."""
    from scipy.optimize import linear_sum_assignment

    if not costs.size:
        return []
    possible = np.isfinite(costs)
    worst = 1.0 + (costs[possible].sum() if possible.any() else 0.0)  # more than any choice of possible ones
    rows, columns = linear_sum_assignment(np.where(possible, costs, worst))
    return [(int(r), int(c)) for r, c in zip(rows, columns) if possible[r, c]]
