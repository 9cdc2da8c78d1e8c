"""Synthetic faces per second and core at 256 px, next to the rasteriser alone."""

import argparse
import time

import numpy as np

from trackertraincode.cli import run_main
from trackertraincode.facemodel.load import OWN_MODELS, head_for_rendering
from trackertraincode.rendering.rasterizer import Surface, rasterize
from trackertraincode.rendering.scene import FaceScene, render_scene
from trackertraincode.workers import use_one_thread


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=100, help="faces")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--head", choices=("auto", "anny", "embedded"), default="auto")
    options = parser.parse_args()
    use_one_thread()  # as each worker does
    name = head_for_rendering(options.head)
    scenes = [FaceScene.draw(np.random.default_rng(seed), head=name) for seed in range(options.n)]
    render_scene(scenes[0], options.size)
    start = time.process_time()
    for scene in scenes:
        render_scene(scene, options.size)
    rate = options.n / (time.process_time() - start)
    head = OWN_MODELS[name]()
    points = head.vertices * (options.size / 4) + [options.size / 2, options.size / 2, 0]
    surface = Surface(points, head.triangles, np.ones_like(head.vertices))
    start = time.process_time()
    for _ in range(options.n):
        rasterize(surface, options.size, options.size)
    alone = options.n / (time.process_time() - start)
    print(f"{name}: {rate:.1f} faces per second of one core; rasterising the bare head alone: {alone:.1f}")


if __name__ == "__main__":
    run_main(main)
