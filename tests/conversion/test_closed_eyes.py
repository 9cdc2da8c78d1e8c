"""Eyes are shut where they can be seen, and nothing else changes."""

from pathlib import Path

import numpy as np
import pytest

from conftest import run_script
from trackertraincode.conversion.closed_eyes import close_eyes
from trackertraincode.conversion.synthetic import write_faces
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.facemodel.landmarks68 import EYE_CORNERS, LEFT_EYE, LID_POINTS, RIGHT_EYE
from trackertraincode.rendering.generate import Request
from trackertraincode.sample.images import decode
from trackertraincode.sample.sample import Sample

FRONTAL = np.array([0.0, 0.0, 0.0, 1.0])


def opening(points: np.ndarray) -> np.ndarray:
    """Pixels between the lids of both eyes."""
    pairs = ((37, 41), (38, 40), (43, 47), (44, 46))
    return np.array([np.linalg.norm(points[a, :2] - points[b, :2]) for a, b in pairs])


@pytest.fixture(scope="module")
def real(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Sample], list[Sample]]:
    """The same real faces with open and shut eyes."""
    archive, folder = shared_data / "aflw2000" / "AFLW2000-3D.zip", tmp_path_factory.mktemp("eyes")
    for name, options in (("open.h5", []), ("shut.h5", ["--close-eyes"])):
        run_script("dsprocess_aflw2k.py", archive, folder / name, "-n", 12, "--workers", 0, *options)
    with Hdf5PoseDataset(folder / "open.h5") as opened, Hdf5PoseDataset(folder / "shut.h5") as shut:
        return opened[:], shut[:]


def test_lids_of_visible_eyes_meet_and_other_labels_stay(real: tuple[list[Sample], list[Sample]]) -> None:
    closed = 0
    for opened, shut in zip(*real, strict=True):
        assert opened.landmarks is not None
        assert shut.landmarks is not None
        others = [i for i in range(68) if i not in LID_POINTS]
        assert np.array_equal(shut.landmarks[others], opened.landmarks[others])
        for name in ("rotation", "head", "face_box", "points_box"):
            assert np.array_equal(getattr(shut, name), getattr(opened, name))
        before, after = opening(opened.landmarks), opening(shut.landmarks)
        for eye in (slice(0, 2), slice(2, 4)):
            assert (after[eye] < 1e-3).all() or np.array_equal(after[eye], before[eye])
            closed += bool((after[eye] < 1e-3).all())
    assert closed > 12  # of 24


def test_only_the_surroundings_of_eyes_change(real: tuple[list[Sample], list[Sample]]) -> None:
    for opened, shut in zip(*real, strict=True):
        assert isinstance(opened.image, bytes)
        assert opened.landmarks is not None
        assert opened.rotation is not None
        image = decode(opened.image, color=True)
        after, _ = close_eyes(image, opened.landmarks, opened.rotation)
        assert np.array_equal(after, close_eyes(image, opened.landmarks, opened.rotation)[0])
        assert np.abs(after.astype(int) - decode(shut.image, color=True)).mean() < 3  # type: ignore[arg-type]
        height, width = image.shape[:2]
        y, x = np.mgrid[:height, :width]
        far = np.ones((height, width), bool)
        for eye in (RIGHT_EYE, LEFT_EYE):
            corners = opened.landmarks[[eye[0], eye[3]], :2]
            middle, reach = corners.mean(0), 1.3 * np.linalg.norm(corners[1] - corners[0])
            far &= np.hypot(x - middle[0], y - middle[1]) > reach
        assert np.array_equal(after[far], image[far])


def test_irises_disappear() -> None:
    """A drawn eye: bright skin with a dark iris between the lids. Afterwards only the line of lashes is dark."""
    image = np.full((120, 160), 200, np.uint8)
    y, x = np.mgrid[:120, :160]
    landmarks = np.zeros((68, 3), np.float32)
    for eye, left in ((RIGHT_EYE, 20.0), (LEFT_EYE, 100.0)):
        offsets = [(0, 0), (13, -7), (27, -7), (40, 0), (27, 7), (13, 7)]
        landmarks[list(eye), :2] = [(left + dx, 60 + dy) for dx, dy in offsets]
        image[np.hypot(x - left - 20, y - 60) < 6] = 10
    landmarks[17:22, :2] = [(15 + 12 * i, 30) for i in range(5)]
    landmarks[22:27, :2] = [(95 + 12 * i, 30) for i in range(5)]
    shut, moved = close_eyes(image, landmarks, FRONTAL)
    assert (image < 50).sum() > 200
    assert (shut < 50).sum() == 0
    assert np.array_equal(moved[list(EYE_CORNERS)], landmarks[list(EYE_CORNERS)])


def test_hidden_and_tiny_eyes_stay() -> None:
    image = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    points = np.random.default_rng(1).uniform(20, 40, (68, 3)).astype(np.float32)
    backwards = np.array([0.0, 1.0, 0.0, 0.0])
    for landmarks, quat in ((points, backwards), (points / 100 + 30, FRONTAL)):
        after, moved = close_eyes(image, landmarks, quat)
        assert np.array_equal(after, image)
        assert np.array_equal(moved, landmarks)


def test_without_the_option_images_are_the_archives(tmp_path: Path) -> None:
    write_faces(Request(3, 96, 2, "aflw2k"), tmp_path / "AFLW2000-3D.zip", 0)
    for name, options in (("a.h5", []), ("b.h5", ["--close-eyes"])):
        run_script("dsprocess_aflw2k.py", tmp_path / "AFLW2000-3D.zip", tmp_path / name, "--workers", 0, *options)
    with Hdf5PoseDataset(tmp_path / "a.h5") as opened, Hdf5PoseDataset(tmp_path / "b.h5") as shut:
        assert [s.image for s in opened] != [s.image for s in shut]
        assert len(opened) == len(shut) == 3
