"""Images per second and core of an expansion at 450 px, next to decoding and encoding alone."""

import argparse
import time
from pathlib import Path

import numpy as np

from trackertraincode.arguments import add_face_model_option
from trackertraincode.cli import run_main
from trackertraincode.datasets.dshdf5pose import PoseWriter
from trackertraincode.expansion.expand import Settings, SourceRow, expand_row
from trackertraincode.facemodel.embedded import NAME as FACE_MODEL
from trackertraincode.rendering.scene import FaceScene, render_scene
from trackertraincode.sample.images import decode, encode_jpeg


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="for a file of rendered faces, if there is no --source")
    parser.add_argument("--source", type=Path, help="sample file")
    parser.add_argument("-n", type=int, default=10, help="faces")
    add_face_model_option(parser)
    options = parser.parse_args()
    source = options.source or render(options.folder / "faces.h5", options.n)
    settings = Settings(
        source=source,
        face_model=options.face_model,
        yaw_step=np.radians(5.0),
        closed_eyes=0.5,
        spotlight=0.001,
        seed=0,
    )
    expand_row(settings, SourceRow(source, 0))
    made, sizes = [], []
    start = time.process_time()
    for row in range(options.n):
        made += expand_row(settings, SourceRow(source, row))[1:]
    taken = time.process_time() - start
    images = [sample.image for sample in made if isinstance(sample.image, bytes)]
    start = time.process_time()
    for image in images:
        pixels = decode(image, color=True)
        sizes.append(pixels.shape[0])
        encode_jpeg(pixels)
    alone = time.process_time() - start
    print(
        f"{len(made) / taken:.1f} images of {np.mean(sizes):.0f} px per second of one core; "
        f"decoding and encoding them alone: {len(made) / alone:.1f}"
    )


def render(path: Path, count: int) -> Path:
    """A file of rendered faces."""
    with PoseWriter(path, source={}, face_model=FACE_MODEL) as writer:
        for seed in range(count):
            writer.write(render_scene(FaceScene.draw(np.random.default_rng(seed), None, 0.3), 450))
    return path


if __name__ == "__main__":
    run_main(main)
