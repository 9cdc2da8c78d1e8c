"""Data sets in several files, named by a pattern: shards that are damaged, missing, foreign, or there twice."""

import io
import tempfile
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from harness import main, mutated
from sample_files import read_every_way

from trackertraincode.conversion.run import ConvertOptions, Source, run_converter
from trackertraincode.sample.images import encode_png
from trackertraincode.sample.sample import Sample

NAME = "x.zip"
ROWS, SHARDS = 12, 3
NAMES = (
    "faces-00000-of-00003.h5",
    "faces-00003-of-00003.h5",
    "faces-1-of-3.h5",
    "faces-.h5",
    "faces-00001-of-00002.h5",
)


def face(spread: bool, number: int) -> list[Sample]:
    """With the labels and measures that fits and pseudo-labels bring."""
    image = encode_png(np.full((8, 8 + number), 10 * number, np.uint8))
    labels: dict[str, Any] = {"rotation": np.array([0, 0, 0, 1], "f4"), "head": np.full(3, number + 1, "f4")}
    labels["shape"] = np.zeros(50, "f4")
    if spread:
        labels |= {"rotation_spread": 1.5, "landmarks_spread": 0.1}
    return [Sample(image=image, name="", sequence=str(number // 4), individual=number // 4, **labels)]


def written() -> dict[str, bytes]:
    """Files by name: of one set, and one of another."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for destination, spread in (("faces.h5", True), ("other.h5", False)):
            options = ConvertOptions(
                source=folder / "x.zip", destination=folder / destination, workers=0, shards=SHARDS
            )
            source = Source(items=range(1, ROWS + 1), convert=partial(face, spread), face_model="embedded-v1")
            run_converter(options, "test", source)
        return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


FILES = written()


def make(rng: np.random.Generator) -> bytes:
    files = {name: data for name, data in FILES.items() if name.startswith("faces")}
    for _ in range(int(rng.integers(1, 4))):
        chosen = str(rng.choice(list(files)))
        kind = rng.integers(6)
        if kind == 0 and len(files) > 1:
            del files[chosen]
        elif kind == 1:
            files[str(rng.choice(NAMES))] = files[chosen]
        elif kind == 2:
            files[chosen] = list(FILES.values())[rng.integers(2 * SHARDS)]
        elif kind == 3:
            files[chosen] = files[chosen][: int(rng.integers(len(files[chosen])))]
        else:
            files[chosen] = mutated(files[chosen], rng, list(FILES.values()))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def read(path: Path) -> None:
    folder = path.parent / "shards"
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    read_every_way(folder / "faces-*.h5")


if __name__ == "__main__":
    main(__doc__, NAME, make, read)
