"""Sample files, new and as old tools wrote them: read from end to end, summarised, checked; damaged where HDF5 looks."""

import json
import re
import tempfile
from pathlib import Path

import h5py
import numpy as np
from harness import main, mutated
from sample_files import read_every_way as read

from trackertraincode.datasets.dshdf5pose import PoseWriter
from trackertraincode.sample.images import encode_jpeg, encode_png
from trackertraincode.sample.sample import Sample

NAME = "x.h5"
ROWS = 5
STRUCTURE = re.compile(rb"GCOL|TREE|SNOD|HEAP|OHDR|OCHK|\x89HDF|storage|source|face_model")
WINDOW = 160  # bytes that are damaged at once
RECORD = np.dtype([("shape", "i4", (2,)), ("minval", "f4"), ("maxval", "f4"), ("buffer", h5py.vlen_dtype(np.uint8))])
POSES = {"quats": np.tile(np.array([0, 0, 0, 1], np.float32), (ROWS, 1)), "coords": np.full((ROWS, 3), 20, "f4")}


def written(path: Path, compress: bool) -> None:
    """As the library writes: gzip or not, label images, sequences."""
    rng = np.random.default_rng(0)
    with PoseWriter(path, source={"converter": "x"}, face_model="embedded-v1", compress=compress) as writer:
        for i in range(ROWS):
            image = rng.integers(0, 255, (12, 10 + 8 * i), dtype=np.uint8)
            pose = {"rotation": POSES["quats"][i], "head": POSES["coords"][i], "shape": np.zeros(50, np.float32)}
            mask = encode_png(image // 20)
            writer.write(
                Sample(image=encode_jpeg(image), name="", segmentation=mask, sequence=str(i // 2), individual=i, **pose)
            )


def by_hand(path: Path, images: list, dtype: object, storage: str, **options: object) -> None:
    """As older tools wrote: names of files, records, other layouts of HDF5."""
    libver = options.pop("libver", None)
    with h5py.File(path, "w", libver=libver) as file:
        dataset = file.create_dataset("images", (ROWS,), dtype=dtype, **options)
        for i, image in enumerate(images):
            dataset[i] = image
        dataset.attrs["storage"] = storage
        dataset.attrs["lossy"] = b"True"
        file.attrs["source"] = json.dumps({"comment": "x" * 50})
        for name, values in POSES.items():
            file.create_dataset(name, data=values)
        file["sequence_starts"] = [0, 2, ROWS]


def seeds() -> list[bytes]:
    grey = [np.full((6, 7 + i), 40 * i, np.uint8) for i in range(ROWS)]
    png = [np.frombuffer(encode_png(image), np.uint8) for image in grey]
    records = [(image.shape, 0.0, 255.0, image.ravel()) for image in grey]
    buffer = (png, h5py.vlen_dtype(np.uint8), "varsize_image_buffer")
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{i}.h5" for i in range(7)]
        written(paths[0], False)
        written(paths[1], True)
        by_hand(paths[2], [f"a/{i}" for i in range(ROWS)], h5py.string_dtype(), "image_filename")
        by_hand(paths[3], records, RECORD, "varsize_array_buffer")
        by_hand(paths[4], *buffer, chunks=(2,), maxshape=(None,), compression="gzip", shuffle=True)
        by_hand(paths[5], *buffer)
        by_hand(paths[6], *buffer, chunks=(2,), libver="latest")
        return [path.read_bytes() for path in paths]


SEEDS = seeds()


def make(rng: np.random.Generator) -> bytes:
    data = SEEDS[rng.integers(len(SEEDS))]
    if rng.random() < 0.2:
        return mutated(data, rng, SEEDS)
    places = [match.start() for match in STRUCTURE.finditer(data)]
    for _ in range(int(rng.integers(1, 3))):
        start = int(rng.choice(places)) if rng.random() < 0.7 else int(rng.integers(len(data)))
        window = data[start : start + WINDOW]
        damaged = mutated(window, rng, SEEDS)[: len(window)].ljust(len(window), b"\0")
        data = data[:start] + damaged + data[start + len(window) :]
    return data


if __name__ == "__main__":
    main(__doc__, NAME, make, read)
