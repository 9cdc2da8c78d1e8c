"""Label files of 300W-LP and AFLW2000-3D: mutated .mat files, packed and not, and packed ones mutated inside."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from harness import main, mutated
from scipy.io import savemat

from trackertraincode.conversion.matfile import numbers, read_mat

NAME = "x.mat"
VARIABLES = {"Pose_Para": (1, 7), "Shape_Para": (199, 1), "pt2d": (2, 68), "face_model": ()}


def saved(compress: bool) -> bytes:
    rng = np.random.default_rng(0)
    arrays: dict[str, object] = {name: rng.normal(size=shape) for name, shape in VARIABLES.items() if shape}
    buffer = io.BytesIO()
    savemat(
        buffer, arrays | {"face_model": "embedded-v1", "roi": np.arange(4, dtype=np.int16)}, do_compression=compress
    )
    return buffer.getvalue()


SEEDS = [saved(True), saved(False)]


def make(rng: np.random.Generator) -> bytes:
    if rng.random() < 0.6:
        return mutated(SEEDS[rng.integers(2)], rng, SEEDS)
    packed = zlib.compress(mutated(SEEDS[1][128:], rng))
    return SEEDS[1][:128] + struct.pack("<II", 15, len(packed)) + packed


def read(path: Path) -> None:
    mat = read_mat(path.read_bytes(), path.name, tuple(VARIABLES))
    for name, shape in VARIABLES.items():
        if shape:
            numbers(mat, path.name, name, shape)


if __name__ == "__main__":
    main(__doc__, NAME, make, read)
