"""Pickles of face models and of lists: mutated, and made of random opcodes."""

import pickle
import pickletools
from pathlib import Path

import numpy as np
from harness import main, mutated

from trackertraincode.facemodel.bfm import load_bfm

NAME = "x.pkl"
NAMES = ["a", ("b", 2**70, None, 1.5)]
CONTENT = {
    "u": np.zeros((9, 1), np.float32), "w_shp": np.ones((3, 40), np.float32), "keypoints": np.arange(204),
    "names": NAMES, 3: b"\xff", "one": np.float64(2),
}  # fmt: skip
SEEDS = [pickle.dumps(CONTENT, protocol=protocol) for protocol in range(6)]
SEEDS += [pickle.dumps(NAMES * 50, protocol=protocol) for protocol in (0, 2, 4)]
OPCODES = [opcode.code.encode("latin1") for opcode in pickletools.opcodes]
GLOBALS = (b"cnumpy\ndtype\n", b"cnumpy.core.multiarray\n_reconstruct\n", b"cnumpy\nndarray\n", b"c_codecs\nencode\n",
           b"cbuiltins\neval\n", b"cnumpy.core.numeric\n_frombuffer\n")  # fmt: skip


def make(rng: np.random.Generator) -> bytes:
    if rng.random() < 0.6:
        return mutated(SEEDS[rng.integers(len(SEEDS))], rng, SEEDS)
    parts = []
    for _ in range(int(rng.integers(2, 60))):
        parts.append(OPCODES[rng.integers(len(OPCODES))] if rng.random() < 0.8 else GLOBALS[rng.integers(len(GLOBALS))])
        if rng.random() < 0.4:
            parts.append(rng.bytes(int(rng.integers(1, 9))))
    return b"".join(parts) + b"."


def read(path: Path) -> None:
    load_bfm(path)


if __name__ == "__main__":
    main(__doc__, NAME, make, read)
