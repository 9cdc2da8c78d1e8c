"""Images and the archives that hold them: what counts as whole decodes, in grey, colour and upright."""

import io
import tarfile
import zipfile
from pathlib import Path

import cv2
import numpy as np
from harness import main, mutated
from PIL import Image

from trackertraincode.conversion.archive import Archive
from trackertraincode.sample.images import check_image, decode, sniff

NAME = "x.bin"


def seeds() -> list[bytes]:
    rng = np.random.default_rng(0)
    smooth = cv2.GaussianBlur(rng.integers(0, 255, (48, 64, 3), dtype=np.uint8), (0, 0), 2)
    options: tuple[list[int], ...] = ([], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1], [cv2.IMWRITE_JPEG_RST_INTERVAL, 2])
    images = [cv2.imencode(".jpg", smooth, list(option))[1].tobytes() for option in options]
    images += [cv2.imencode(".png", image)[1].tobytes() for image in (smooth, smooth[..., 0].astype(np.uint16) * 16)]
    exif, tagged = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6
    Image.fromarray(smooth).save(tagged, "JPEG", exif=exif)
    return [*images, tagged.getvalue()]


def packed(images: list[bytes], tar: bool) -> bytes:
    buffer = io.BytesIO()
    if not tar:
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for i, image in enumerate(images):
                archive.writestr(f"a/{i}.jpg", image)
    else:
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for i, image in enumerate(images):
                info = tarfile.TarInfo(f"a/{i}.jpg")
                info.size = len(image)
                archive.addfile(info, io.BytesIO(image))
    return buffer.getvalue()


SEEDS = seeds()
ARCHIVES = [packed(SEEDS[:2], tar) for tar in (False, True)]


def make(rng: np.random.Generator) -> bytes:
    seeds = SEEDS if rng.random() < 0.6 else ARCHIVES
    return mutated(seeds[rng.integers(len(seeds))], rng, seeds)


def read(path: Path) -> None:
    data = path.read_bytes()
    if sniff(data) is None:
        archive = Archive(path)
        for name in archive.names:
            archive.read(name)
        return
    size = check_image(data)
    assert decode(data).shape == size[::-1]
    assert decode(data, color=True, reduce=4).ndim == 3
    assert decode(data, upright=True).size == size.width * size.height


if __name__ == "__main__":
    main(__doc__, NAME, make, read)
