"""JPEG and PNG bytes <-> arrays. Only the first bytes decide what a file is."""

import struct
from typing import Literal, NamedTuple

import cv2
import numpy as np

from trackertraincode.errors import UserError

cv2.setNumThreads(0)  # the parallelism of this project is one process per core


class Size(NamedTuple):
    """Picture size in pixels."""

    width: int
    height: int


class ImageDecodeError(UserError):
    """Bytes that should be a JPEG or PNG file aren't, or are damaged."""


def sniff(data: bytes | np.ndarray) -> Literal["jpeg", "png"] | None:
    """What kind of picture file these bytes begin, None when neither."""
    head = bytes(data[:8])
    if head[:3] == b"\xff\xd8\xff":
        return "jpeg"
    if head == b"\x89PNG\r\n\x1a\n":
        return "png"
    return None


_REDUCED = {  # reduction -> OpenCV flags for grey and colour; scaling happens inside the JPEG decoder
    1: (cv2.IMREAD_GRAYSCALE, cv2.IMREAD_COLOR_RGB),
    2: (cv2.IMREAD_REDUCED_GRAYSCALE_2, cv2.IMREAD_REDUCED_COLOR_2),
    4: (cv2.IMREAD_REDUCED_GRAYSCALE_4, cv2.IMREAD_REDUCED_COLOR_4),
    8: (cv2.IMREAD_REDUCED_GRAYSCALE_8, cv2.IMREAD_REDUCED_COLOR_8),
}


def decode(data: bytes | np.ndarray, *, color: bool = False, reduce: Literal[1, 2, 4, 8] = 1) -> np.ndarray:
    """Picture file -> (H, W) grey or (H, W, 3) RGB uint8.

    `reduce` divides the size, rounded up; pixel i of the result is what lay between i · reduce and (i + 1) · reduce.
    JPEG files are reduced while they are decoded. The orientation tag is ignored, since labels count stored pixels.
    Raises ImageDecodeError when the bytes are no picture.
    """
    buffer = np.frombuffer(data, dtype=np.uint8) if isinstance(data, bytes) else data
    inside = reduce if sniff(buffer) == "jpeg" else 1  # other decoders would reduce to a rounded down size
    flags = _REDUCED[inside][color] | cv2.IMREAD_IGNORE_ORIENTATION
    image = cv2.imdecode(buffer, flags) if buffer.size else None
    if image is None:
        raise ImageDecodeError(f"{buffer.size} bytes, not a readable JPEG or PNG file")
    if color and inside > 1:
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return image if inside == reduce else _shrink(image, reduce)


def _shrink(image: np.ndarray, factor: int) -> np.ndarray:
    """Means over factor × factor pixels; the last row and column are repeated where the size is no multiple."""
    height, width = image.shape[:2]
    padded = cv2.copyMakeBorder(image, 0, -height % factor, 0, -width % factor, cv2.BORDER_REPLICATE)
    size = (padded.shape[1] // factor, padded.shape[0] // factor)
    return cv2.resize(padded, size, interpolation=cv2.INTER_AREA)


def decode_labels(data: bytes | np.ndarray) -> np.ndarray:
    """PNG file of a label image -> (H, W) uint8, values unchanged."""
    buffer = np.frombuffer(data, dtype=np.uint8) if isinstance(data, bytes) else data
    image = cv2.imdecode(buffer, cv2.IMREAD_UNCHANGED) if buffer.size else None
    if image is None or image.dtype != np.uint8:
        raise ImageDecodeError(f"{buffer.size} bytes, not a readable 8 bit label image")
    return image if image.ndim == 2 else np.ascontiguousarray(image[..., 0])


def encode_jpeg(image: np.ndarray, quality: int = 95) -> bytes:
    """(H, W) grey or (H, W, 3) RGB uint8 -> JPEG file."""
    return _encode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])


def encode_png(image: np.ndarray) -> bytes:
    """(H, W) or (H, W, 3) RGB uint8 -> PNG file."""
    return _encode(".png", image, [])


def _encode(extension: str, image: np.ndarray, parameters: list[int]) -> bytes:
    ordered = image if image.ndim == 2 else cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(extension, ordered, parameters)
    assert done, f"cv2.imencode refused an array of {image.shape}, {image.dtype}"
    return data.tobytes()


def image_size(data: bytes | np.ndarray) -> Size:
    """Width and height from the header alone. Raises ImageDecodeError when there is none."""
    data = bytes(data)
    kind = sniff(data)
    if kind == "png" and len(data) >= 24:
        return Size(*struct.unpack(">II", data[16:24]))
    if kind == "jpeg":
        return _jpeg_size(data)
    raise ImageDecodeError(f"{len(data)} bytes, not a JPEG or PNG file")


def _jpeg_size(data: bytes) -> Size:
    """Walk the markers up to the frame header (ITU-T T.81, B.2.2)."""
    position = 2
    while position + 9 <= len(data):
        if data[position] != 0xFF:
            break
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
        elif marker == 0x01 or 0xD0 <= marker <= 0xD7:  # markers without a length
            position += 2
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[position + 5 : position + 9])
            return Size(width, height)
        else:
            position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    raise ImageDecodeError(f"{len(data)} bytes of JPEG without a frame header")
