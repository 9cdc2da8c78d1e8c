"""Calibration files of cameras, as OpenCV and ROS write them, or with plain names.

lens.yml --read_calibration--> Calibration --for_frames--> Lens of frames of that size
"""

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2

from trackertraincode.errors import UserError
from trackertraincode.geometry.pixels import HALF_PIXEL
from trackertraincode.tracking.camera import Camera, FieldOfView, Lens, Optics
from trackertraincode.tracking.sources import quiet_opencv

FOCAL = ("fx", "fy", "cx", "cy")
MATRICES = ("camera_matrix", "cameraMatrix", "Camera_Matrix", "K")  # the nine numbers of a 3 × 3 matrix
DISTORTIONS = (
    "distortion", "distortion_coefficients", "Distortion_Coefficients", "distCoeffs", "dist_coeffs", "dist_coeff", "D"
)  # fmt: skip
LIKE_DISTORTION = re.compile(r"dist\w*|k[1-6]|p[12]", re.IGNORECASE)  # names that may mean it, and aren't known
NOT_DISTORTION = ("distortion_model",)
SIZES = ("image_size",)  # width and height
WIDTHS, HEIGHTS = ("image_width", "image_Width", "width"), ("image_height", "image_Height", "height")
FISHEYES = ("equidistant", "fisheye")  # of ROS' names of models
COUNTS = (0, 4, 5, 8, 12, 14)  # of distortion coefficients that OpenCV's model has
OFF_CENTRE = 0.2  # of the edge: farther from the middle of its images no camera has its centre
SAME_ASPECT = 0.01  # of width over height: as near as two sizes of one sensor are
EXAMPLE = (
    '{"fx": 600, "fy": 600, "cx": 320, "cy": 240, "distortion": [k1, k2, p1, p2, k3], "width": 640, "height": 480}'
)


@dataclass(frozen=True)
class Calibration:
    """A calibrated camera at one size of its images."""

    path: Path
    lens: Lens
    size: tuple[int, int] | None = None  # width, height of the images that it was calibrated with, where the file says

    def camera(self, frame: tuple[int, int], view: tuple[int, int], corner: tuple[int, int]) -> Camera:
        """See `Optics`; raises UserError as `for_frames` does."""
        return self.for_frames(*frame)

    @lru_cache(maxsize=8)  # noqa: B019 frames of a source have few sizes
    def for_frames(self, width: int, height: int) -> Lens:
        """The lens of frames of this size. Raises UserError when they can't be of this camera."""
        fx, fy, cx, cy = self.lens.matrix
        if self.size is None:
            if max(abs(cx / width - 0.5), abs(cy / height - 0.5)) > OFF_CENTRE:
                raise UserError(
                    f"{self.path}: its centre {cx:g}, {cy:g} isn't near the middle of frames of {width} × {height} pixels; "
                    "give a calibration of this size, or one that tells the width and height of its images."
                )
            return self.lens
        x, y = width / self.size[0], height / self.size[1]
        if abs(x / y - 1) > SAME_ASPECT:
            raise UserError(
                f"{self.path}: is of images of {self.size[0]} × {self.size[1]} pixels, and the frames have {width} × "
                f"{height}, another shape; calibrate the camera at that size."
            )
        cx, cy = (cx + HALF_PIXEL) * x - HALF_PIXEL, (cy + HALF_PIXEL) * y - HALF_PIXEL
        return Lens((fx * x, fy * y, cx, cy), self.lens.distortion)


def optics_of(diagonal_fov_deg: float, lens: str | Path | None) -> Optics:
    """Those of a calibration file, or without one those of a field of view. Raises ConfigError, UserError."""
    return FieldOfView.of_degrees(diagonal_fov_deg) if lens is None else read_calibration(Path(lens))


def read_calibration(path: Path) -> Calibration:
    """Of a YAML, XML or JSON file. Raises UserError, naming file and field, for what isn't a calibration."""
    values = _read(path)
    if values.get("distortion_model") in FISHEYES:
        raise UserError(f"{path}: is of a fisheye lens; only OpenCV's usual model is known, so calibrate with that.")
    known = (*DISTORTIONS, *NOT_DISTORTION)
    if strange := [name for name in values if LIKE_DISTORTION.fullmatch(name) and name not in known]:
        raise UserError(
            f"{path}: field '{strange[0]}' isn't known; give distortion as '{DISTORTIONS[0]}': [k1, k2, p1, p2, k3]."
        )
    matrix = _numbers(path, values, MATRICES, (9,))
    if matrix is not None:
        focal = (matrix[0], matrix[4], matrix[2], matrix[5])
    else:
        found = [_numbers(path, values, (name,), (1,)) for name in FOCAL]
        missing = [name for name, value in zip(FOCAL, found) if value is None]
        if missing:
            raise UserError(
                f"{path}: has neither camera_matrix nor {', '.join(missing)}; give OpenCV's calibration, or {EXAMPLE}."
            )
        fx, fy, cx, cy = (value[0] for value in found if value is not None)
        focal = fx, fy, cx, cy
    if min(focal[:2]) <= 0:
        raise UserError(f"{path}: its focal lengths are {focal[0]:g} and {focal[1]:g} pixels, expected more than 0.")
    distortion = _numbers(path, values, DISTORTIONS, COUNTS) or ()
    sides = [_numbers(path, values, names, (1,)) for names in (WIDTHS, HEIGHTS)]
    whole = _numbers(path, values, SIZES, (2,)) or ()
    size = None
    whole = whole or tuple(side[0] for side in sides if side)
    if len(whole) == 2:
        width, height = whole
        size = round(width), round(height)
        if min(size) < 1:
            raise UserError(f"{path}: its images have {size[0]} × {size[1]} pixels, expected at least 1 × 1.")
    return Calibration(path, Lens(focal, distortion), size)


def _read(path: Path) -> dict[str, list[float] | str]:
    """Name -> numbers, or text, of the entries of a file."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; give the calibration of your camera.")
    try:
        with quiet_opencv():
            text = path.read_text(encoding="utf-8-sig")  # without the mark that Windows' editors begin files with
            storage = cv2.FileStorage(text, cv2.FILE_STORAGE_READ | cv2.FILE_STORAGE_MEMORY)
            try:
                root = storage.root()
                return {name: _value(root.getNode(name)) for name in root.keys()}  # noqa: SIM118 it isn't a mapping
            finally:
                storage.release()
    except (cv2.error, SystemError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path}: can't be read as YAML, XML or JSON; give OpenCV's calibration, or {EXAMPLE}."
        ) from error


def _value(node: cv2.FileNode) -> list[float] | str:
    return node.string() if node.isString() else _flat(node.getNode("data") if node.isMap() else node)


def _flat(node: cv2.FileNode) -> list[float]:
    """All numbers of a value, of a list, or of a list of rows; NaN for what isn't one."""
    if node.isSeq():
        return [value for i in range(node.size()) for value in _flat(node.at(i))]
    return [node.real() if node.isInt() or node.isReal() else math.nan]


def _numbers(
    path: Path, values: dict[str, list[float] | str], names: tuple[str, ...], counts: tuple[int, ...]
) -> tuple[float, ...] | None:
    """What stands under one of the names; None where there is nothing."""
    name = next((name for name in names if name in values), None)
    if name is None:
        return None
    found = values[name]
    if isinstance(found, str) or not all(map(math.isfinite, found)) or len(found) not in counts:
        what = repr(found[:20]) if isinstance(found, str) else f"{len(found)} values, {[f'{v:g}' for v in found[:4]]}"
        wanted = " or ".join(map(str, counts))
        raise UserError(f"{path}: field '{name}' is {what}; expected {wanted} finite number{'s' * (counts != (1,))}.")
    return tuple(found)
