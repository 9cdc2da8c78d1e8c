"""Frames as callers have them -> uint8, grey or RGB."""

import numpy as np

from trackertraincode.errors import UserError
from trackertraincode.sample.images import reduce_depth

AS_THEY_ARE = ("L", "RGB", "RGBA", "I", "I;16", "F")  # Pillow's modes that are grey or RGB


def as_frame(frame: np.ndarray) -> np.ndarray:
    """An image of any usual kind -> (H, W) grey or (H, W, 3) RGB uint8; the same object where it is that already.

    One or three channels may come first; a fourth one (alpha) is dropped, a single one is grey. Integers above 255 are
    scaled by the bit depth that holds them, floats in 0…1 by 255. Images of Pillow may have any mode, tensors of torch any
    device.
    Raises UserError, naming type and shape, for all else.
    """
    mode = getattr(frame, "mode", "RGB")  # of Pillow's images, whose numbers may be no brightness
    if mode not in AS_THEY_ARE and hasattr(frame, "convert"):
        frame = frame.convert("RGB")
    if hasattr(frame, "detach"):  # torch's tensors, wherever they are
        frame = frame.detach().cpu()
    if isinstance(frame, np.ndarray) and frame.dtype == np.uint8 and frame.shape[2:] in ((), (3,)) and frame.ndim > 1:
        image = frame
    else:
        image = _as_uint8(_channels_last(np.asarray(frame)))
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
    if not (low >= 0 and high <= (1 if is_float else 65_535)):  # NaN is refused, too
        raise _refused(image, f"its values lie in {low:g}…{high:g}")
    return np.ascontiguousarray(np.round(image * 255.0).astype(np.uint8) if is_float else reduce_depth(image))


def _refused(image: np.ndarray, reason: str) -> UserError:
    return UserError(
        f"frame is {image.dtype} {image.shape}, and {reason}; give (H, W) grey or (H, W, 3) RGB as uint8, uint16, or "
        "float in 0…1 (None is a camera without an image)."
    )
