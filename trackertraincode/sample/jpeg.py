"""What JPEG files are made of, and whether their scans are whole (ITU-T T.81)."""

from collections.abc import Iterator

import numpy as np
import simplejpeg

_HARMLESS = (  # what libjpeg and simplejpeg say of whole files
    "Unknown Adobe color transform",
    "Warning",
    "Invalid SOS parameters",
    "Unsupported color conversion",
    "Could not determine subsampling",
)
_FRAMES = range(0xC0, 0xD0)  # markers that begin one, but for
_NO_FRAMES = (0xC4, 0xC8, 0xCC)
_DIMMED = 4  # how far beyond white and black means of blocks are seen


def segments(data: bytes | memoryview) -> Iterator[tuple[int, int]]:
    """Markers up to the first scan, and where the contents of their segments begin (B.1.1).

    Bytes between segments are passed over, as decoders do.
    """
    position = 2
    while position + 4 <= len(data):
        marker = data[position + 1]
        if data[position] != 0xFF or marker in (0x00, 0xFF):  # a stray byte, or a fill byte
            position += 1
        elif marker == 0x01 or 0xD0 <= marker <= 0xD7:  # markers without a length
            position += 2
        else:
            yield marker, position + 4
            if marker == 0xDA:
                return
            position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")


def frame(data: bytes | memoryview) -> int | None:
    """Where the contents of the frame header begin; None without one."""
    for marker, start in segments(data):
        if marker in _FRAMES and marker not in _NO_FRAMES and len(data) >= start + 9:
            return start
    return None


def scan_fault(data: bytes) -> str:
    """In words, what is wrong with the scans of a file, empty for whole ones.

    Wrong are guessed pixels, and blocks whose mean lies beyond white or black: a hole in a scan shifts all that follow,
    since each block's mean is stored as the difference from the one before it. Decoded at an eighth of the size, which
    reads all of the file but computes little. Raises ValueError where simplejpeg can't tell.
    """
    fault = _scan_fault(data)
    if "extraneous bytes" in fault:  # which are harmless at the end and between segments, but tell of holes elsewhere
        return _scan_fault(_without_stray_bytes(data))
    return fault


def _scan_fault(data: bytes) -> str:
    try:
        space = simplejpeg.decode_jpeg_header(data)[2]
        seen, limit = _dimmed(data) if space in ("YCbCr", "Gray", "GRAY") else (data, np.inf)
        image = simplejpeg.decode_jpeg(
            seen, "CMYK" if space == "CMYK" else "GRAY", min_height=1, min_width=1, strict=True
        )
    except (ValueError, KeyError) as error:  # KeyError: simplejpeg has no name for one kind of sampling
        told = str(error) if isinstance(error, ValueError) else _HARMLESS[-1]
        if "Premature end" in told or b"\xff\xd9" not in data:
            return "cut off before the end"
        if any(words in told for words in _HARMLESS):
            raise ValueError(told) from error
        return f"damaged ({told})"
    if np.abs(image.astype(np.int16) - 128).max() > limit:
        return "damaged (parts of it are brighter than white or darker than black)"
    return ""


def _without_stray_bytes(data: bytes) -> bytes:
    """The file without bytes between its first segments, and without zeros before its last end mark."""
    header = b"\xff\xd8"
    for marker, start in segments(data):
        end = start - 2 + int.from_bytes(data[start - 2 : start], "big") if marker != 0xDA else len(data)
        header += data[start - 4 : end]
    end = header.rfind(b"\xff\xd9")
    scan = header[:end].rstrip(b"\0")
    return scan + b"\0" * scan.endswith(b"\xff") + header[end:]  # FF 00 is data


def _dimmed(data: bytes) -> tuple[bytes, float]:
    """The file with smaller differences between means of blocks, and how far a mean of sound files is from 128 then.

    By another first number in the table that brightness is quantised with (B.2.4.1). Encoders round, and may choose the
    number beside that.
    """
    component, tables = None, {}
    for marker, start in segments(data):
        end = start - 2 + int.from_bytes(data[start - 2 : start], "big")
        if marker == 0xDB:
            place = start
            while place < min(end, len(data) - 2):
                wide = data[place] >> 4 != 0
                tables[data[place] & 15] = place + 1, 1 + wide
                place += 1 + 64 * (1 + wide)
    begin = frame(data)
    if begin is not None and data[begin] == 8:
        component = data[begin + 8]
    if component not in tables:
        return data, np.inf
    place, size = tables[component]
    step = int.from_bytes(data[place : place + size], "big")
    smaller = max(1, step // _DIMMED)
    if smaller >= step:
        return data, np.inf
    limit = (1024 + 2 * step) / step * smaller / 8 + 0.5
    return data[:place] + smaller.to_bytes(size, "big") + data[place + size :], limit
