"""What PNG files are made of (PNG 1.2)."""

import zlib
from collections.abc import Iterator

import numpy as np

from trackertraincode.signatures import begins


def is_whole(data: bytes | np.ndarray) -> bool:
    """Whether a PNG file has all of its chunks: OpenCV makes room for one before it looks whether it is there."""
    return any(name == b"IEND" for name, _ in chunks(data))


def chunks(data: bytes | np.ndarray) -> Iterator[tuple[bytes, int]]:
    """Names of chunks up to the last, and where their contents begin (PNG 1.2, 3.2)."""
    position = 8
    while position + 12 <= len(data):
        name = bytes(data[position + 4 : position + 8])
        yield name, position + 8
        if name == b"IEND":
            return
        position += 12 + int.from_bytes(bytes(data[position : position + 4]), "big")


def without_palette(data: bytes) -> bytes:
    """A file of 8 bit numbers of colours as a grey one, whose values they are; others as they are (PNG 1.2, 4.1.1)."""
    depth, kind = data[24:25], data[25:26]
    if not begins(data[:8], "png") or (depth, kind) != (b"\x08", b"\x03"):
        return data
    header = data[12:25] + b"\0" + data[26:29]
    return data[:12] + header + zlib.crc32(header).to_bytes(4, "big") + data[33:]
