"""How images lie in their files, by the tag that cameras write (Exif 2.3, 4.6.4)."""

import struct

import numpy as np

from trackertraincode.sample import jpeg, png
from trackertraincode.signatures import begins


def orientation(data: bytes | np.ndarray) -> int:
    """The EXIF orientation of a JPEG or PNG file, 1 to 8: 1 is upright, as are files without the tag."""
    data = bytes(data)
    if begins(data[:8], "png"):
        places = (start for name, start in png.chunks(data) if name == b"eXIf")
        return _exif_orientation(data[place : place + 2**16]) if (place := next(places, None)) else 1
    for marker, start in jpeg.segments(data) if begins(data[:8], "jpeg") else ():
        is_exif = marker == 0xE1 and data[start : start + 6] == b"Exif\0\0"
        if is_exif and (found := _exif_orientation(data[start + 6 : start + 2**16])) != 1:
            return found
    return 1


def _exif_orientation(tiff: bytes) -> int:
    """Tag 0x0112 of the first directory (TIFF 6.0, section 2; Exif 2.3, 4.6.4)."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2], "<")
    try:
        (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, directory)
        for entry in range(directory + 2, directory + 2 + 12 * count, 12):
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", tiff, entry)
            if tag == 0x0112:
                return value if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def turned(image: np.ndarray, tag: int) -> np.ndarray:
    """(H, W, ...) as stored, and its orientation, 1 to 8 -> as it is to be seen (Exif 2.3, 4.6.4)."""
    if tag >= 5:
        image = image.swapaxes(0, 1)
    down, across = (-1 if tag in (3, 4, 7, 8) else 1), (-1 if tag in (2, 3, 6, 7) else 1)
    return np.ascontiguousarray(image[::down, ::across])
