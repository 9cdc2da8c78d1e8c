"""A small CSV file beside an image, for tests of its converter."""

from pathlib import Path

import numpy as np

from trackertraincode.sample.images import encode_jpeg

DOOR = "dsprocess_csv.py"


def small(tmp_path: Path, lines: list[str], name: str = "my.csv", encoding: str = "utf-8") -> Path:
    for image in ("a.jpg", "b.jpg"):
        (tmp_path / image).write_bytes(encode_jpeg(np.full((60, 80, 3), 100, np.uint8)))
    (tmp_path / name).write_text("\n".join(lines), encoding=encoding)
    return tmp_path / name
