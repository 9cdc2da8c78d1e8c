"""BIWI as FSA-Net's authors publish it: `BIWI_done.npz` with face crops and angles.

image (N, 64, 64, 3) uint8 BGR      pose (N, 3) yaw, pitch, roll; degrees

The crops have no record of person, sequence or place in the frame: a face box is its whole image.
"""

import zipfile
from dataclasses import dataclass
from functools import cache, partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from trackertraincode.conversion.npzfile import read_header, reporting
from trackertraincode.conversion.run import Source
from trackertraincode.errors import ArchiveError
from trackertraincode.geometry.euler import fsanet_biwi_to_matrix
from trackertraincode.geometry.rotation import matrix_to_quat
from trackertraincode.sample.images import encode_png
from trackertraincode.sample.sample import Sample

IMAGES = "image.npy"  # of the zip file
ROWS_PER_ITEM = 256
MAX_BYTES = 512 * 2**20  # of one array


@dataclass(frozen=True)
class Rows:
    """A range of rows."""

    first: int
    count: int

    def __str__(self) -> str:
        return f"rows {self.first} to {self.first + self.count - 1}"


@dataclass(frozen=True)
class Header:
    """Shape and place of an array in its member."""

    shape: tuple[int, ...]
    dtype: np.dtype
    offset: int  # bytes
    size: int  # bytes of the member


def is_fsanet(path: Path) -> bool:
    """Whether the source is such a file."""
    return path.suffix.lower() == ".npz"


def make_source(path: Path) -> Source:
    """Check the whole file. Raises ArchiveError when it is missing, damaged or something else."""
    if not path.is_file():
        raise ArchiveError(f"{path}: no such file; check the path.")
    with reporting(path), zipfile.ZipFile(path) as archive:
        for name in ("image.npy", "pose.npy"):
            if name not in archive.namelist():
                found = ", ".join(archive.namelist()) or "none"
                raise ArchiveError(f"{path}: array '{name[:-4]}' is missing (found: {found}); expected image and pose.")
            if archive.getinfo(name).file_size > MAX_BYTES:
                size = archive.getinfo(name).file_size >> 20
                raise ArchiveError(f"{path}: array '{name[:-4]}' unpacks to {size} MB, which it never does; refused.")
        damaged = archive.testzip()  # reading single rows later can't notice flipped bits
        if damaged is not None:
            raise ArchiveError(f"{path}: array '{damaged[:-4]}' is damaged; download the file again.")
    images, poses = _header(path), _read_poses(path)
    if images.shape[1:] != (64, 64, 3) or images.dtype != np.uint8 or len(images.shape) != 4:
        raise ArchiveError(f"{path}: 'image' has {images.dtype} {images.shape}, expected uint8 (N, 64, 64, 3).")
    if images.offset + int(np.prod(images.shape, dtype=np.float64)) != images.size:
        raise ArchiveError(f"{path}: 'image' has {images.size - images.offset} bytes, which don't make {images.shape}.")
    if len(poses) != images.shape[0]:
        raise ArchiveError(f"{path}: {images.shape[0]} images, but {len(poses)} poses.")
    bad = np.flatnonzero(~_are_angles(poses)).tolist()  # an item each, so that no other row is skipped with them
    ends = sorted({*range(0, len(poses), ROWS_PER_ITEM), len(poses), *bad, *(row + 1 for row in bad)})
    items = [Rows(first, after - first) for first, after in pairwise(ends)]
    return Source(items=items, convert=partial(convert_rows, path))


def convert_rows(path: Path, rows: Rows) -> list[Sample]:
    """Some rows -> one sample each. Raises ArchiveError naming the file and the row."""
    poses = _read_poses(path)[rows.first : rows.first + rows.count]
    header = _header(path)
    row_bytes = int(np.prod(header.shape[1:]))
    with reporting(path), zipfile.ZipFile(path) as archive, archive.open(IMAGES) as member:
        member.seek(header.offset + rows.first * row_bytes)
        data = member.read(rows.count * row_bytes)
    images = np.frombuffer(data, np.uint8).reshape(rows.count, *header.shape[1:])
    for row in np.flatnonzero(~_are_angles(poses)):
        found = poses[row].tolist()
        raise ArchiveError(f"{path}: 'pose', row {rows.first + row} is {found}, expected yaw, pitch, roll in degrees.")
    quats = matrix_to_quat(fsanet_biwi_to_matrix(torch.deg2rad(torch.from_numpy(poses)))).numpy()
    edge = float(header.shape[1])
    return [
        Sample(
            image=encode_png(np.ascontiguousarray(image[..., ::-1])),
            name=f"{path.name} row {row}",
            rotation=quat,
            face_box=np.array([0.0, 0.0, edge, edge]),
        )
        for row, (image, quat) in enumerate(zip(images, quats), rows.first)
    ]


def _are_angles(poses: np.ndarray) -> np.ndarray:
    """(N, 3) -> (N,) bool."""
    return np.isfinite(poses).all(-1) & (np.abs(poses) <= 180).all(-1)


@cache
def _header(path: Path) -> Header:
    """Of the images. Raises ArchiveError when they aren't a plain array in C order."""
    with reporting(path), zipfile.ZipFile(path) as archive, archive.open(IMAGES) as member:
        shape, fortran_order, dtype = read_header(member)
        if fortran_order or dtype.hasobject:
            raise ArchiveError(f"{path}: array 'image' isn't a plain array in C order.")
        return Header(shape, dtype, member.tell(), archive.getinfo(IMAGES).file_size)


@cache
def _read_poses(path: Path) -> np.ndarray:
    """(N, 3) float64, degrees."""
    with reporting(path), np.load(path, allow_pickle=False) as arrays:
        poses = arrays["pose"]
    if poses.ndim != 2 or poses.shape[1] != 3 or poses.dtype.kind not in "fiu":
        raise ArchiveError(f"{path}: 'pose' has {poses.dtype} {poses.shape}, expected numbers (N, 3).")
    return poses.astype(np.float64)
