"""JPEG and PNG bytes <-> arrays. Only the first bytes decide what a file is; `check_image` says whether it is whole."""

import struct
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import numpy as np

from trackertraincode.errors import UserError
from trackertraincode.sample import jpeg, png
from trackertraincode.sample.orientation import orientation, turned
from trackertraincode.signatures import begins, kind_of

MAX_PIXELS = 2**30  # OpenCV's own limit; headers of a few bytes can claim more
LARGE, MAX_RATIO = 2**26, 64  # pixels of which cameras' images have bytes for, and pixels per byte above that
IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".png", ".jpe", ".jfif")
ALSO_DECODED = (".webp", ".bmp", ".tif", ".tiff")  # by OpenCV; files of samples don't hold them
OTHER_IMAGES = (*ALSO_DECODED, ".gif", ".heic", ".heif", ".avif", ".jp2", ".jxl")
ENCODED = (".png", ".jpg", ".jpeg")  # suffixes of images that are written
LONGEST = {".jpg": 65_500, ".png": 1_000_000}  # sides that OpenCV encodes, pixels
_CONVERT = " (convert it to JPEG or PNG)"
_OTHER_KINDS = {  # kind -> what it is, in words
    "webp": f"WebP{_CONVERT}",
    "heif": f"HEIF{_CONVERT}",
    "avif": f"AVIF{_CONVERT}",
    "tiff": f"TIFF{_CONVERT}",
    "gif": f"GIF{_CONVERT}",
    "bmp": f"BMP{_CONVERT}",
    "jpeg2000": f"JPEG 2000{_CONVERT}",
    "jpegxl": f"JPEG XL{_CONVERT}",
    "photoshop": f"Photoshop{_CONVERT}",
    "mp4": "a video",
    "avi": "a video",
    "pdf": "a PDF file",
    "zip": "a zip file",
    "web page": "a web page",
    "git lfs": "a pointer of Git LFS (git lfs pull)",
    "appledouble": "what macOS stores beside a file (AppleDouble)",
}
_SENSOR_BITS = (8, 10, 12, 14, 16)  # that values of 16 bits hold


class Size(NamedTuple):
    """Image size in pixels."""

    width: int
    height: int


class ImageDecodeError(UserError):
    """Bytes that should be a JPEG or PNG file aren't, or are damaged."""


class ImageEncodeError(UserError):
    """An image is too large for a file of its kind."""


class CropError(UserError):
    """What should be cut out has nothing to do with the image."""


def sniff(data: bytes | np.ndarray) -> Literal["jpeg", "png"] | None:
    """What kind of image file these bytes begin, None when neither."""
    head = bytes(data[:8])
    if begins(head, "jpeg"):
        return "jpeg"
    return "png" if begins(head, "png") else None


_REDUCED = {  # reduction -> OpenCV flags for grey and colour; scaling happens inside the JPEG decoder
    1: (cv2.IMREAD_GRAYSCALE, cv2.IMREAD_COLOR_RGB),
    2: (cv2.IMREAD_REDUCED_GRAYSCALE_2, cv2.IMREAD_REDUCED_COLOR_2),
    4: (cv2.IMREAD_REDUCED_GRAYSCALE_4, cv2.IMREAD_REDUCED_COLOR_4),
    8: (cv2.IMREAD_REDUCED_GRAYSCALE_8, cv2.IMREAD_REDUCED_COLOR_8),
}


def decode(
    data: bytes | np.ndarray, *, color: bool = False, reduce: Literal[1, 2, 4, 8] = 1, upright: bool = False
) -> np.ndarray:
    """Image file -> (H, W) grey or (H, W, 3) RGB uint8.

    `reduce` divides the size, rounded up; pixel i of the result is what lay between i · reduce and (i + 1) · reduce.
    JPEG files are reduced while they are decoded. The orientation tag is ignored, since labels count stored pixels, but
    for `upright`, which turns images as viewers do. 16 bit values become 8 bit by the range of the sensor that fits
    them: 10, 12, 14 or 16 bits.
    Raises ImageDecodeError when the bytes aren't an image.
    """
    buffer = np.frombuffer(data, dtype=np.uint8) if isinstance(data, bytes) else data
    kind = sniff(buffer)
    inside = reduce if kind == "jpeg" else 1  # other decoders would reduce to a rounded down size
    deep = cv2.IMREAD_ANYDEPTH if kind == "png" and buffer.size > 24 and buffer[24] == 16 else 0
    as_stored = 0 if upright and kind is None else cv2.IMREAD_IGNORE_ORIENTATION
    image = _decode(buffer, kind, _REDUCED[inside][color] | deep | as_stored)
    if image is None:
        raise ImageDecodeError(f"{buffer.size} bytes, {_other_kind(buffer)}not a readable JPEG or PNG file")
    if color and inside > 1:
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    if image.dtype == np.uint16:
        image = reduce_depth(image)
    image = image if inside == reduce else _shrink(image, reduce)
    return turned(image, orientation(buffer)) if upright and kind else image


def _decode(buffer: np.ndarray, kind: Literal["jpeg", "png"] | None, flags: int) -> np.ndarray | None:
    """OpenCV's decoder, None for what isn't readable. Raises ImageDecodeError for an image that is too large."""
    if kind == "png" and not png.is_whole(buffer):
        return None
    _check_pixels(_size_in(buffer, kind) or Size(0, 0), buffer.size)
    try:
        return cv2.imdecode(buffer, flags) if buffer.size else None
    except cv2.error as error:
        raise ImageDecodeError(f"{buffer.size} bytes, can't be decoded ({error.err})") from None


def _shrink(image: np.ndarray, factor: int) -> np.ndarray:
    """Means over factor × factor pixels; the last row and column are repeated where the size isn't a multiple."""
    height, width = image.shape[:2]
    padded = cv2.copyMakeBorder(image, 0, -height % factor, 0, -width % factor, cv2.BORDER_REPLICATE)
    size = (padded.shape[1] // factor, padded.shape[0] // factor)
    return cv2.resize(padded, size, interpolation=cv2.INTER_AREA)


def reduce_depth(image: np.ndarray) -> np.ndarray:
    """Whole numbers in 0…65535, of any shape -> uint8, by the range of the sensor that fits them: 8, 10, 12, 14, 16 bits."""
    bits = next(bits for bits in _SENSOR_BITS if int(image.max()) >> bits == 0)
    return np.right_shift(image, bits - 8).astype(np.uint8)


def decode_labels(data: bytes | np.ndarray) -> np.ndarray:
    """PNG file of a label image -> (H, W) uint8, values unchanged, of images with a palette their numbers in it.

    Raises ImageDecodeError for other files and for colours.
    """
    data = png.without_palette(bytes(data))
    buffer = np.frombuffer(data, dtype=np.uint8)
    image = _decode(buffer, sniff(buffer), cv2.IMREAD_UNCHANGED)
    if image is None or image.dtype != np.uint8:
        raise ImageDecodeError(f"{buffer.size} bytes, not a readable 8 bit label image")
    if image.ndim == 3 and (image[..., :1] != image[..., :3]).any():
        raise ImageDecodeError("a label image with colours instead of numbers of classes; save it in grey")
    return image if image.ndim == 2 else np.ascontiguousarray(image[..., 0])


def encode_for(path: Path, image: np.ndarray) -> bytes:
    """(H, W) or (H, W, 3) RGB uint8 -> .png or .jpg file. Raises UserError for other names and for too large images."""
    suffix = path.suffix.lower()
    if suffix not in ENCODED:
        raise UserError(f"{path}: images are written as {', '.join(ENCODED)}; choose such a name.")
    try:
        return encode_png(image) if suffix == ".png" else encode_jpeg(image)
    except ImageEncodeError as error:
        raise UserError(f"{path}: {error}; draw less, or write a .png file.") from None


def encode_jpeg(image: np.ndarray, quality: int = 95) -> bytes:
    """(H, W) grey or (H, W, 3) RGB uint8 -> JPEG file. Raises ImageEncodeError."""
    return _encode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])


def encode_png(image: np.ndarray) -> bytes:
    """(H, W) or (H, W, 3) RGB uint8 -> PNG file. Raises ImageEncodeError."""
    return _encode(".png", image, [])


def _encode(extension: str, image: np.ndarray, parameters: list[int]) -> bytes:
    height, width = image.shape[:2]
    if max(width, height) > LONGEST[extension]:
        raise ImageEncodeError(
            f"{width} × {height} pixels don't fit into a {extension} file, which has {LONGEST[extension]:,} at most in a side"
        )
    ordered = image if image.ndim == 2 else cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(extension, ordered, parameters)
    assert done, f"cv2.imencode refused an array of {image.shape}, {image.dtype}"
    return data.tobytes()


def check_image(data: bytes | np.ndarray) -> Size:
    """Size of a whole file. Raises ImageDecodeError when it is damaged, cut off, too large or no JPEG or PNG.

    Whole is what decodes to its last pixel without a warning that pixels are guessed, see `jpeg.scan_fault`; bytes behind
    the end don't matter. That finds most holes, not all: other bits may be a valid scan of as many pixels. Of 200 holes of
    16, 64 and 512 random bytes in real images of 450 × 450 pixels it missed 20, 3 and 0.
    """
    data = bytes(data)
    size = image_size(data)
    _check_pixels(size, len(data))
    if sniff(data) == "png":
        if not png.is_whole(data):
            raise ImageDecodeError(f"{len(data)} bytes of PNG, cut off before the end")
        decode(data)
        return size
    try:
        fault = jpeg.scan_fault(data)
    except ValueError:
        decode(data, reduce=8)  # a harmless warning, or unusual sampling, which only OpenCV reads
        return size
    if fault:
        raise ImageDecodeError(f"{len(data)} bytes of JPEG, {fault}")
    return size


def _check_pixels(size: Size, bytes_: int) -> None:
    """Raise ImageDecodeError for more pixels than can be decoded, and for so many that the file unpacks to a thousandfold."""
    pixels = size.width * size.height
    if pixels > MAX_PIXELS:
        raise ImageDecodeError(f"an image of {size.width} × {size.height} pixels, more than {MAX_PIXELS}; refused")
    if pixels > max(LARGE, MAX_RATIO * bytes_):
        raise ImageDecodeError(f"an image of {size.width} × {size.height} pixels in {bytes_:,} bytes; refused")


def image_size(data: bytes | np.ndarray) -> Size:
    """Width and height from the header alone. Raises ImageDecodeError when there is none."""
    kind = sniff(data)
    size = _size_in(data, kind)
    if size is None and kind == "jpeg":
        raise ImageDecodeError(f"{len(data)} bytes of JPEG without a frame header")
    if size is None:
        raise ImageDecodeError(f"{len(data)} bytes, {_other_kind(data)}not a JPEG or PNG file")
    return size


def _size_in(data: bytes | np.ndarray, kind: Literal["jpeg", "png"] | None) -> Size | None:
    """What the header says; None without one."""
    view = memoryview(data) if isinstance(data, bytes) else data.data  # of which nothing is copied
    if kind == "png" and len(view) >= 24:
        return Size(*struct.unpack(">II", view[16:24]))
    start = jpeg.frame(view) if kind == "jpeg" else None
    if start is None:
        return None
    height, width = struct.unpack(">HH", view[start + 1 : start + 5])
    return Size(width, height)


def _other_kind(data: bytes | np.ndarray) -> str:
    """In words, what another image file is, and what to do."""
    words = _OTHER_KINDS.get(kind_of(bytes(data[:512])) or "")
    if words is None and len(data) and not bytes(data).strip(b"\0"):
        words = "all of them zero"
    return f"{words}, " if words else ""
