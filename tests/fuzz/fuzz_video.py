"""Videos that are tracked: mutated anywhere, most of all in their headers; each frame comes with a time that grows."""

import tempfile
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from harness import main, mutated

from trackertraincode.tracking.sources import iter_frames

NAME = "x.avi"
HEADER = 1200  # bytes
FRAMES = 200  # of a video that announces more than it has


def seeds() -> list[bytes]:
    rng, found = np.random.default_rng(0), []
    with tempfile.TemporaryDirectory() as folder:
        for suffix, codec in ((".avi", "MJPG"), (".mp4", "mp4v"), (".mkv", "MJPG"), (".avi", "FFV1")):
            path = Path(folder) / f"x{suffix}"
            video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 12.5, (48, 32))
            for _ in range(6):
                video.write(rng.integers(0, 255, (32, 48, 3), dtype=np.uint8))
            video.release()
            if path.is_file():
                found.append(path.read_bytes())
    return found


SEEDS = seeds()


def make(rng: np.random.Generator) -> bytes:
    data = SEEDS[rng.integers(len(SEEDS))]
    if rng.random() < 0.5:
        return mutated(data, rng, SEEDS)
    if rng.random() < 0.5:
        return mutated(data[:HEADER], rng, SEEDS) + data[HEADER:]
    return data[:-HEADER] + mutated(data[-HEADER:], rng, SEEDS)


def read(path: Path) -> None:
    last = -1.0
    notes: list[str] = []
    for frame in islice(iter_frames(str(path), notes.append), FRAMES):
        assert frame.image.ndim == 3
        assert frame.time is not None
        assert last < frame.time < np.inf
        last = frame.time
    assert all("\n" not in note for note in notes)


if __name__ == "__main__":
    main(__doc__, NAME, make, read)
