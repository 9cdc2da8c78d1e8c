"""Where the jaw's landmarks can be seen: annotators of images put those of the far side on the face's silhouette.

head model --contour_of--> for each of the 17 jaw landmarks places along its parallel, from the jaw towards the nose

The places are fixed mixtures of vertices, so that they deform with the head (landmark marching, Zhu et al. 2015).
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import Delaunay
from torch import Tensor

from trackertraincode.facemodel.head_model import HeadModel
from trackertraincode.facemodel.landmarks68 import JAW

PLACES = 14  # per landmark
INNERMOST = 0.3  # |x| in head radii where parallels end: nose and mouth are no silhouette of the jaw
AXIS_DEPTH = 0.7  # z of the upright axis around which parallels run


@dataclass(frozen=True)
class Contour:
    """mean (17, K, 3), basis (17, K, 3, 50) in head radii; place 0 is the landmark itself."""

    mean: Tensor
    basis: Tensor

    def deform(self, shape: Tensor) -> Tensor:
        """(B, 50) -> (B, 17, K, 3)."""
        return self.mean + (self.basis.flatten(0, 2) @ shape.mT).mT.unflatten(1, self.mean.shape)

    def visible(self, deformed: Tensor, rotation: Tensor) -> Tensor:
        """deformed (B, 17, K, 3), rotation (B, 3, 3) -> (B, 17) the place of each landmark that is outermost in the image."""
        down = torch.nn.functional.normalize(rotation[:, :2, 1], dim=-1)  # of the head, in the image
        left = torch.stack([down[:, 1], -down[:, 0]], dim=-1)  # of the subject: where landmark 16 is
        side = torch.tensor([-1.0 if i < 8 else float(i > 8) for i in JAW], dtype=deformed.dtype)
        reach = torch.einsum("bjkc,bdc,bd->bjk", deformed, rotation[:, :2], left) * side[:, None]
        return reach.argmax(-1)


def contour_of(model: HeadModel) -> Contour:
    """Parallels on the mean head, interpolated between vertices of the face."""
    ids = np.flatnonzero(model.face_mask)
    angles = _around(model.vertices[ids])
    mesh = Delaunay(angles)
    weights = np.zeros((len(JAW), PLACES, 3))
    corners = np.tile(model.keypoints[list(JAW)][:, None, None], (1, PLACES, 3))
    weights[..., 0] = 1.0  # the landmark itself, unless there is better
    for landmark in JAW:
        start = model.keypoint_mean[landmark]
        if abs(start[0]) <= INNERMOST:
            continue
        own = _around(start[None])[0]
        path = np.stack([np.linspace(own[0], _innermost_angle(model, start), PLACES), np.full(PLACES, own[1])], axis=1)
        simplex = mesh.find_simplex(path)
        for place in np.flatnonzero(simplex >= 0)[0 if simplex[0] < 0 else 1 :]:
            affine = mesh.transform[simplex[place]]
            first = affine[:2] @ (path[place] - affine[2])
            weights[landmark, place] = [*first, 1.0 - first.sum()]
            corners[landmark, place] = ids[mesh.simplices[simplex[place]]]
    mean = np.einsum("jkw,jkwc->jkc", weights, model.vertices[corners])
    basis = np.einsum("jkw,njkwc->jkcn", weights, model.basis[:, corners])
    return Contour(torch.from_numpy(mean), torch.from_numpy(np.ascontiguousarray(basis)))


def _around(points: np.ndarray) -> np.ndarray:
    """(N, 3) -> (N, 2): angle about the upright axis, 0 in front, and height."""
    return np.stack([np.arctan2(points[:, 0], AXIS_DEPTH - points[:, 2]), points[:, 1]], axis=1)


def _innermost_angle(model: HeadModel, start: np.ndarray) -> float:
    """Where the parallel of a jaw landmark ends: at INNERMOST, on the surface at that height."""
    v = model.vertices[model.face_mask]
    near = v[(np.abs(v[:, 1] - start[1]) < 0.06) & (np.abs(np.abs(v[:, 0]) - INNERMOST) < 0.08)]
    depth = np.median(near[:, 2]) if len(near) else start[2]
    return float(np.arctan2(np.sign(start[0]) * INNERMOST, AXIS_DEPTH - depth))
