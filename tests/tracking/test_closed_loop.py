"""HeadPoseTracker follows heads as OpenTrack's plugin does, frame by frame."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar
from zipfile import ZipFile

import cv2
import numpy as np
import pytest
from plugin_loop import plugin_loop

from trackertraincode.sample.images import decode
from trackertraincode.tracking import networks
from trackertraincode.tracking import tracker as module
from trackertraincode.tracking.networks import FoundFace, LocalizerModel, PoseModel
from trackertraincode.tracking.tracker import HeadPoseTracker

SIZE = 33  # input of the stand-in network


class SeesBright(PoseModel):
    """A network that takes what is bright for a face."""

    input_size = SIZE

    def __init__(self, *_: object) -> None:
        pass

    def __call__(self, image: np.ndarray) -> dict[str, np.ndarray]:
        weight = np.clip(image[0, 0] + 0.2, 0, None) + 1e-3
        axis = np.linspace(-1, 1, SIZE, dtype=np.float32)
        x, y = (float((weight.sum(i) * axis).sum() / weight.sum()) for i in (0, 1))
        spread = float(np.sqrt((weight.sum(0) * (axis - x) ** 2).sum() / weight.sum()))
        rotation = np.array([x, y, spread, 1.0]) / np.linalg.norm([x, y, spread, 1.0])
        box = np.array([x - 2 * spread, y - 1.9 * spread, x + 2 * spread, y + 2.1 * spread])
        answer = {"rotation": rotation, "head": np.array([x, y, spread]), "face_box": box}
        return {name: value.astype(np.float32) for name, value in answer.items()}


class FindsBright(LocalizerModel):
    """A localizer that does likewise; without much contrast there is no face."""

    seen: ClassVar[list[tuple[int, ...]]] = []

    def __init__(self, *_: object) -> None:
        pass

    def __call__(self, image: np.ndarray) -> FoundFace:
        self.seen.append(image.shape)
        rows, columns = np.nonzero(image > 150)
        if len(rows) < 10:
            return FoundFace(0.05, np.zeros(4, np.float32))
        corners = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], np.float32)
        return FoundFace(0.9, corners + np.float32(0.125))


@pytest.fixture(autouse=True)
def opencv_of_the_plugin() -> Iterator[None]:
    """Without IPP, for the oracle."""
    before = cv2.ipp.useIPP()
    cv2.ipp.setUseIPP(False)
    yield
    cv2.ipp.setUseIPP(before)


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PoseModel", SeesBright)
    monkeypatch.setattr(networks, "LocalizerModel", FindsBright)
    monkeypatch.setattr(FindsBright, "seen", [])


def scene(width: int, height: int, places: Sequence[tuple[float, float, float]], color: bool) -> list[np.ndarray]:
    """Frames of dark noise with a bright disc at x, y (shares of the frame) with a radius in pixels."""
    rng = np.random.default_rng(0)
    background = rng.integers(0, 90, (height, width, 3) if color else (height, width), dtype=np.uint8)
    frames = []
    for x, y, radius in places:
        frame = background.copy()
        bright = (250, 200, 180) if color else (220,)
        cv2.circle(frame, (round(x * width), round(y * height)), round(radius), bright, -1)
        frames.append(cv2.add(frame, rng.integers(0, 8, frame.shape, dtype=np.uint8)))
    return frames


MOVES = (
    [(0.5, 0.5, 60)] * 3
    + [(0.5 + 0.01 * i, 0.5 - 0.005 * i, 60 + 3 * i) for i in range(20)]
    + [(0.3, 0.6, 90 - i) for i in range(6)]  # a jump: found anew
    + [(0.3, 0.6, 0)] * 4  # away
    + [(0.6, 0.4, 50 + 10 * i) for i in range(15)]
)


def assert_same(mine: module.HeadPose | None, wanted: dict[str, np.ndarray] | None) -> None:
    if mine is None or wanted is None:
        assert mine is wanted
        return
    x, y, width, height = wanted["box"]
    assert mine.rotation == pytest.approx(wanted["rotation"], abs=1e-8)
    assert mine.head == pytest.approx(wanted["head"], abs=1e-4)
    assert mine.box == pytest.approx([x, y, x + width, y + height], abs=1e-4)


@pytest.mark.usefixtures("stand_ins")
@pytest.mark.parametrize(
    ("width", "height", "color", "zoom", "alpha"),
    [
        (640, 480, False, 1.0, 1.0),
        (1280, 720, True, 1.0, 1.0),
        (1280, 1024, True, 1.3, 0.6),
        (500, 360, True, 0.9, 1.0),
    ],
)
def test_the_loop_is_the_plugins(width: int, height: int, color: bool, zoom: float, alpha: float) -> None:
    frames = scene(width, height, MOVES, color)
    tracker = HeadPoseTracker("m.onnx", "l.onnx", zoom=zoom, alpha=alpha, localize_every=None)

    def localize(image: np.ndarray) -> tuple[float, np.ndarray]:
        found = FindsBright()(image)
        return found.score, found.box

    wanted = list(plugin_loop(frames, localize, SeesBright(), SIZE, zoom, alpha))
    assert sum(w is not None for w in wanted) > 30
    for frame, answer in zip(frames, wanted, strict=True):
        assert_same(tracker.update(frame), answer)


@pytest.mark.usefixtures("stand_ins")
def test_the_localizer_sees_the_coarsest_level_and_only_when_it_must() -> None:
    tracker = HeadPoseTracker("m.onnx", "l.onnx", localize_every=None)
    for frame in scene(1280, 960, [(0.5, 0.5, 80)] * 20, color=True):
        tracker.update(frame)
    assert FindsBright.seen == [(240, 320)]


@pytest.mark.parametrize(("sides", "accepted"), [((15, 15), False), ((15, 16), True), ((16, 2), True), ((3, 4), False)])
def test_small_boxes_are_dropped_only_if_both_sides_are_small(sides: tuple[int, int], accepted: bool) -> None:
    box = np.array([5, 7, 5 + sides[0], 7 + sides[1]], np.float32)
    assert FoundFace(0.9, box).accepted == accepted
    assert not FoundFace(0.5, box).accepted


@pytest.mark.usefixtures("stand_ins")
def test_a_head_that_went_away_is_given_up_when_the_tracker_looks_for_it() -> None:
    frames = scene(640, 480, [(0.5, 0.5, 60)] * 4 + [(0.5, 0.5, 0)] * 8, color=False)
    frames += frames[-1:] * 8
    as_plugin, usual = HeadPoseTracker("m.onnx", "l.onnx", localize_every=None), HeadPoseTracker("m.onnx", "l.onnx")
    often = HeadPoseTracker("m.onnx", "l.onnx", localize_every=5)
    seen = [[tracker.update(frame) is not None for frame in frames] for tracker in (as_plugin, usual, often)]
    assert all(poses[0] for poses in seen)
    assert [poses[-1] for poses in seen] == [True, False, False]


@pytest.mark.usefixtures("stand_ins")
@pytest.mark.parametrize("localize_every", [None, 15])
def test_frames_of_another_size_are_looked_at_anew(localize_every: int | None) -> None:
    """As of a phone that is turned: a box in pixels of the old frames is nowhere in the new ones."""
    tracker, fresh = (HeadPoseTracker("m.onnx", "l.onnx", localize_every=localize_every) for _ in range(2))
    for frame in scene(1280, 720, [(0.5, 0.5, 80)] * 3, color=True):
        tracker.update(frame)
    (small,) = scene(320, 180, [(0.5, 0.5, 20)], color=True)
    pose, wanted = tracker.update(small), fresh.update(small)
    assert pose is not None
    assert wanted is not None
    assert np.array_equal(pose.box, wanted.box)


def test_released_models_follow_a_face_as_in_the_plugin(shared_data: Path) -> None:
    """A face that moves, grows, and jumps to another place, in frames of 16:9."""
    folder = shared_data / "opentrack"
    files = folder / "head-pose-0.4-small-int8.onnx", folder / "head-localizer.onnx"
    with ZipFile(shared_data / "aflw2000" / "AFLW2000-3D.zip") as archive:
        face = decode(archive.read("AFLW2000/image00665.jpg"), color=True)
    places = [(250 + 9 * i, 130 + 3 * i, 0.9 + 0.03 * i) for i in range(25)] + [(180, 200, 1.0)] * 5
    frames = []
    for x, y, scale in places:
        affine = np.array([[scale, 0.02, x], [-0.02, scale, y]])
        frames.append(cv2.warpAffine(face, affine, (1280, 720), borderMode=cv2.BORDER_REPLICATE))
    tracker, localizer, model = (
        HeadPoseTracker(*files, localize_every=None),
        LocalizerModel(files[1]),
        PoseModel(files[0]),
    )

    def localize(image: np.ndarray) -> tuple[float, np.ndarray]:
        found = localizer(image)
        return found.score, found.box

    for frame, wanted in zip(frames, plugin_loop(frames, localize, model, model.input_size), strict=True):
        assert wanted is not None
        assert_same(tracker.update(frame), wanted)
