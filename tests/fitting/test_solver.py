"""Laws of fits, and how well they recover heads that are known."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from trackertraincode.facemodel.bfm import load_bfm
from trackertraincode.facemodel.embedded import embedded_head
from trackertraincode.facemodel.head_model import HeadModel
from trackertraincode.facemodel.landmarks68 import FLIP_ORDER, JAW
from trackertraincode.fitting.contour import contour_of
from trackertraincode.fitting.solver import Fit, LandmarkFitter
from trackertraincode.geometry.camera import project_weak_perspective
from trackertraincode.geometry.euler import aflw_to_matrix
from trackertraincode.geometry.rotation import in_plane_quat, matrix_to_quat, quat_geodesic_angle, quat_multiply
from trackertraincode.rendering.scene import draw_expression

COUNT = 60
RADIUS = 60.0  # pixels
FACE = 2.0  # head radii: about the longer side of a face box


@pytest.fixture(scope="module")
def fitter() -> LandmarkFitter:
    return LandmarkFitter(embedded_head())


class Heads:
    """Random persons, expressions and poses, as the renderer draws them, yaw to ±60 degrees."""

    def __init__(self, count: int, seed: int, model: HeadModel | None = None) -> None:
        rng = np.random.default_rng(seed)
        self.model = model or embedded_head()
        angles = np.radians(rng.uniform([-30, -60, -25], [30, 60, 25], (count, 3)))
        self.yaw = np.degrees(angles[:, 1])
        self.rotation = matrix_to_quat(aflw_to_matrix(torch.from_numpy(angles)))
        self.head = torch.tensor([100.0, 90.0, RADIUS], dtype=torch.float64).expand(count, 3)
        shapes = [np.concatenate([rng.normal(0, 0.3, 40), draw_expression(rng)]) for _ in range(count)]
        self.shape = np.stack(shapes)

    def seen(self, local: np.ndarray | None = None) -> Tensor:
        """(B, N, 3) pixels of local points, by default of the key points."""
        points = self.model.keypoints68(self.shape) if local is None else local
        return project_weak_perspective(torch.from_numpy(points).double(), self.rotation, self.head)

    def errors(self, fit: Fit) -> Tensor:
        """(B,) degrees."""
        return torch.rad2deg(quat_geodesic_angle(fit.rotation, self.rotation))


@pytest.fixture(scope="module")
def heads() -> Heads:
    return Heads(COUNT, 0)


def noise(like: Tensor, share: float, seed: int = 0) -> Tensor:
    """Of this share of the face's size, on each coordinate."""
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(seed)).double() * share * FACE * RADIUS


def test_exact_landmarks_give_pose_head_and_residual(fitter: LandmarkFitter, heads: Heads) -> None:
    fit = fitter.fit(heads.seen()[..., :2])
    assert heads.errors(fit).median() < 1.0
    assert heads.errors(fit)[torch.from_numpy(np.abs(heads.yaw) > 45)].median() < 1.0
    assert (fit.head / RADIUS - heads.head / RADIUS).abs().median() < 0.01
    assert fit.residual.median() < 0.005


def test_noise_of_two_percent_of_the_face_is_borne(fitter: LandmarkFitter, heads: Heads) -> None:
    exact = heads.seen()[..., :2]
    fit = fitter.fit(exact + noise(exact, 0.02))
    assert heads.errors(fit).median() < 3.0
    assert fit.residual.median() == pytest.approx(0.02 * FACE * np.sqrt(np.pi / 2), rel=0.2)  # mean of a Rayleigh


def test_outliers_hardly_matter(fitter: LandmarkFitter, heads: Heads) -> None:
    points = heads.seen()[..., :2]
    points[:, ::9] += noise(points[:, ::9], 0.3)  # 8 of 68
    assert heads.errors(fitter.fit(points)).median() < 1.0


def test_depth_counts_from_anywhere(fitter: LandmarkFitter, heads: Heads) -> None:
    points = heads.seen()[:9]
    fit = fitter.fit(points)
    assert heads.errors(fitter.fit(heads.seen())).median() < 0.5
    moved = fitter.fit(points + torch.tensor([0.0, 0.0, 250.0]))
    assert torch.allclose(fit.rotation, moved.rotation, atol=1e-9)


def test_fits_move_with_the_image(fitter: LandmarkFitter, heads: Heads) -> None:
    points = heads.seen()[:9, :, :2] + noise(heads.seen()[:9, :, :2], 0.01)
    fit = fitter.fit(points)
    angle = torch.tensor(0.7, dtype=torch.float64)
    turn = torch.tensor([[angle.cos(), -angle.sin()], [angle.sin(), angle.cos()]])
    moved = fitter.fit(3.0 * points @ turn.T + 5.0)
    expected = quat_multiply(in_plane_quat(angle.cos(), angle.sin()), fit.rotation)
    assert torch.allclose(quat_geodesic_angle(moved.rotation, expected), torch.zeros(9, dtype=torch.float64), atol=1e-5)
    assert torch.allclose(moved.head[:, :2], 3.0 * fit.head[:, :2] @ turn.T + 5.0, atol=1e-3)
    assert torch.allclose(moved.head[:, 2], 3.0 * fit.head[:, 2], rtol=1e-5)
    assert torch.allclose(moved.residual, fit.residual, atol=1e-5)


def test_the_mirrored_face_has_the_mirrored_pose(fitter: LandmarkFitter, heads: Heads) -> None:
    points = heads.seen()[:9, :, :2]
    fit = fitter.fit(points)
    mirrored = fitter.fit((points * torch.tensor([-1.0, 1.0]))[:, FLIP_ORDER])
    expected = fit.rotation * torch.tensor([1.0, -1.0, -1.0, 1.0])
    assert quat_geodesic_angle(mirrored.rotation, expected).max() < np.radians(0.2)  # the mesh is nearly symmetric


def annotated(heads: Heads) -> Tensor:
    """(B, 68, 2) as annotators see them, by a slow way: a jaw landmark that the face hides lies on the face's edge.

    Of all vertices at the landmark's height between it and the nose, the outermost one in the image.
    """
    points = heads.seen()[..., :2].clone()
    vertices = heads.model.deform(heads.shape)
    for i, local in enumerate(vertices):
        front = local[heads.model.face_mask & (local[:, 2] < 0.75)]
        seen = project_weak_perspective(torch.from_numpy(front).double(), heads.rotation[i], heads.head[i]).numpy()
        key = heads.model.keypoints68(heads.shape[i])
        down = heads.seen(np.array([[[0, 0, 0], [0, 1, 0]]] * len(heads.shape), np.float32))[i, :, :2].numpy()
        left = np.array([down[1, 1] - down[0, 1], -(down[1, 0] - down[0, 0])])
        for landmark in (*range(6), *range(11, 17)):
            side = np.sign(key[landmark, 0])
            near = (np.abs(front[:, 1] - key[landmark, 1]) < 0.03) & (side * front[:, 0] > 0.3)
            reach = side * seen[near, :2] @ left
            if len(reach) and reach.max() > side * points[i, landmark].numpy() @ left:
                points[i, landmark] = torch.from_numpy(seen[near][reach.argmax(), :2])
    return points


def test_contours_on_the_silhouette_are_followed(fitter: LandmarkFitter) -> None:
    heads = Heads(24, 5)
    points = annotated(heads)
    fixed, sliding = fitter.fit(points), fitter.fit(points, sliding=True)
    assert heads.errors(sliding).median() < 2.0
    assert heads.errors(sliding).quantile(0.9) < 0.6 * heads.errors(fixed).quantile(0.9)
    far = torch.from_numpy(np.abs(heads.yaw) > 20)
    assert (sliding.cost < fixed.cost)[far].double().mean() > 0.8
    assert heads.errors(fixed.better(sliding)).median() < 2.0


@pytest.mark.parametrize("name", ["embedded", "bfm"])
def test_contours_begin_at_the_landmarks_and_lead_inwards(name: str, request: pytest.FixtureRequest) -> None:
    if name == "bfm":
        model = load_bfm(request.getfixturevalue("shared_data") / "facemodel" / "bfm_noneck_v3.pkl")
    else:
        model = embedded_head()
    contour = contour_of(model)
    assert np.allclose(contour.mean[:, 0], model.keypoint_mean[list(JAW)], atol=1e-6)
    coefficients = np.random.default_rng(0).normal(0, 0.1, (1, 50))
    assert np.allclose(
        contour.deform(torch.from_numpy(coefficients))[:, :, 0], model.keypoints68(coefficients)[:, :17], atol=1e-5
    )
    width = contour.mean[..., 0].abs()
    assert (width[[0, 1, 2, 14, 15, 16], -1] < 0.4).all()
    assert (contour.mean[:, :, 1] - contour.mean[:, :1, 1]).abs().max() < 0.1  # along the height


def test_what_is_no_face_harms_no_other(fitter: LandmarkFitter, heads: Heads) -> None:
    points = heads.seen()[:4, :, :2].clone()
    alone = fitter.fit(points[3:])
    points[0] = 7.0  # all in one place
    points[1] = torch.stack([torch.arange(68.0), torch.zeros(68)], dim=-1)  # a line
    fit = fitter.fit(points)
    assert not fit.residual[0] < 0.25
    assert not fit.residual[1] < 0.05
    assert torch.allclose(fit.rotation[3], alone.rotation[0], atol=1e-6)


def test_the_better_of_two_starts_wins(fitter: LandmarkFitter, heads: Heads) -> None:
    points = heads.seen()[:9, :, :2]
    good = fitter.fit(points)
    backwards = quat_multiply(heads.rotation[:9], torch.tensor([0.0, 1.0, 0.0, 0.0], dtype=torch.float64))
    bad = fitter.fit(points, start=backwards)
    assert torch.equal(good.better(bad).rotation, good.rotation)
    assert torch.equal(bad.better(good).rotation, good.rotation)
    lost = Fit(*(torch.full_like(value, torch.nan) for value in vars(good).values()))
    assert torch.equal(lost.better(good).residual, good.residual)
    assert torch.allclose(fitter.fit(points, start=heads.rotation[:9]).cost, good.cost, atol=0.5)


def test_real_landmarks_give_the_poses_that_they_come_with(shared_data: Path) -> None:
    """AFLW2000-3D's own fits, by another method and with perspective of their own."""
    from trackertraincode.conversion.aflw2k import make_source

    path = shared_data / "facemodel" / "bfm_noneck_v3.pkl"
    source = make_source(shared_data / "aflw2000" / "AFLW2000-3D.zip", path, False)
    samples = [source.convert(read)[0] for read in source.prepare(source.items[::40])]
    points, truth = (torch.from_numpy(np.stack([getattr(s, n) for s in samples])) for n in ("landmarks", "rotation"))
    for model, limit in ((load_bfm(path), 1.5), (embedded_head(), 2.0)):
        fit = LandmarkFitter(model).fit(points[..., :2])
        assert torch.rad2deg(quat_geodesic_angle(fit.rotation, truth.double())).median() < limit
        assert fit.residual.median() < 0.02
