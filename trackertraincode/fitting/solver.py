"""Pose, head and coefficients from landmarks: closed form for the mean head, then robust Gauss-Newton, in batches.

With Y = R (mean + Σ c_k basis_k) the landmarks are s Y + (x, y, 0). All residuals are in head radii, so one noise level
fits faces of any size; it is estimated for each face (MacKay's evidence, with Student's t for outliers), and decides how
much the prior counts: exact landmarks are followed, noisy ones aren't.
"""

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from trackertraincode.facemodel.head_model import HeadModel
from trackertraincode.facemodel.landmarks68 import COUNT, EYE_CORNERS, JAW
from trackertraincode.fitting.contour import Contour, contour_of
from trackertraincode.fitting.prior import prior_of
from trackertraincode.geometry.rotation import matrix_to_quat, quat_to_matrix, rotvec_to_matrix

ITERATIONS = 14
FIRST_NOISE = 0.06  # head radii per coordinate, before it is estimated
LEAST_NOISE = 0.002
FREEDOM = 4.0  # of Student's t: how far outliers pull
ALONG_JAW = 0.3  # weight of residuals along the jaw of annotated images, where points are spaced at will
LARGEST_TURN, LARGEST_GROWTH = 0.4, 0.3  # radians and log of the size, per step
POSE = 6  # numbers of a pose: turn, shift, log of the size


@dataclass(frozen=True)
class Fit:
    """Of B faces; float64."""

    rotation: Tensor  # (B, 4)
    head: Tensor  # (B, 3) pixels
    shape: Tensor  # (B, 50)
    residual: Tensor  # (B,) mean distance between landmarks and head, in head radii
    cost: Tensor  # (B,) negative log of likelihood and prior, up to a constant

    def better(self, other: "Fit") -> "Fit":
        """Of each face the fit with the smaller cost; NaN never wins."""
        own = self.cost.nan_to_num(torch.inf) <= other.cost.nan_to_num(torch.inf)
        pairs = ((getattr(self, f.name), getattr(other, f.name)) for f in fields(Fit))
        return Fit(*(torch.where(own.reshape(-1, *[1] * (a.ndim - 1)), a, b) for a, b in pairs))


class LandmarkFitter:
    """A head model, prepared."""

    def __init__(self, model: HeadModel) -> None:
        self.model = model
        self._mean = torch.from_numpy(model.keypoint_mean).double()  # (68, 3)
        self._basis = torch.from_numpy(model.keypoint_basis).double().permute(1, 2, 0).contiguous()  # (68, 3, 50)
        self._contour: Contour | None = None
        prior = prior_of(model)
        self._prior_mean, self._prior_std = torch.from_numpy(prior.mean), torch.from_numpy(prior.std)

    def fit(self, landmarks: Tensor, *, sliding: bool = False, start: Tensor | None = None) -> Fit:
        """landmarks: (B, 68, 2 or 3) pixels, z from any origin. start: (B, 4) rotations instead of the closed form's.

        sliding: landmarks of the jaw lie where the silhouette is, as annotators of images put them.
        A face whose landmarks are no shape at all (all in one place) gets NaN.
        """
        with torch.no_grad():
            return self._fit(landmarks.double(), sliding, start)

    def _fit(self, landmarks: Tensor, sliding: bool, start: Tensor | None) -> Fit:
        count, _, dims = landmarks.shape
        if dims == 3:
            depth = landmarks[..., 2:] - landmarks[:, list(EYE_CORNERS), 2:].mean(1, keepdim=True)
            landmarks = torch.cat([landmarks[..., :2], depth], dim=-1)
        shape = self._prior_mean.expand(count, -1).clone()
        rotation, center, size = self._closed_form(landmarks[..., :2], start, skip_jaw=sliding)
        noise = torch.full((count,), FIRST_NOISE, dtype=torch.float64)
        eye = torch.eye(shape.shape[1], dtype=torch.float64)
        for iteration in range(ITERATIONS):
            points, basis = self._points(shape, rotation, sliding)
            residual, jacobian = _linearize(landmarks, points, basis, rotation, center, size, sliding)
            weights = _student(residual, noise)
            scaled = jacobian * (weights / noise[:, None].square()).repeat_interleave(dims, -1)[..., None]
            precision = self._prior_std**-2
            hessian = scaled.mT @ jacobian
            hessian[:, POSE:, POSE:] += eye * precision
            hessian.diagonal(dim1=-2, dim2=-1).add_(1e-6)
            slope = (scaled.mT @ residual.flatten(1)[..., None])[..., 0]
            slope[:, POSE:] -= (shape - self._prior_mean) * precision
            factor = torch.linalg.cholesky_ex(hessian).L
            step = torch.cholesky_solve(slope[..., None], factor)[..., 0]
            step = step * _shortening(step)[:, None]
            rotation = rotvec_to_matrix(step[:, :3]) @ rotation
            center = center + step[:, 3:5] * size[:, None]
            size = size * step[:, 5].exp()
            shape = shape + step[:, POSE:]
            if iteration >= 2:
                undetermined = (torch.cholesky_inverse(factor).diagonal(dim1=-2, dim2=-1)[:, POSE:] * precision).sum(-1)
                free = COUNT * dims - (POSE + shape.shape[1] - undetermined)
                squares = (weights * residual.square().sum(-1)).sum(-1)
                noise = (squares / free).sqrt().clamp(LEAST_NOISE, FIRST_NOISE)
        points, basis = self._points(shape, rotation, sliding)
        residual, _ = _linearize(landmarks, points, basis, rotation, center, size, sliding)
        distance = residual.norm(dim=-1)
        surprise = (FREEDOM + dims) / 2 * (distance / noise[:, None]).square().div(FREEDOM).log1p().sum(-1)
        implausible = ((shape - self._prior_mean) / self._prior_std).square().sum(-1) / 2
        return Fit(
            rotation=matrix_to_quat(rotation),
            head=torch.cat([center, size[:, None]], dim=-1),
            shape=shape,
            residual=distance.mean(-1),
            cost=surprise + implausible + COUNT * dims * noise.log() - sliding * len(JAW) * math.log(ALONG_JAW),
        )

    def _points(self, shape: Tensor, rotation: Tensor, sliding: bool) -> tuple[Tensor, Tensor]:
        """Key points (B, 68, 3) in the local frame and how they deform, (B or 1, 68, 3, 50)."""
        points = self._mean + (self._basis.flatten(0, 1) @ shape.mT).mT.unflatten(1, (COUNT, 3))
        if not sliding:
            return points, self._basis[None]
        if self._contour is None:
            self._contour = contour_of(self.model)
        contour, jaw = self._contour, torch.arange(len(JAW))
        deformed = contour.deform(shape)
        place = contour.visible(deformed, rotation)
        points[:, : len(JAW)] = deformed[torch.arange(len(shape))[:, None], jaw, place]
        basis = self._basis.expand(len(shape), -1, -1, -1).clone()
        basis[:, : len(JAW)] = contour.basis[jaw, place]
        return points, basis

    def _closed_form(self, landmarks: Tensor, start: Tensor | None, skip_jaw: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Rotation (B, 3, 3), centre (B, 2) and size (B,) of the mean head: least squares, then the nearest rotation."""
        used = slice(len(JAW), None) if skip_jaw else slice(None)
        model, image = self._mean[used], landmarks[:, used]
        middle = image.mean(1)
        centered = image - middle[:, None]
        if start is None:
            affine = (torch.linalg.pinv(model - model.mean(0)) @ centered).mT  # (B, 2, 3): s times two rows of R
            u, _, vh = torch.linalg.svd(affine, full_matrices=False)
            rows = u @ vh
            rotation = torch.cat([rows, torch.linalg.cross(rows[:, :1], rows[:, 1:])], dim=1)
        else:
            rotation = quat_to_matrix(start.double())
        turned = (model @ rotation.mT)[..., :2]
        turned_middle = turned.mean(1)
        turned = turned - turned_middle[:, None]
        size = (turned * centered).sum((1, 2)) / turned.square().sum((1, 2))
        size = size.clamp_min(1e-3)
        return rotation, middle - size[:, None] * turned_middle, size


def _linearize(
    landmarks: Tensor, points: Tensor, basis: Tensor, rotation: Tensor, center: Tensor, size: Tensor, sliding: bool
) -> tuple[Tensor, Tensor]:
    """Residuals (B, 68, D) in head radii, and how the model's landmarks move, (B, 68 D, 56)."""
    count, _, dims = landmarks.shape
    turned = points @ rotation.mT  # (B, 68, 3)
    moves = torch.zeros(count, COUNT, dims, POSE + basis.shape[-1], dtype=torch.float64)
    x, y, z = turned.unbind(-1)
    moves[..., 0, 1], moves[..., 0, 2] = z, -y
    moves[..., 1, 0], moves[..., 1, 2] = -z, x
    moves[..., 0, 3] = moves[..., 1, 4] = 1.0
    moves[..., 5] = turned[..., :dims]
    moves[..., POSE:] = rotation[:, None, :dims] @ basis  # (B, 1, D, 3) @ (B or 1, 68, 3, 50)
    residual = landmarks / size[:, None, None] - turned[..., :dims]
    residual[..., :2] -= (center / size[:, None])[:, None]
    if dims == 3:  # depths count from the eye corners
        moves[..., 2, 0], moves[..., 2, 1] = y, -x
        corners = list(EYE_CORNERS)
        residual[..., 2] += turned[:, corners, 2].mean(1, keepdim=True)
        moves[..., 2, :] -= moves[:, corners, 2, :].mean(1, keepdim=True)
    if sliding:
        along = _along_jaw(turned)  # (B, 17, 2)
        jaw = slice(len(JAW))
        less = 1.0 - ALONG_JAW
        residual[:, jaw] -= less * along * (along * residual[:, jaw]).sum(-1, keepdim=True)
        moves[:, jaw] -= less * along[..., None] * (along[..., None] * moves[:, jaw]).sum(-2, keepdim=True)
    return residual, moves.flatten(1, 2)


def _along_jaw(turned: Tensor) -> Tensor:
    """(B, 68, 3) -> (B, 17, 2): unit directions of the jaw's line in the image."""
    jaw = turned[:, : len(JAW), :2]
    before, after = jaw[:, [0, *range(16)]], jaw[:, [*range(1, 17), 16]]
    return torch.nn.functional.normalize(after - before, dim=-1)


def _student(residual: Tensor, noise: Tensor) -> Tensor:
    """(B, 68, D), (B,) -> (B, 68) weights: below 1 for outliers."""
    dims = residual.shape[-1]
    return (FREEDOM + dims) / (FREEDOM + residual.square().sum(-1) / noise[:, None].square())


def _shortening(step: Tensor) -> Tensor:
    """(B, 56) -> (B,) factors that keep turns and growth small."""
    turn, growth = step[:, :3].norm(dim=-1), step[:, 5].abs()
    return torch.minimum(
        (LARGEST_TURN / turn.clamp_min(1e-12)).clamp_max(1.0), (LARGEST_GROWTH / growth.clamp_min(1e-12)).clamp_max(1.0)
    )
