"""The embedded head: means the same pose as BFM, is symmetric, closes its eyes, opens its mouth."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from trackertraincode.facemodel.bfm import load_bfm
from trackertraincode.facemodel.embedded import embedded_head
from trackertraincode.facemodel.embedded_modes import EXPRESSIONS, SHAPE_MODES
from trackertraincode.facemodel.head_model import HeadModel, hull_vertices
from trackertraincode.facemodel.landmarks68 import FLIP_ORDER

MIRROR = np.array([-1.0, 1.0, 1.0])


def expression(**weights: float) -> np.ndarray:
    coefficients = np.zeros(50)
    for name, weight in weights.items():
        coefficients[len(SHAPE_MODES) + EXPRESSIONS.index(name)] = weight
    return coefficients


@pytest.fixture(scope="module")
def bfm(shared_data: Path) -> HeadModel:
    return load_bfm(shared_data / "facemodel" / "bfm_noneck_v3.pkl")


def box_at_yaw(vertices: np.ndarray, yaw: float) -> np.ndarray:
    turned = Rotation.from_euler("y", yaw, degrees=True).apply(vertices)[:, :2]
    return np.concatenate([turned.min(0), turned.max(0)])


def test_landmarks_mean_the_same_pose_as_bfm(bfm: HeadModel) -> None:
    ours, theirs = embedded_head().keypoint_mean.astype(float), bfm.keypoint_mean.astype(float)
    assert np.linalg.norm(ours - theirs, axis=1).max() < 0.1
    turn, _ = Rotation.align_vectors(theirs - theirs.mean(0), ours - ours.mean(0))
    turned = turn.apply(ours - ours.mean(0))
    scale = (turned * (theirs - theirs.mean(0))).sum() / (turned**2).sum()
    shift = theirs.mean(0) - scale * turn.apply(ours.mean(0))
    assert np.degrees(turn.magnitude()) < 0.5
    assert abs(scale - 1) < 0.01
    assert np.linalg.norm(shift) < 0.02


@pytest.mark.parametrize("yaw", range(0, 91, 15))
def test_face_box_agrees_with_bfm(bfm: HeadModel, yaw: int) -> None:
    head = embedded_head()
    ours, theirs = box_at_yaw(head.vertices[head.face_mask], yaw), box_at_yaw(bfm.vertices, yaw)
    size = np.tile(theirs[2:] - theirs[:2], 2)
    assert (np.abs(ours - theirs) / size).max() < 0.05


@pytest.mark.parametrize(
    ("yaw", "box"),
    [(0, (-0.765, -0.614, 0.765, 1.167)), (45, (-0.361, -0.614, 1.062, 1.167)), (90, (-0.421, -0.614, 0.759, 1.167))],
)
def test_face_box_is_the_recorded_one(yaw: int, box: tuple[float, ...]) -> None:
    """What the comparison with BFM was made on; holds where BFM isn't at hand."""
    head = embedded_head()
    assert box_at_yaw(head.vertices[head.face_mask], yaw) == pytest.approx(box, abs=0.02)


def test_mesh_is_large_enough_closed_and_wound_outwards() -> None:
    head = embedded_head()
    assert len(head.vertices) >= 8000
    skin = head.triangles[~head.regions["ears"][head.triangles].any(1)]
    edges = np.sort(np.concatenate([skin[:, [0, 1]], skin[:, [1, 2]], skin[:, [2, 0]]]), axis=1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()
    a, b, c = (head.vertices[skin[:, i]].astype(float) for i in range(3))
    volume = (np.cross(a, b) * c).sum() / 6
    assert volume > 1.0


def test_landmarks_are_symmetric() -> None:
    k = embedded_head().keypoint_mean
    assert np.allclose(k[FLIP_ORDER] * MIRROR, k, atol=1e-6)


def test_shape_modes_are_symmetric_and_do_not_turn_move_or_scale_the_landmarks() -> None:
    head = embedded_head()
    modes = head.keypoint_basis[:40].astype(float)
    assert np.allclose(modes[:, FLIP_ORDER] * MIRROR, modes, atol=1e-5)
    k = head.keypoint_mean.astype(float)
    assert np.abs(modes.sum(1)).max() < 1e-3
    assert np.abs(np.cross(k, modes).sum(1)).max() < 1e-3
    assert np.abs((k * modes).sum((1, 2))).max() < 1e-3


def test_modes_differ_from_each_other() -> None:
    modes = embedded_head().basis.reshape(50, -1).astype(float)
    modes /= np.linalg.norm(modes, axis=1, keepdims=True)
    similarity = np.abs(modes @ modes.T) - np.eye(50)
    assert similarity.max() < 0.9


def test_closing_an_eye_brings_its_lids_together_and_leaves_the_other_open() -> None:
    k = embedded_head().keypoints68(expression(close_left_eye=1.0))
    rest = embedded_head().keypoint_mean
    for upper, lower in ((43, 47), (44, 46)):
        assert abs(k[upper, 1] - k[lower, 1]) < 0.2 * abs(rest[upper, 1] - rest[lower, 1])
    assert np.allclose(k[36:42], rest[36:42], atol=1e-6)
    assert np.allclose(k[[42, 45]], rest[[42, 45]], atol=0.01)


def test_opening_the_jaw_moves_the_lower_lip_and_chin_down_only() -> None:
    moved = embedded_head().keypoints68(expression(open_jaw=1.0)) - embedded_head().keypoint_mean
    assert (moved[[57, 66, 8], 1] > 0.15).all()
    assert np.abs(moved[[51, 62, 30, 33]]).max() < 0.03


def test_smiling_lifts_the_corners_of_the_mouth() -> None:
    moved = embedded_head().keypoints68(expression(smile=1.0)) - embedded_head().keypoint_mean
    assert moved[54, 1] < -0.04
    assert moved[54, 0] > 0.04


def test_batches_deform_like_single_heads() -> None:
    head = embedded_head()
    coefficients = np.random.default_rng(0).normal(size=(2, 3, 50)) * head.coefficient_std
    whole = head.deform(coefficients)
    assert whole.shape == (2, 3, len(head.vertices), 3)
    assert np.allclose(whole[1, 2], head.deform(coefficients[1, 2]), atol=1e-5)
    assert np.allclose(whole[..., head.keypoints, :], head.keypoints68(coefficients), atol=1e-5)


def test_hull_vertices_bound_the_face_like_all_vertices() -> None:
    head = embedded_head()
    ids = hull_vertices(head)
    rng = np.random.default_rng(5)
    for _ in range(10):
        face = head.deform(rng.normal(size=50) * head.coefficient_std)
        turned = Rotation.random(random_state=rng).apply(face)
        everything, few = turned[head.face_mask], turned[ids]
        assert np.abs(everything.min(0) - few.min(0)).max() < 0.004
        assert np.abs(everything.max(0) - few.max(0)).max() < 0.004
