"""Several heads in one image, each with a number that it keeps.

heads = SeveralHeads(faces=3)
for frame in frames:
    for number, pose in heads.update(frame).items(): ...
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from trackertraincode.errors import ConfigError
from trackertraincode.pretrained import DEFAULT, pose_network
from trackertraincode.tracking import opentrack_client as client
from trackertraincode.tracking.assignment import Motion, assign
from trackertraincode.tracking.finding import find_faces, is_sure, looks_like_face
from trackertraincode.tracking.lens import optics_of
from trackertraincode.tracking.networks import PoseModel, make_localizer
from trackertraincode.tracking.pose import HeadPose
from trackertraincode.tracking.tracker import LOOK_EVERY
from trackertraincode.tracking.view import View, look_at, pose_in

SAME_HEAD = 0.4  # intersection over union of two boxes that hold the same head
JUMP = 0.6  # radii between where a head is expected and where it is seen, beyond which it is someone else's
REMEMBERED = 1800  # frames for which somebody who left is known
MOST_PEOPLE = 50  # of whom something is remembered


@dataclass(frozen=True)
class KnownPerson:
    """Somebody who is in the view, or was."""

    motion: Motion
    last: Motion  # when seen
    box: client.PixelBox  # where to look


@dataclass(frozen=True)
class _Sight:
    """A head as the pose network sees it in a box."""

    pose: HeadPose
    box: client.PixelBox

    def place_in(self, view: View) -> np.ndarray:
        return self.pose.head[:2] - np.array(view.corner, np.float32)

    @property
    def radius(self) -> float:
        return float(self.pose.head[2])


class SeveralHeads:
    """Follows some heads at a time; who is hidden by somebody else, or left, has their number again when they come back.

    Numbers count from 1. Who is who is decided by place, velocity and size alone.
    """

    def __init__(
        self,
        model: str | Path = DEFAULT,
        localizer: str | Path = DEFAULT,
        *,
        faces: int,
        diagonal_fov_deg: float = client.DIAGONAL_FOV_DEG,
        lens: str | Path | None = None,
        localize_every: int = LOOK_EVERY,
        whole_frames: bool = False,
        threads: int = 1,
    ) -> None:
        """faces: at most. localize_every: frames between looks for more of them. All else: see `HeadPoseTracker`."""
        for name, value in (("faces", faces), ("localize_every", localize_every)):
            if value < 1:
                raise ConfigError(f"{name}={value}: expected at least 1.")
        self._optics = optics_of(diagonal_fov_deg, lens)
        self._model = PoseModel(pose_network(model), threads)
        self._localizer = make_localizer(localizer, threads)
        self._faces, self._localize_every, self._whole_frames = faces, localize_every, whole_frames
        self.reset()

    def reset(self) -> None:
        """Forget everybody."""
        self._people: dict[int, KnownPerson] = {}
        self._shape: tuple[int, ...] | None = None  # of the part that is seen; places are in it
        self._frames = self._numbers = 0

    def update(self, frame: np.ndarray) -> dict[int, HeadPose]:
        """Number -> pose of each head in this frame, (H, W[, 3]); see `HeadPoseTracker.update`."""
        return self.follow(self.prepare(frame))

    def prepare(self, frame: np.ndarray) -> View:
        """What `follow` needs of a frame, (H, W[, 3]); another thread may make it."""
        return look_at(frame, self._optics, whole=self._whole_frames)

    def follow(self, view: View) -> dict[int, HeadPose]:
        """Number -> pose of each head in the next frame; in one of another size, as of another source, all are new."""
        if self._shape not in (None, view.shape):
            self._people = {}
        self._shape = view.shape
        self._people = {n: replace(p, motion=p.motion.next()) for n, p in self._people.items()}
        seen = self._followed(view)
        if (self._frames % self._localize_every == 0 or not seen) and len(seen) < self._faces:
            self._look_for_more(view, seen)
        self._frames += 1
        for number, sight in seen.items():
            place, person = sight.place_in(view), self._people[number]
            motion = person.motion.seen(place, sight.radius, person.last)
            self._people[number] = KnownPerson(motion, motion, sight.box)
        self._forget()
        return {number: seen[number].pose for number in sorted(seen)}

    def _followed(self, view: View) -> dict[int, _Sight]:
        """Heads that were in the frame before, and those that were hidden and show again where they are expected.

        Where these are too many, those stay who were seen first, ever.
        """
        sights: dict[int, _Sight] = {}
        for number, person in self._people.items():
            hidden = person.motion.hidden - 1
            if hidden > self._localize_every:
                continue
            box = _moved_to(person.box, person.last.place, person.motion.place) if hidden else person.box
            if view.touches(box):
                pose, box = pose_in(self._model, view, box)
                if view.touches(box):
                    sights[number] = _Sight(pose, box)
        kept: dict[int, _Sight] = {}
        for number, sight in sorted(_without_doubles(sights, self._people, view).items()):
            if len(kept) < self._faces and self._is_head(view, number, sight):
                kept[number] = sight
        return kept

    def _is_head(self, view: View, number: int, sight: _Sight) -> bool:
        """Whether this is still the person's head.

        The localizer is asked at times, of those who show again, and where the pose network is unsure, as it is while
        somebody else hides a head. Who shows again is seen surely.
        """
        person, sure = self._people[number], is_sure(self._model, sight.pose)
        hidden = person.motion.hidden - 1
        far = np.linalg.norm(sight.place_in(view) - person.motion.place) > JUMP * person.motion.radius
        if hidden and (far or not sure):
            return False
        if hidden or not sure or (self._frames + number) % self._localize_every == 0:
            return looks_like_face(self._localizer, view, sight.box)
        return True

    def _look_for_more(self, view: View, seen: dict[int, _Sight]) -> None:
        """Add heads that nobody follows: of people who were seen before, else of new ones."""
        boxes = find_faces(self._localizer, self._model, view, [sight.box for sight in seen.values()])
        sights = [_Sight(*pose_in(self._model, view, box)) for box in boxes]
        away = [number for number in self._people if number not in seen]
        costs = np.array([[self._people[n].motion.cost(s.place_in(view), s.radius) for s in sights] for n in away])
        known = {index: away[row] for row, index in assign(costs.reshape(len(away), len(sights)))}
        for index, sight in enumerate(sights):
            if len(seen) >= self._faces:
                break
            if index not in known:
                self._numbers += 1
                motion = Motion.at(sight.place_in(view), sight.radius)
                self._people[self._numbers] = KnownPerson(motion, motion, sight.box)
            seen[known.get(index, self._numbers)] = sight

    def _forget(self) -> None:
        """Those who left long ago."""
        known = [n for n, p in self._people.items() if p.motion.hidden <= REMEMBERED]
        latest = sorted(known, key=lambda n: self._people[n].motion.hidden)[:MOST_PEOPLE]
        self._people = {n: self._people[n] for n in sorted(latest)}


def _moved_to(box: client.PixelBox, old: np.ndarray, new: np.ndarray) -> client.PixelBox:
    x, y = (float(v) for v in new - old)
    return box._replace(x=box.x + x, y=box.y + y)


def _without_doubles(sights: dict[int, _Sight], people: dict[int, KnownPerson], view: View) -> dict[int, _Sight]:
    """Where two people's boxes hold one head, only the one from whose place it is not as far."""
    kept: dict[int, _Sight] = {}

    def surprise(number: int) -> float:
        motion, sight = people[number].motion, sights[number]
        return float(np.linalg.norm(sight.place_in(view) - motion.place)) / motion.radius + 0.1 * (motion.hidden > 1)

    for number in sorted(sights, key=surprise):
        if all(client.overlap(sights[number].box, other.box) < SAME_HEAD for other in kept.values()):
            kept[number] = sights[number]
    return kept
