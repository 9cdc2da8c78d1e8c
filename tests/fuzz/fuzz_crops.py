"""Files of kept crops: mutated, also where their checksum is right again; what is opened gives a crop of each row."""

import tempfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from harness import main, mutated

from trackertraincode.augmentation.cache_files import SEAL, build, cache_file, open_cache
from trackertraincode.augmentation.crop_cache import Kept, halved
from trackertraincode.datasets.dshdf5pose import PoseWriter
from trackertraincode.sample.images import encode_png
from trackertraincode.sample.sample import Sample

NAME = "x.crops"
ROWS = 5
KEPT = Kept(side=20, margin=2.0, color=False, roi_override="original")


def written() -> tuple[bytes, dict[str, Any]]:
    """A whole file, and what it must be of."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "faces.h5"
        with PoseWriter(path, source={}, face_model=None) as writer:
            for i in range(ROWS):
                image = rng.integers(0, 255, (30, 32 + i), dtype=np.uint8)
                box = np.array([4, 5, 24, 22 + i], np.float32)
                writer.write(Sample(image=encode_png(image), name="", face_box=box))
        file, header = cache_file(path, KEPT, None)
        build(path, KEPT, file, header, 0)
        return file.read_bytes(), header


FILE, HEADER = written()


def make(rng: np.random.Generator) -> bytes:
    data = FILE
    seal = np.frombuffer(data[-SEAL.itemsize :], SEAL).copy()
    if rng.random() < 0.3:
        return mutated(data, rng)
    table, header = int(seal["table"][0]), int(seal["header"][0])
    crops, entries, text = data[:table], data[table:header], data[header : -SEAL.itemsize]
    if rng.random() < 0.3:
        text = mutated(text, rng)
    elif rng.random() < 0.2:
        crops = crops[: int(rng.integers(len(crops)))]
    else:
        entries = mutated(entries, rng)
        if rng.random() < 0.8:
            entries = entries[: header - table].ljust(header - table, b"\0")
    seal["table"], seal["header"] = len(crops), len(crops) + len(entries)
    seal["checksum"] = zlib.crc32(entries + text)
    return crops + entries + text + seal.tobytes()


def read(path: Path) -> None:
    cache = open_cache(path, HEADER, ROWS)
    if cache is not None:
        for row in np.flatnonzero(cache.has(np.arange(ROWS))).tolist():
            assert halved(cache.crop(row)).ndim == 2


if __name__ == "__main__":
    main(__doc__, NAME, make, read)
