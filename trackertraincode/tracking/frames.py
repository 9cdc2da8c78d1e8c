"""Frames as callers have them -> uint8, grey or RGB."""

from typing import Any

import numpy as np

from trackertraincode.errors import UserError
from trackertraincode.sample.images import reduce_depth

AS_THEY_ARE = ("L", "RGB", "RGBA", "I", "I;16", "I;16L", "I;16B", "F")  # Pillow's modes that are grey or RGB
_EXPECTED = "give (H, W) grey or (H, W, 3) RGB as uint8, uint16, or float in 0…1 (None is a camera without an image)."
ROUNDING = 1e-3  # beyond 0 and 1, as resized images are


def as_frame(frame: Any) -> np.ndarray:
    """An image of any usual kind -> (H, W) grey or (H, W, 3) RGB uint8; the same object where it is that already.

    One or three channels may come first; a fourth one (alpha) is dropped, a single one is grey. Integers above 255 are
    scaled by the bit depth that holds them, floats in 0…1 by 255. Images of Pillow may have any mode, and are turned upright
    as their orientation tags say; tensors of torch may lie on any device.
    Raises UserError, naming type and shape, for all else.
    """
    if hasattr(frame, "getexif"):  # Pillow's
        from PIL import ImageOps

        upright = ImageOps.exif_transpose(frame)
        frame = upright if upright.mode in AS_THEY_ARE else upright.convert("RGB")  # others' numbers are no brightness
    if hasattr(frame, "detach"):  # torch's tensors, wherever they are
        frame = frame.detach().cpu()
        frame = frame.float() if frame.is_floating_point() else frame  # NumPy has no bfloat16
    if isinstance(frame, np.ndarray) and frame.dtype == np.uint8 and frame.shape[2:] in ((), (3,)) and frame.ndim > 1:
        image = frame
    else:
        try:
            array = np.asarray(frame)
        except (TypeError, ValueError) as error:
            raise UserError(f"frame is {type(frame).__name__}, and no array ({error}); {_EXPECTED}") from None
        image = _as_uint8(_channels_last(array))
    if image.size == 0:
        raise _refused(image, "it is empty")
    return image


def _channels_last(image: np.ndarray) -> np.ndarray:
    """(H, W), (H, W, 1 | 3 | 4) or (1 | 3, H, W) -> (H, W) or (H, W, 3)."""
    if image.ndim == 2:
        return image
    if image.ndim != 3:
        raise _refused(image, "it isn't an image")
    if image.shape[2] not in (1, 3, 4) and image.shape[0] in (1, 3):
        image = image.transpose(1, 2, 0)
    if image.shape[2] not in (1, 3, 4):
        raise _refused(image, "it has neither 1 nor 3 channels")
    return image[..., 0] if image.shape[2] == 1 else image[..., :3]


def _as_uint8(image: np.ndarray) -> np.ndarray:
    """Numbers of any type -> (the same shape) uint8, contiguous."""
    if image.dtype.kind not in "uif":
        raise _refused(image, "these aren't grey levels")
    if image.size == 0:
        return image
    low, high = float(image.min()), float(image.max())
    is_float = image.dtype.kind == "f"
    least, most = (-ROUNDING, 1 + ROUNDING) if is_float else (0, 65_535)
    if not (low >= least and high <= most):  # NaN is refused, too
        raise _refused(image, f"its values lie in {low:g}…{high:g}")
    whole = np.round(image.clip(0, 1) * 255.0).astype(np.uint8) if is_float else reduce_depth(image)
    return np.ascontiguousarray(whole)


def _refused(image: np.ndarray, reason: str) -> UserError:
    return UserError(f"frame is {image.dtype} {image.shape}, and {reason}; {_EXPECTED}")
