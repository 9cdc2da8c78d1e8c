"""Calibration files of cameras in YAML, XML and JSON: mutated, and with values of all kinds."""

import json
from pathlib import Path

import numpy as np
from harness import main, mutated, nasty

from trackertraincode.tracking.lens import read_calibration

NAME = "x.yml"
YAML = b"""%YAML:1.0
---
image_width: 640
image_height: 480
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 600., 0., 320., 0., 610., 240., 0., 0., 1. ]
distortion_coefficients: !!opencv-matrix
   rows: 1
   cols: 5
   dt: d
   data: [ 1.0e-01, -2.0e-01, 0., 0., 5.0e-02 ]
"""
XML = b"""<?xml version="1.0"?>
<opencv_storage>
<image_Width>640</image_Width> <image_Height>480</image_Height>
<Camera_Matrix type_id="opencv-matrix"><rows>3</rows><cols>3</cols><dt>d</dt>
<data>600. 0. 320. 0. 610. 240. 0. 0. 1.</data></Camera_Matrix>
</opencv_storage>
"""
VALUES = {"fx": 600, "fy": 600, "cx": 320, "cy": 240, "distortion": [0.1, 0, 0, 0, 0], "width": 640, "height": 480}
SEEDS = [YAML, XML, json.dumps(VALUES).encode()]


def make(rng: np.random.Generator) -> bytes:
    kind = rng.integers(3)
    if kind == 0:
        values = {name: nasty(rng) if rng.random() < 0.3 else value for name, value in VALUES.items()}
        data = json.dumps(values, default=repr).encode()
        return mutated(data, rng, SEEDS) if rng.random() < 0.3 else data
    if kind == 1 and rng.random() < 0.2:
        depth = int(10 ** rng.integers(1, 5))
        return b'{"K": ' + b"[" * depth
    return mutated(SEEDS[rng.integers(len(SEEDS))], rng, SEEDS)


def read(path: Path) -> None:
    suffixed = path.with_suffix((".yml", ".xml", ".json", "")[path.stat().st_size % 4])
    path.replace(suffixed)
    lens = read_calibration(suffixed).for_frames(640, 480)
    assert np.isfinite([*lens.matrix, *lens.distortion]).all()


if __name__ == "__main__":
    main(__doc__, NAME, make, read)
