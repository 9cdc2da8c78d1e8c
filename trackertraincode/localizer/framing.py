"""What a localizer looks at: 288 × 224 pixels, which an image of 4:3 fills, and others in part.

image (H, W) --part_filled--> width, height --framed--> (224, 288), margins repeat the border
"""

import cv2
import numpy as np

from trackertraincode.localizer import SIZE

NEARLY = 2  # pixels of margins that make no difference: frames are 4:3 but for a pixel


def part_filled(width: int, height: int) -> tuple[int, int]:
    """Width and height, of the pixels that a localizer looks at, that an image of any shape fills; all of them for 4:3."""
    aspect = 3 * width / (4 * height)
    wide, high = (int(size * min(1.0, share) + 0.5) for size, share in zip(SIZE, (aspect, 1 / aspect)))
    return (
        SIZE[0] if wide >= SIZE[0] - NEARLY else max(1, wide),
        SIZE[1] if high >= SIZE[1] - NEARLY else max(1, high),
    )


def framed(image: np.ndarray, inner: tuple[int, int]) -> tuple[np.ndarray, tuple[int, int]]:
    """(H, W) uint8 -> (224, 288) uint8, in its middle the image at the size `inner`, whose left and top are told, too."""
    rest = SIZE[0] - inner[0], SIZE[1] - inner[1]
    left, top = rest[0] // 2, rest[1] // 2
    small = cv2.resize(image, inner, interpolation=cv2.INTER_AREA)
    whole = cv2.copyMakeBorder(small, top, rest[1] - top, left, rest[0] - left, cv2.BORDER_REPLICATE)
    return whole, (left, top)
