"""Every data set's angle convention, and nothing else has signs.

Frame: X right, Y down, Z into the screen, identity = looking into the camera. So turning about +X looks down, about +Y
looks to the image's left, about +Z tilts clockwise as seen. Angles are radians, in the order the data set reports them.

    to_matrix:  angles (..., 3) -> (..., 3, 3)        matrix_to: (..., 3, 3) -> angles (..., 3)
"""

import torch
from torch import Tensor

from trackertraincode.geometry.constants import constant

_GIMBAL = 1e-6  # cosine of the middle angle under which the outer axes coincide


def axis_rotation(axis: int, angle: Tensor) -> Tensor:
    """Turn about coordinate axis 0, 1 or 2 by (...,) radians -> (..., 3, 3), right-handed."""
    zero, one = torch.zeros_like(angle), torch.ones_like(angle)
    c, s = torch.cos(angle), torch.sin(angle)
    rows = {
        0: [one, zero, zero, zero, c, -s, zero, s, c],
        1: [c, zero, s, zero, one, zero, -s, zero, c],
        2: [c, -s, zero, s, c, zero, zero, zero, one],
    }[axis]
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def intrinsic_xyz_to_matrix(angles: Tensor) -> Tensor:
    """(..., 3) radians -> (..., 3, 3): Rx(a) Ry(b) Rz(c), scipy's "XYZ"."""
    a, b, c = angles.unbind(-1)
    return axis_rotation(0, a) @ axis_rotation(1, b) @ axis_rotation(2, c)


def matrix_to_intrinsic_xyz(R: Tensor) -> Tensor:
    """(..., 3, 3) -> (..., 3) radians, the inverse with |b| <= 90 degrees; at the gimbal lock c is 0, as in scipy."""
    cosine = torch.hypot(R[..., 0, 0], R[..., 0, 1])
    locked = cosine < _GIMBAL
    a = torch.where(locked, torch.atan2(R[..., 2, 1], R[..., 1, 1]), torch.atan2(-R[..., 1, 2], R[..., 2, 2]))
    c = torch.where(locked, torch.zeros_like(a), torch.atan2(-R[..., 0, 1], R[..., 0, 0]))
    return torch.stack([a, torch.atan2(R[..., 0, 2], cosine), c], dim=-1)


def extrinsic_xyz_to_matrix(angles: Tensor) -> Tensor:
    """(..., 3) radians -> (..., 3, 3): Rz(c) Ry(b) Rx(a), scipy's "xyz"."""
    return intrinsic_xyz_to_matrix(-angles).transpose(-1, -2)


def matrix_to_extrinsic_xyz(R: Tensor) -> Tensor:
    """(..., 3, 3) -> (..., 3), inverse of `extrinsic_xyz_to_matrix`."""
    return -matrix_to_intrinsic_xyz(R.transpose(-1, -2))


def _signs(angles: Tensor, *signs: float) -> Tensor:
    return angles * constant(signs, angles.device, angles.dtype)


def aflw_to_matrix(pitch_yaw_roll: Tensor) -> Tensor:
    """`Pose_Para` of 300W-LP and AFLW2000-3D, (..., 3) radians -> (..., 3, 3).

    Intrinsic XYZ of (pitch, -yaw, roll), conjugated with diag(1, 1, -1). The conjugation, which turns their left-handed
    frame into ours, negates the angles about x and y.
    """
    return intrinsic_xyz_to_matrix(_signs(pitch_yaw_roll, -1.0, 1.0, 1.0))


def matrix_to_aflw(R: Tensor) -> Tensor:
    """(..., 3, 3) -> (..., 3) radians: pitch, yaw, roll as evaluation protocols report them; inverse of `aflw_to_matrix`."""
    return _signs(matrix_to_intrinsic_xyz(R), -1.0, 1.0, 1.0)


def biwi_to_matrix(pitch_yaw_roll: Tensor) -> Tensor:
    """The BIWI Kinect database's binary poses, (..., 3) radians -> (..., 3, 3).

    Rz(roll) Ry(yaw) Rx(pitch), in its depth camera's frame (ours).
    """
    return extrinsic_xyz_to_matrix(pitch_yaw_roll)


def matrix_to_biwi(R: Tensor) -> Tensor:
    """(..., 3, 3) -> (..., 3), inverse of `biwi_to_matrix`."""
    return matrix_to_extrinsic_xyz(R)


def fsanet_biwi_to_matrix(yaw_pitch_roll: Tensor) -> Tensor:
    """FSA-Net's `BIWI_done.npz`, (..., 3) radians -> (..., 3, 3).

    They are angles of the transposed rotation, Rᵀ = Rz(-roll) Ry(-yaw) Rx(pitch).
    """
    pitch_yaw_roll = _signs(yaw_pitch_roll[..., [1, 0, 2]], 1.0, -1.0, -1.0)
    return extrinsic_xyz_to_matrix(pitch_yaw_roll).transpose(-1, -2)


def matrix_to_fsanet_biwi(R: Tensor) -> Tensor:
    """(..., 3, 3) -> (..., 3), inverse of `fsanet_biwi_to_matrix`."""
    return _signs(matrix_to_extrinsic_xyz(R.transpose(-1, -2)), 1.0, -1.0, -1.0)[..., [1, 0, 2]]


def pointing04_to_matrix(tilt_pan: Tensor) -> Tensor:
    """INRIA Pointing'04, (..., 2) radians -> (..., 3, 3): AFLW's pitch and yaw without roll.

    Looking up and to the person's own right are positive.
    The database says only "bottom/top" and "left/right"; the sign of pan is that of nose offsets in its images.
    """
    return aflw_to_matrix(torch.cat([tilt_pan, torch.zeros_like(tilt_pan[..., :1])], dim=-1))


def matrix_to_pointing04(R: Tensor) -> Tensor:
    """(..., 3, 3) -> (..., 2) radians: tilt and pan; inverse of `pointing04_to_matrix` where there is no roll."""
    return matrix_to_aflw(R)[..., :2]


def sixdrepnet_to_matrix(R: Tensor) -> Tensor:
    """Convention bridge to 6DRepNet's matrices and back, (..., 3, 3): S Rᵀ S with S = diag(1, -1, -1)."""
    s = constant((1.0, -1.0, -1.0), R.device, R.dtype)
    return s[:, None] * R.transpose(-1, -2) * s
