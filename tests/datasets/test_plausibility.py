"""Wrong units, another order of numbers and copies show in all rows together; usual files raise no suspicion."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from close import known
from conftest import run_script
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.datasets.plausibility import copies, describe_copies, suspicions
from trackertraincode.sample.sample import Sample

SIZES = np.tile([320.0, 240.0], (3, 1))
BOXES = np.array([[110.0, 50, 210, 190], [60, 40, 160, 170], [20, 30, 120, 170]])
ANGLES = np.array([[5.0, 30, 0], [-10, -60, 4], [15, 50, -2]])


def as_sizes(boxes: np.ndarray) -> np.ndarray:
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def as_middles(boxes: np.ndarray) -> np.ndarray:
    sizes = boxes[:, 2:] - boxes[:, :2]
    return np.concatenate([boxes[:, :2] + sizes / 2, sizes], axis=1)


@pytest.mark.parametrize(
    ("boxes", "angles", "message"),
    [
        (BOXES / [320, 240, 320, 240], ANGLES, r"3 of 3 boxes are smaller than 3 pixels: are they fractions"),
        (np.array([[60.0, 50, 100, 140], [20, 30, 100, 140]]), ANGLES, r"most of the 2 boxes .* x, y, width, height"),
        (as_sizes(BOXES), ANGLES, r"most of the 3 boxes .* x, y, width, height"),
        (BOXES, np.radians(ANGLES), r"all angles of 3 rows lie within ±1\.05 degrees: are they radians"),
        (BOXES * 100 / [320, 240, 320, 240], ANGLES, r"all 3 boxes lie in the first 100 pixels .* are they percents"),
        (as_middles(BOXES), ANGLES, r"most of the 3 boxes .* the middle's x, y, width, height"),
        (BOXES[:, [0, 2, 1, 3]], ANGLES, r"most of the 3 boxes .* x0, x1, y0, y1"),
        (BOXES[:, [1, 0, 3, 2]], ANGLES, r"most of the 3 boxes .* y0, x0, y1, x1"),
        (BOXES, ANGLES + [180, 0, 0], r"3 of 3 heads look away from the camera: are rotations stored in another order"),
        (
            BOXES,
            np.degrees(ANGLES),
            r"3 of 3 rows have an angle of more than a whole turn: did the archive store degrees",
        ),
    ],
    ids=[
        "fractions",
        "sizes",
        "inside_out",
        "radians",
        "percents",
        "middles",
        "pairs",
        "rows first",
        "order",
        "degrees",
    ],
)
def test_nonsense_of_the_whole_file_is_suspected(boxes: np.ndarray, angles: np.ndarray, message: str) -> None:
    (text,) = suspicions(boxes, SIZES[: len(boxes)], angles)
    assert re.search(message, text), text


@pytest.mark.parametrize(
    ("boxes", "angles"),
    [
        (BOXES, ANGLES),
        (BOXES, np.zeros((3, 3))),  # passport images
        (BOXES, ANGLES[:1] / 10),
        (np.full((3, 4), np.nan), np.full((3, 3), np.nan)),
        (BOXES[:0], ANGLES[:0]),
        (np.array([[0.0, 0, 320, 240]]), ANGLES),
        (np.concatenate([BOXES, BOXES / 200]), ANGLES),  # some small ones
    ],
)
def test_usual_labels_are_not(boxes: np.ndarray, angles: np.ndarray) -> None:
    assert suspicions(boxes, np.resize(SIZES, (len(boxes), 2)), angles) == []


def test_real_archives_raise_no_suspicion(shared_data: Path, tmp_path: Path) -> None:
    archive = shared_data / "aflw2000" / "AFLW2000-3D.zip"
    run_script("dsprocess_aflw2k.py", archive, tmp_path / "a.h5", "-n", 60, "--workers", 0)
    text = run_script("dscheck.py", tmp_path / "a.h5", "--workers", 0)
    assert "suspicious" not in text


def test_rows_with_the_same_image_are_named() -> None:
    assert copies([b"a", b"b", b"a", b"c", b"b", b"a"]) == [(2, 0), (4, 1), (5, 0)]
    assert describe_copies(copies([b"a"] * 14)).startswith(
        "13 rows repeat the image of an earlier row: 1 (as 0), 2 (as 0)"
    )
    assert describe_copies(copies([b"a"] * 14)).endswith("and 3 more")


def test_dscheck_tells_suspicions_and_still_calls_the_rows_clean(
    write_file: Callable[..., Path], make_sample: Callable[..., Sample]
) -> None:
    samples = [make_sample(i) for i in range(4)]
    samples.append(replace(samples[1], name="again"))
    small = [replace(s, face_box=known(s.face_box) / 100, points_box=None, landmarks=None) for s in samples]
    text = run_script("dscheck.py", write_file(small), "--workers", 0)
    assert "suspicious: 5 of 5 boxes are smaller than 3 pixels" in text
    assert "suspicious: 1 rows repeat the image of an earlier row: 4 (as 1)" in text
    assert ": clean, but for 3 suspicions" in text
    assert len(Hdf5PoseDataset(write_file(small))) == 5


def test_heads_and_landmarks_in_other_units_are_suspected(
    write_file: Callable[..., Path], make_sample: Callable[..., Sample]
) -> None:
    samples = [make_sample(i) for i in range(4)]
    fractions = [replace(s, head=known(s.head) / 500, landmarks=known(s.landmarks) / 500, shape=None) for s in samples]
    text = run_script("dscheck.py", write_file(fractions), "--workers", 0)
    assert re.search(r"suspicious: radii of heads of 4 of 4 rows, such as 0\.00\d+ of the face box's longer side", text)
    assert re.search(
        r"suspicious: extents of landmarks of 4 of 4 rows, .* are they in other units\? All are pixels", text
    )
    usual = [replace(sample, shape=None) for sample in samples]  # so that they aren't compared with the pose
    assert "other units" not in run_script("dscheck.py", write_file(usual), "--workers", 0)
