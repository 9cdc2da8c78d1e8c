"""Calm head poses: a filter of `filters` on the poses of each head.

HeadPose, seconds --rotation, head and their covariance--> Filter --> HeadPose with these, and all that follows
"""

import math
from functools import partial

import numpy as np

from trackertraincode.tracking.filters import DEFAULT, FILTERS, LONGEST_GAP, DeadZone, Filter, Pose
from trackertraincode.tracking.pose import HeadPose


class CalmPose:
    """Makes the poses of one head calm, in the image, so that all that is derived from them is."""

    def __init__(self, name: str = DEFAULT, dead_zone_deg: float = 0.0) -> None:
        """name: of FILTERS. dead_zone_deg: turns that aren't followed, and moves of as much of the head's radius."""
        inner: Filter = FILTERS[name]()
        self._filter = DeadZone(inner, math.radians(dead_zone_deg)) if dead_zone_deg else inner

    def update(self, pose: HeadPose, seconds: float) -> HeadPose:
        """The calm pose at this time, which is later than that of the last one."""
        unit = max(float(pose.head[2]), 1.0)
        measured = Pose(pose.rotation.astype(np.float64) / np.linalg.norm(pose.rotation), pose.head.astype(np.float64))
        calm = self._filter.update(measured, seconds, unit, pose.covariance)
        return pose if calm is measured else pose.moved_to(calm.rotation, calm.position)


class CalmHeads:
    """Makes the poses of several heads calm, each by its own filter, which is kept as long as it remembers anything."""

    def __init__(self, name: str = DEFAULT, dead_zone_deg: float = 0.0) -> None:
        """See `CalmPose`."""
        self._new = partial(CalmPose, name, dead_zone_deg)
        self._known: dict[int, tuple[CalmPose, float]] = {}  # by number of a head; and when it was seen
        self._size: tuple[int, int] | None = None

    def update(self, heads: dict[int, HeadPose], seconds: float, size: tuple[int, int]) -> dict[int, HeadPose]:
        """Number -> calm pose at this time, which is later than the last one. size: height and width of the frame,
        pixels; in one of another size, as of another source, all filters begin anew."""
        before = self._known if size == self._size else {}
        known = {n: (calm, seen) for n, (calm, seen) in before.items() if seconds - seen < LONGEST_GAP}
        used = {n: known[n][0] if n in known else self._new() for n in heads}
        self._known, self._size = known | {n: (calm, seconds) for n, calm in used.items()}, size
        return {n: calm.update(heads[n], seconds) for n, calm in used.items()}
