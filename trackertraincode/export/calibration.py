"""Crops that show a quantiser which values a network meets: faces of a data set, cut as for evaluation.

name or file --calibration_crops--> (n, C, S, S) float32, network input
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from trackertraincode.augmentation.units import channels_first, normalize
from trackertraincode.augmentation.warp import cut_and_resize
from trackertraincode.datasets.catalog import Rows, find_file, load_catalog
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.datasets.hdf5_images import decoding
from trackertraincode.datasets.spread import evenly_spread
from trackertraincode.errors import CatalogError, SampleFormatError
from trackertraincode.geometry.boxes import CROP_FACTOR, bounding_box, square_crop_box
from trackertraincode.models.pose_network import NetworkConfig
from trackertraincode.sample.images import decode

CROPS = 400  # half of them for ranges of values, half to measure the difference
MIN_CROPS = 16


def calibration_crops(name: str, config: NetworkConfig, catalog: Path | None = None) -> Tensor:
    """(n, C, S, S) crops of at most 400 rows, evenly spread. Of a data set of the catalog, rows that are trained on.

    name: of a data set, or path of a sample file. Raises CatalogError for unknown names, SampleFormatError for files
    with fewer than 16 faces with boxes and for images that don't decode.
    """
    path, rows = _resolve(name, catalog)
    with Hdf5PoseDataset(path, labels=("face_box", "landmarks", "has_face")) as dataset:
        boxes = _boxes(dataset)
        usable = (torch.isfinite(boxes).all(-1) & (boxes[:, 2:] > boxes[:, :2]).all(-1)).numpy()
        usable &= np.asarray(dataset.labels.get("has_face", True))
        candidates = np.flatnonzero(usable)
        first, end = rows
        candidates = candidates[(candidates >= first) & (candidates < (len(dataset) if end is None else end))]
        if len(candidates) < MIN_CROPS:
            raise SampleFormatError(
                f"{path}: has {len(candidates)} faces with boxes to calibrate with, expected at least {MIN_CROPS}; "
                "give a larger set with --calibration."
            )
        chosen = candidates[evenly_spread(len(candidates), CROPS)]
        squares = square_crop_box(boxes[torch.from_numpy(chosen)], CROP_FACTOR).numpy()
        color = config.channels == 3
        crops = [_crop(dataset, row, square, config.input_size, color) for row, square in zip(chosen, squares)]
    return normalize(channels_first(np.stack(crops)))


def _resolve(name: str, catalog: Path | None) -> tuple[Path, Rows]:
    known = load_catalog(catalog)
    try:
        return find_file(name, known), known[name].rows if name in known else (0, None)
    except CatalogError as error:
        raise CatalogError(f"--calibration: {error} A path that ends with .h5 is taken as a file.") from None


def _boxes(dataset: Hdf5PoseDataset) -> Tensor:
    """(N, 4): the file's boxes, else those of its landmarks."""
    if "face_box" in dataset.labels:
        return torch.from_numpy(dataset.labels["face_box"])
    if "landmarks" in dataset.labels:
        return bounding_box(torch.from_numpy(dataset.labels["landmarks"]))
    raise SampleFormatError(
        f"{dataset.path}: has neither boxes ('rois') nor landmarks ('pt3d_68'), found {', '.join(dataset.fields)}; "
        "calibrate with a set that has faces to cut out."
    )


def _crop(dataset: Hdf5PoseDataset, row: int, square: np.ndarray, size: int, color: bool) -> np.ndarray:
    """(S, S[, 3]) uint8. square: (4,) pixels."""
    with decoding(dataset.path, row):
        return cut_and_resize(decode(dataset.images([row])[0], color=color), square, size)
