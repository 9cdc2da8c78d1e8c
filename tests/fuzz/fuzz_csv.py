"""Tables of own images: mutated texts in several encodings, and cells of all kinds."""

from pathlib import Path

import numpy as np
from harness import main, mutated, nasty

from trackertraincode.conversion.csv_labels import LABEL_COLUMNS, make_source
from trackertraincode.errors import ArchiveError
from trackertraincode.sample.images import encode_jpeg

NAME = "x.csv"
COLUMNS = (
    "path",
    "sequence",
    *(c for label in ("face_box", "rotation", "head", "individual") for c in LABEL_COLUMNS[label]),
)
ROWS = [f"a.jpg,s{i % 2},{i},1,{20 + i},30,{5 * i},-10,3,15,12,9,{i}" for i in range(4)]
SEED = "\n".join([",".join(COLUMNS), *ROWS]) + "\n"
IMAGE = encode_jpeg(np.full((40, 40, 3), 90, np.uint8))


def make(rng: np.random.Generator) -> bytes:
    lines = SEED.splitlines()
    for _ in range(int(rng.integers(4))):
        place = int(rng.integers(len(lines)))
        cells = lines[place].split(",")
        cells[int(rng.integers(len(cells)))] = str(nasty(rng))
        lines[place] = ",".join(cells)
    text = "\n".join(lines).replace(",", str(rng.choice([",", ";", "\t"])))
    encoding = str(rng.choice(["utf-8", "utf-8", "utf-16", "utf-16-le", "cp1252"]))
    data = text.encode(encoding, errors="replace")
    return mutated(data, rng, [SEED.encode()]) if rng.random() < 0.7 else data


def read(path: Path) -> None:
    (path.parent / "a.jpg").write_bytes(IMAGE)
    source = make_source(path)
    refused = None
    for item in source.items:
        try:
            source.convert(item)
        except ArchiveError as error:
            refused = error
    if refused is not None:
        raise refused


if __name__ == "__main__":
    main(__doc__, NAME, make, read)
