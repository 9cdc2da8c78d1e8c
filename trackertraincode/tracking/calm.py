"""Calm head poses: a filter of `filters` on the poses of one head.

HeadPose, seconds --rotation, head and their covariance--> Filter --> HeadPose with these, and all that follows
"""

import math

import numpy as np

from trackertraincode.tracking.filters import DEFAULT, FILTERS, DeadZone, Filter, Pose
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
