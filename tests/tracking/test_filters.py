"""Filters of poses: laws that each keeps, and that each is calm at rest and follows what moves."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from trackertraincode.tracking.calm import CalmHeads, CalmPose
from trackertraincode.tracking.camera import PluginCamera
from trackertraincode.tracking.filters import (
    FILTERS,
    LEAST_STD,
    LONGEST_GAP,
    DeadZone,
    Kalman,
    OneEuro,
    Pose,
    Unfiltered,
)
from trackertraincode.tracking.pose import HeadPose

STEP = 1 / 30
UNIT = 70.0
STD = 0.02  # radians, and units
CALM = [name for name in FILTERS if name != "none"]


def rest(count: int, seed: int = 0) -> list[Pose]:
    """A head that rests, with noise."""
    rng = np.random.default_rng(seed)
    base = Rotation.from_rotvec([0.1, -0.4, 0.05])
    turns = Rotation.from_rotvec(rng.normal(0, STD, (count, 3))) * base
    places = np.array([300.0, 200.0, UNIT]) + rng.normal(0, STD * UNIT, (count, 3))
    return [Pose(turn.as_quat(), place) for turn, place in zip(turns, places)]


def turning(count: int, speed: float) -> list[Pose]:
    """A head that rests for 20 frames, then turns by `speed` radians per second, and moves by as many units."""
    away = np.maximum(np.arange(count) - 20, 0) * STEP * speed
    turns = Rotation.from_rotvec(away[:, None] * [0.0, 0.8, 0.6])
    return [Pose(turn.as_quat(), np.array([300.0 + UNIT * a, 200.0, UNIT])) for turn, a in zip(turns, away)]


def filtered(name: str, poses: list[Pose], unit: float = UNIT) -> list[Pose]:
    covariance = np.diag(np.repeat([STD, STD * unit], 3) ** 2)
    used = FILTERS[name]()
    return [used.update(pose, index * STEP, unit, covariance) for index, pose in enumerate(poses)]


def changes(poses: list[Pose]) -> tuple[float, float]:
    """Root mean squares of what changes from frame to frame, the first second left out: radians, units."""
    turns = Rotation.from_quat([p.rotation for p in poses[30:]])
    places = np.array([p.position for p in poses[30:]]) / UNIT
    by = (turns[1:] * turns[:-1].inv()).magnitude()
    return float(np.sqrt((by**2).mean())), float(np.sqrt((np.diff(places, axis=0) ** 2).sum(1).mean()))


def angle(one: Pose, other: Pose) -> float:
    return float((Rotation.from_quat(one.rotation) * Rotation.from_quat(other.rotation).inv()).magnitude())


@pytest.mark.parametrize("name", FILTERS)
def test_a_pose_that_does_not_change_stays(name: str) -> None:
    pose = rest(1)[0]
    for calm in filtered(name, [pose] * 10):
        assert angle(calm, pose) < 1e-7
        assert calm.position == pytest.approx(pose.position)


@pytest.mark.parametrize("name", CALM)
def test_a_head_at_rest_becomes_calmer_by_far(name: str) -> None:
    poses = rest(200)
    for before, after in zip(changes(poses), changes(filtered(name, poses))):
        assert after < 0.3 * before


@pytest.mark.parametrize(("name", "most"), [("none", 1e-9), ("one-euro", 0.15), ("kalman", 0.02)])
def test_a_steady_turn_is_followed(name: str, most: float) -> None:
    """The Kalman filter knows velocities, so that hardly any lag remains; a low pass keeps some."""
    poses = turning(80, speed=1.0)
    last = filtered(name, poses)[-1]
    assert angle(last, poses[-1]) < most
    assert np.abs(last.position - poses[-1].position).max() < most * UNIT


@pytest.mark.parametrize("name", CALM)
def test_the_frame_of_reference_does_not_matter(name: str) -> None:
    """Turning the world, and moving it, turns and moves what comes out; covariances here are the same in all directions."""
    world, shift = Rotation.from_rotvec([0.3, 0.2, -1.0]), np.array([5.0, -40.0, 0.0])
    poses = turning(40, speed=2.0)
    moved = [Pose((world * Rotation.from_quat(p.rotation)).as_quat(), p.position + shift) for p in poses]
    for one, other in zip(filtered(name, poses), filtered(name, moved)):
        turned = Pose((world * Rotation.from_quat(one.rotation)).as_quat(), one.position + shift)
        assert angle(turned, other) < 1e-6
        assert other.position == pytest.approx(turned.position)


@pytest.mark.parametrize("name", CALM)
def test_units_do_not_matter(name: str) -> None:
    poses = turning(40, speed=2.0)
    large = [Pose(p.rotation, p.position * 10) for p in poses]
    for one, other in zip(filtered(name, poses), filtered(name, large, unit=UNIT * 10)):
        assert angle(one, other) < 1e-6
        assert other.position == pytest.approx(one.position * 10)


@pytest.mark.parametrize("name", CALM)
def test_signs_of_quaternions_do_not_matter(name: str) -> None:
    poses = rest(20)
    flipped = [Pose(p.rotation * (-1) ** i, p.position) for i, p in enumerate(poses)]
    for one, other in zip(filtered(name, poses), filtered(name, flipped)):
        assert angle(one, other) < 1e-6


@pytest.mark.parametrize("name", CALM)
@pytest.mark.parametrize("later", [LONGEST_GAP + 0.1, 0.0, -1.0])
def test_after_a_gap_or_back_in_time_it_begins_anew(name: str, later: float) -> None:
    used = FILTERS[name]()
    poses = rest(10)
    for index, pose in enumerate(poses):
        used.update(pose, index * STEP, UNIT)
    far = Pose(Rotation.from_rotvec([1.0, 1.0, 0.0]).as_quat(), np.array([10.0, 20.0, UNIT]))
    calm = used.update(far, 9 * STEP + later, UNIT)
    assert angle(calm, far) < 1e-7
    assert calm.position == pytest.approx(far.position)


def test_what_the_model_is_unsure_of_is_believed_less() -> None:
    """The same jump with a small and with a large predicted covariance, in one direction only."""
    jump = Pose(Rotation.from_rotvec([0.1, 0.1, 0.0]).as_quat(), np.array([10.0, 10.0, UNIT]))
    start = Pose(np.array([0.0, 0.0, 0.0, 1.0]), np.array([0.0, 0.0, UNIT]))
    unsure = np.diag([0.01, 1.0, 0.01, UNIT * 0.01, UNIT * 1.0, UNIT * 0.01]) ** 2
    used = Kalman()
    for index in range(10):
        used.update(start, index * STEP, UNIT, np.eye(6) * 1e-4)
    calm = used.update(jump, 10 * STEP, UNIT, unsure)
    about_x, about_y, _ = Rotation.from_quat(calm.rotation).as_rotvec()
    assert about_x > 10 * about_y > 0
    assert calm.position[0] > 10 * calm.position[1] > 0


@pytest.mark.parametrize("name", CALM)
def test_any_covariance_and_any_jump_give_a_pose(name: str) -> None:
    rng = np.random.default_rng(4)
    used = FILTERS[name]()
    seconds = 0.0
    for turn in Rotation.random(300, rng=5):
        seconds += float(rng.choice([1e-4, STEP, 0.4]))
        root = np.tril(rng.normal(size=(6, 6))) * 10.0 ** rng.uniform(-9, 3)
        place = rng.uniform(-1e4, 1e4, 3)
        calm = used.update(Pose(turn.as_quat(), place), seconds, float(rng.uniform(1, 500)), root @ root.T)
        assert np.linalg.norm(calm.rotation) == pytest.approx(1.0)
        assert np.isfinite(calm.position).all()


def test_the_kalman_filter_is_the_linear_one_for_small_turns() -> None:
    """Against the textbook's, on each axis alone, with one acceleration for all times."""
    rng = np.random.default_rng(1)
    angles = rng.normal(0, 1e-4, 30)
    used = Kalman(agility=0.5, power=0.0)
    x, P = np.zeros(2), np.diag([1e-8 + LEAST_STD**2, 1.0])
    F, r = np.array([[1.0, STEP], [0.0, 1.0]]), 1e-8 + LEAST_STD**2
    Q = 0.25 * np.array([[STEP**3 / 3, STEP**2 / 2], [STEP**2 / 2, STEP]])
    for index, value in enumerate(angles):
        pose = Pose(Rotation.from_rotvec([value, 0.0, 0.0]).as_quat(), np.array([0.0, value, 1.0]))
        calm = used.update(pose, index * STEP, 1.0, np.eye(6) * 1e-8)
        if index == 0:
            x = np.array([value, 0.0])
        else:
            x, P = F @ x, F @ P @ F.T + Q
            gain = P[:, 0] / (P[0, 0] + r)
            x, P = x + gain * (value - x[0]), P - np.outer(gain, P[0])
        assert Rotation.from_quat(calm.rotation).as_rotvec()[0] == pytest.approx(x[0], rel=1e-6, abs=1e-12)
        assert calm.position[1] == pytest.approx(x[0], rel=1e-6, abs=1e-12)


def test_one_euro_is_the_published_formula_for_positions() -> None:
    rng = np.random.default_rng(2)
    values, used = rng.normal(0, 1.0, 20), OneEuro(min_cutoff=1.0, beta=0.5, speed_cutoff=2.0)

    def alpha(cutoff: float) -> float:
        return 1 / (1 + 1 / (2 * np.pi * cutoff * STEP))

    calm, speed = values[0], 0.0
    for index, value in enumerate(values):
        out = used.update(Pose(np.array([0.0, 0, 0, 1]), np.array([value, 0.0, 0.0])), index * STEP, 1.0)
        if index:
            speed += alpha(2.0) * ((value - values[index - 1]) / STEP - speed)
            calm += alpha(1.0 + 0.5 * abs(speed)) * (value - calm)
        assert out.position[0] == pytest.approx(calm)


def test_a_dead_zone_follows_nothing_within_and_at_its_distance_beyond() -> None:
    zone = DeadZone(Unfiltered(), 0.1)
    outputs = []
    for index in range(41):
        away = 0.02 * (index if index <= 20 else 40 - index)  # there and back
        pose = Pose(Rotation.from_rotvec([0, away, 0]).as_quat(), np.array([UNIT * away, 0, UNIT]))
        calm = zone.update(pose, index * STEP, UNIT)
        outputs.append((Rotation.from_quat(calm.rotation).as_rotvec()[1], calm.position[0] / UNIT))
    wanted = [max(0.0, 0.02 * i - 0.1) for i in range(21)] + [min(0.3, 0.02 * (40 - i) + 0.1) for i in range(21, 41)]
    assert [turn for turn, _ in outputs] == pytest.approx(wanted, abs=1e-7)
    assert [place for _, place in outputs] == pytest.approx(wanted, abs=1e-7)


@pytest.mark.parametrize("name", CALM)
def test_all_that_belongs_to_a_head_moves_with_it(name: str) -> None:
    """Landmarks and box of the calm pose lie to it as they lay to the measured one."""
    rng = np.random.default_rng(3)
    local = rng.normal(size=(68, 3))
    used = CalmPose(name)
    for index, pose in enumerate(rest(5)):
        x, y, radius = pose.position
        turned = Rotation.from_quat(pose.rotation).apply(local) * radius + [x, y, 0.0]
        box = np.array([x - radius, y - radius, x + radius, y + 2 * radius])
        head = HeadPose(pose.rotation, pose.position, box, PluginCamera(640, 480, 1.0), landmarks=turned)
        calm = used.update(head, index * STEP)
        x, y, radius = calm.head
        assert calm.landmarks == pytest.approx(Rotation.from_quat(calm.rotation).apply(local) * radius + [x, y, 0.0])
        assert calm.box == pytest.approx([x - radius, y - radius, x + radius, y + 2 * radius])


def test_without_a_filter_poses_are_as_they_were() -> None:
    pose = rest(1)[0]
    head = HeadPose(pose.rotation, pose.position, np.zeros(4), PluginCamera(640, 480, 1.0))
    assert CalmPose("none").update(head, 0.0) is head


def head_at(x: float) -> HeadPose:
    return HeadPose(np.array([0.0, 0, 0, 1]), np.array([x, 100.0, 50.0]), np.zeros(4), PluginCamera(640, 480, 1.0))


def test_each_of_several_heads_has_a_filter_of_its_own_while_it_is_seen() -> None:
    """And none of those who left is kept; whoever comes back after a while begins anew."""
    several, one, other = CalmHeads(), CalmPose(), CalmPose()
    for index in range(10):
        heads = {1: head_at(100 + index % 3), 2: head_at(400 - index % 2)}
        calm = several.update(heads, index * STEP, (480, 640))
        for number, single in ((1, one), (2, other)):
            assert np.array_equal(calm[number].head, single.update(heads[number], index * STEP).head)
    alone = several.update({1: head_at(120)}, 10 * STEP, (480, 640))
    assert alone[1].head[0] != 120
    for index in range(100):
        several.update({index + 3: head_at(100)}, 1.0 + index, (480, 640))
    assert len(several._known) == 1
    assert several.update({1: head_at(130)}, 101.0, (480, 640))[1].head[0] == 130


def test_filters_begin_anew_in_frames_of_another_size() -> None:
    """Where pixels are others; a phone that was turned isn't a head that jumped."""
    several = CalmHeads()
    for index in range(10):
        several.update({1: head_at(100 + index % 3)}, index * STEP, (480, 640))
    assert several.update({1: head_at(300)}, 10 * STEP, (640, 480))[1].head[0] == 300
