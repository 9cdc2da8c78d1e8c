"""Rotations as unit quaternions, matrices, 6-D vectors and rotation vectors.

    6-D --sixd_*_to_matrix--> matrix <--quat_to_matrix / matrix_to_quat--> quaternion <--> rotation vector

Quaternions are (..., 4) in the order i, j, k, w (real part last, like scipy). All functions work on any leading
dimensions, keep dtype and device, and are differentiable unless their docstring says otherwise.
"""

import torch
from torch import Tensor

MIN_NORM = 1e-12  # below this a vector has no direction; keeps divisions finite in float32


def quat_normalize(q: Tensor) -> Tensor:
    """(..., 4) -> unit length; the zero quaternion stays zero, with a finite gradient."""
    return q / _safe_norm(q)


def quat_positive_real(q: Tensor) -> Tensor:
    """(..., 4) -> the same rotation with w >= 0."""
    return torch.where(q[..., 3:] < 0, -q, q)


def quat_conjugate(q: Tensor) -> Tensor:
    """(..., 4) unit -> the inverse rotation."""
    return torch.cat([-q[..., :3], q[..., 3:]], dim=-1)


def quat_multiply(a: Tensor, b: Tensor) -> Tensor:
    """Hamilton product (..., 4): first rotate by b, then by a."""
    av, aw = a[..., :3], a[..., 3:]
    bv, bw = b[..., :3], b[..., 3:]
    av, bv = torch.broadcast_tensors(av, bv)
    vector = aw * bv + bw * av + torch.linalg.cross(av, bv)
    real = aw * bw - (av * bv).sum(-1, keepdim=True)
    return torch.cat([vector, real], dim=-1)


def quat_rotate(q: Tensor, v: Tensor) -> Tensor:
    """Turn vectors (..., 3) by unit quaternions (..., 4)."""
    u, v = torch.broadcast_tensors(q[..., :3], v)
    t = 2.0 * torch.linalg.cross(u, v)
    return v + q[..., 3:] * t + torch.linalg.cross(u, t)


def quat_to_matrix(q: Tensor) -> Tensor:
    """(..., 4) unit -> (..., 3, 3)."""
    i, j, k, w = q.unbind(-1)
    rows = [
        1 - 2 * (j * j + k * k), 2 * (i * j - k * w), 2 * (i * k + j * w),
        2 * (i * j + k * w), 1 - 2 * (i * i + k * k), 2 * (j * k - i * w),
        2 * (i * k - j * w), 2 * (j * k + i * w), 1 - 2 * (i * i + j * j),
    ]  # fmt: skip
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def matrix_to_quat(R: Tensor) -> Tensor:
    """(..., 3, 3) -> (..., 4) unit, w >= 0.

    All four branches of Shepperd's method are built and the best conditioned is taken, so the result and its gradient
    are exact for every angle, 180 degrees included.
    """
    m = R.flatten(-2)
    m00, m01, m02, m10, m11, m12, m20, m21, m22 = m.unbind(-1)
    # Rows: 4 * component * (i, j, k, w) for component = i, j, k, w.
    candidates = torch.stack(
        [
            torch.stack([1 + m00 - m11 - m22, m01 + m10, m02 + m20, m21 - m12], dim=-1),
            torch.stack([m01 + m10, 1 - m00 + m11 - m22, m12 + m21, m02 - m20], dim=-1),
            torch.stack([m02 + m20, m12 + m21, 1 - m00 - m11 + m22, m10 - m01], dim=-1),
            torch.stack([m21 - m12, m02 - m20, m10 - m01, 1 + m00 + m11 + m22], dim=-1),
        ],
        dim=-2,
    )
    best = candidates.detach().diagonal(dim1=-2, dim2=-1).argmax(-1)
    index = best[..., None, None].expand(*best.shape, 1, 4)
    return quat_positive_real(quat_normalize(candidates.gather(-2, index).squeeze(-2)))


def rotvec_to_quat(v: Tensor) -> Tensor:
    """(..., 3) rotation vector, radians -> (..., 4) unit; exact and differentiable at 0."""
    half = 0.5 * _safe_norm(v)
    # sin(h) / (2 h) by sinc, whose value and gradient at 0 are exact.
    factor = 0.5 * torch.sinc(half / torch.pi)
    return torch.cat([v * factor, torch.cos(half)], dim=-1)


def quat_to_rotvec(q: Tensor) -> Tensor:
    """(..., 4) unit -> (..., 3) rotation vector of at most pi radians."""
    q = quat_positive_real(q)
    vector, real = q[..., :3], q[..., 3:]
    sine = _safe_norm(vector)
    small = sine < 1e-4
    safe = torch.where(small, torch.ones_like(sine), sine)
    angle = 2.0 * torch.atan2(safe, torch.where(small, torch.ones_like(real), real))
    series = 2.0 / real.clamp_min(0.5) * (1.0 - (sine / real.clamp_min(0.5)).square() / 3.0)  # atan(s/w) / s
    return vector * torch.where(small, series, angle / safe)


def rotvec_to_matrix(v: Tensor) -> Tensor:
    """(..., 3) radians -> (..., 3, 3)."""
    return quat_to_matrix(rotvec_to_quat(v))


def matrix_to_rotvec(R: Tensor) -> Tensor:
    """(..., 3, 3) -> (..., 3) radians, at most pi long."""
    return quat_to_rotvec(matrix_to_quat(R))


def sixd_rows_to_matrix(x: Tensor) -> Tensor:
    """OpNet's six numbers (..., 6): the matrix' first two rows before orthonormalisation. z = x × y, y = z × x."""
    first, second = x[..., :3], x[..., 3:]
    ex = first / _safe_norm(first)
    ez = torch.linalg.cross(ex, second)
    ez = ez / _safe_norm(ez)
    ey = torch.linalg.cross(ez, ex)
    return torch.stack([ex, ey, ez], dim=-2)


def sixd_columns_to_matrix(x: Tensor) -> Tensor:
    """6DRepNet's six numbers (..., 6): the first two columns (Zhou et al., arXiv 1812.07035)."""
    return sixd_rows_to_matrix(x).transpose(-1, -2)


def matrix_to_sixd_rows(R: Tensor) -> Tensor:
    """(..., 3, 3) -> (..., 6), the inverse of `sixd_rows_to_matrix`."""
    return R[..., :2, :].flatten(-2)


def geodesic_angle(a: Tensor, b: Tensor) -> Tensor:
    """Angle between rotations (..., 3, 3), radians in [0, pi]; exact at 0 and pi, where its gradient is 0."""
    relative = a.transpose(-1, -2) @ b
    skew = relative - relative.transpose(-1, -2)
    # |(R - R^T)| = 2 sqrt(2) sin, trace - 1 = 2 cos.
    sine = _norm_with_zero_gradient(torch.stack([skew[..., 2, 1], skew[..., 0, 2], skew[..., 1, 0]], dim=-1)) / 2
    cosine = (relative.diagonal(dim1=-2, dim2=-1).sum(-1) - 1.0) / 2
    return torch.atan2(sine, cosine)


def quat_geodesic_angle(a: Tensor, b: Tensor) -> Tensor:
    """Angle between unit quaternions (..., 4), radians in [0, pi]; q and -q are the same rotation."""
    relative = quat_multiply(quat_conjugate(a), b)
    return 2.0 * torch.atan2(_norm_with_zero_gradient(relative[..., :3]), relative[..., 3].abs())


def mean_rotation(R: Tensor) -> Tensor:
    """Intrinsic (Karcher) mean of (..., N, 3, 3) -> (..., 3, 3): the sum of squared angles is smallest.

    Starts from the chordal mean; unique where the rotations lie within 90 degrees of it. Not differentiable.
    """
    with torch.no_grad():
        u, _, vh = torch.linalg.svd(R.mean(-3))
        sign = torch.ones_like(u[..., 0])
        sign[..., 2] = torch.linalg.det(u @ vh)
        mean = (u * sign[..., None, :]) @ vh
        for _ in range(20):
            step = matrix_to_rotvec(mean.transpose(-1, -2)[..., None, :, :] @ R).mean(-2)
            mean = mean @ rotvec_to_matrix(step)
    return mean


def random_quats(count: int, generator: torch.Generator | None = None) -> Tensor:
    """(count, 4) uniformly distributed rotations, float32."""
    return quat_normalize(torch.randn(count, 4, generator=generator))


def in_plane_quat(cosine: Tensor, sine: Tensor) -> Tensor:
    """Turn about the viewing axis -> (..., 4). Positive turns image x towards image y: clockwise as seen.

    cosine, sine: (...,) of the angle; they may have a factor in common. No arc tangent of them: torch's differs in the last
    bit with the place of an element in its tensor.
    """
    length = torch.sqrt(cosine * cosine + sine * sine)
    cosine, sine = cosine / length, sine / length
    larger = torch.sqrt((1.0 + cosine.abs()) / 2.0)
    smaller = sine.abs() / (2.0 * larger)
    ahead = cosine >= 0
    z, zero = torch.where(ahead, smaller, larger), torch.zeros_like(cosine)
    return torch.stack([zero, zero, torch.where(sine < 0, -z, z), torch.where(ahead, larger, smaller)], dim=-1)


def _safe_norm(v: Tensor) -> Tensor:
    """(..., n) -> (..., 1): length with a kept last dimension, never below MIN_NORM, with a finite gradient everywhere."""
    return v.square().sum(-1, keepdim=True).clamp_min(MIN_NORM**2).sqrt()


def _norm_with_zero_gradient(v: Tensor) -> Tensor:
    """Length (...,), exactly 0 at 0 and with gradient 0 there."""
    squared = v.square().sum(-1)
    positive = squared > 0
    return torch.where(positive, torch.where(positive, squared, torch.ones_like(squared)).sqrt(), squared)
