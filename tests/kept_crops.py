"""Faces on smooth images, their batches and caches, for tests of kept crops."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from trackertraincode.augmentation.cache_files import open_caches
from trackertraincode.augmentation.crop_cache import CropCache, Kept
from trackertraincode.augmentation.loader import TrainBatches
from trackertraincode.augmentation.presets import AugmentationOptions, Preset
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset, PoseWriter
from trackertraincode.datasets.mixing import Member
from trackertraincode.sample.images import encode_png
from trackertraincode.sample.sample import LABELS, Sample

OPTIONS, CPU = AugmentationOptions(), torch.device("cpu")


SMOOTH = OPTIONS.training_preset(size=65, tables=False)


def smooth_image(seed: int) -> np.ndarray:
    """(300, 400) with edges that are a few pixels wide, as in photographs."""
    noise = np.random.default_rng(seed).normal(128, 300, (300, 400))
    return cv2.GaussianBlur(noise.clip(-400, 600).astype(np.float32), (0, 0), 4.0).clip(0, 255).astype(np.uint8)


def make_member(path: Path, make_sample: Callable[..., Sample], **changes: Any) -> Member:
    with PoseWriter(path, source={}, face_model="embedded-v1") as writer:
        for seed in range(24):
            low = np.random.default_rng(seed).uniform([0, 0], [240, 120]).astype(np.float32)
            box = np.concatenate([low, low + [120 + 3 * seed, 140 + 2 * seed]]).astype(np.float32)
            writer.write(make_sample(seed, **{"image": encode_png(smooth_image(seed)), "face_box": box} | changes))
    return Member("faces", Hdf5PoseDataset(path), np.arange(24), 1.0, tuple(LABELS))


def batches(member: Member, preset: Preset = SMOOTH, caches: list[CropCache] | tuple = ()) -> TrainBatches:
    return TrainBatches(
        [member], preset, batchsize=24, samples_per_epoch=48, seed=3, face_model="embedded-v1", caches=caches
    )


def caches_of(member: Member, quality: str = "full", *, ram: bool = False, preset: Preset = SMOOTH) -> list[CropCache]:
    return open_caches([member], Kept.of(preset, quality), None, 0, ram=ram)
