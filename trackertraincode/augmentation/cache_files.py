"""Files of kept crops: made once for a data set, found again by what they were made of, made anew where that changed.

    NAME.crops = crops one after the other, table of ENTRY, header (JSON), seal: where these begin, their checksum

Labels aren't in it: they are read from the data set, whose pages all processes share.
"""

import hashlib
import json
import os
import time
import zlib
from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from trackertraincode.augmentation.batches import read_labels
from trackertraincode.augmentation.crop import crop_boxes
from trackertraincode.augmentation.crop_cache import ENTRY, SMALLEST, CropCache, Kept, keep, map_blob
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.datasets.mixing import Member
from trackertraincode.errors import SampleFormatError, UserError
from trackertraincode.files import files_of, fingerprint, resolved, whole_file
from trackertraincode.sample.images import ImageDecodeError, decode
from trackertraincode.workers import Workers, map_in_order, seeing

SEAL = np.dtype([("table", "<i8"), ("header", "<i8"), ("checksum", "<u4"), ("magic", "S12")])
MAGIC = b"ttc-crops-01"  # changes with the meaning of any byte
ROWS_AT_ONCE = 64  # made by a worker
WAIT = 1.0  # seconds between looks at what another process makes


def open_caches(
    members: Sequence[Member], kept: Kept, folder: Path | None, workers: Workers, *, ram: bool
) -> list[CropCache]:
    """Of each member. folder: of the files; None for `crops` beside the data. ram: copied to memory that workers share.

    Raises UserError where a file can't be written.
    """
    known: dict[Path, CropCache] = {}
    for path, rows in {member.dataset.path: len(member.dataset) for member in members}.items():
        file, header = cache_file(path, kept, folder)
        found = open_cache(file, header, rows)
        while found is None:
            _build_or_wait(path, kept, file, header, workers)
            found = open_cache(file, header, rows)
        known[path] = in_memory(found) if ram else found
    return [known[member.dataset.path] for member in members]


def cache_file(path: Path, kept: Kept, folder: Path | None) -> tuple[Path, dict[str, Any]]:
    """Where the crops of a data set lie, and what they must have been made of."""
    files = [fingerprint(file) | {"file": file.name, "time": file.stat().st_mtime_ns} for file in files_of(path)]
    with Hdf5PoseDataset(path, labels=()) as dataset:
        images = [
            (os.path.relpath(image, path.parent), about.st_size, about.st_mtime_ns)
            for image in dataset.image_files()
            for about in [image.stat()]
        ]
    place = [] if folder is None else [str(resolved(path))]  # files of one name in several folders
    key = hashlib.sha256(json.dumps([asdict(kept), *place], sort_keys=True).encode()).hexdigest()[:8]
    name = path.stem.replace("*", "all").replace("?", "any")
    header = asdict(kept) | {"files": files, "images": hashlib.sha256(json.dumps(images).encode()).hexdigest()}
    return (folder or path.parent / "crops") / f"{name}-{key}.crops", header


def open_cache(file: Path, header: dict[str, Any], rows: int) -> CropCache | None:
    """None where there is no such file, or one that is damaged or was made of something else. rows: of the data set."""
    if not file.is_file() or file.stat().st_size < SEAL.itemsize:
        return None
    data = np.asarray(np.memmap(file, np.uint8, "r"))
    seal = np.frombuffer(data[-SEAL.itemsize :].tobytes(), SEAL)[0]
    table, text, end = int(seal["table"]), int(seal["header"]), len(data) - SEAL.itemsize
    if (
        seal["magic"] != MAGIC
        or not 0 <= table <= text <= end
        or text - table != rows * ENTRY.itemsize
        or zlib.crc32(data[table:end].tobytes()) != seal["checksum"]
        or data[text:end].tobytes() != _encoded(header)
    ):
        return None
    entries = np.frombuffer(data[table:text].tobytes(), ENTRY)
    if not _lie_within(entries, table, header["color"]):
        return None
    return CropCache(map_blob(file, table), entries, color=header["color"], file=file)


def _encoded(header: dict[str, Any]) -> bytes:
    return json.dumps(header).encode()


def _lie_within(entries: np.ndarray, size: int, color: bool) -> bool:
    """Whether entries (n,) ENTRY can be those of crops in (size,) bytes."""
    offset, edges = entries["offset"], entries["size"].astype(np.int64)
    length = edges.prod(axis=1) * (3 if color else 1)  # edges are below 2^31
    numbers = np.concatenate([entries["scale"], entries["corner"]], axis=1)
    possible = (edges >= SMALLEST).all(axis=1) | (edges == 0).all(axis=1)
    inside = (offset >= 0) & (length <= size) & (offset <= size - length)
    return bool((possible & inside & np.isfinite(numbers).all(axis=1)).all())


def in_memory(cache: CropCache) -> CropCache:
    """The same crops in memory that processes share."""
    blob = torch.empty(len(cache.blob), dtype=torch.uint8).share_memory_()
    return CropCache(blob.copy_(cache.blob), cache.table, color=cache.color)


def _build_or_wait(path: Path, kept: Kept, file: Path, header: dict[str, Any], workers: Workers) -> None:
    """Several processes of one training come here at once; one of them works."""
    try:
        build(path, kept, file, header, workers)
    except UserError as error:
        if "another process is writing" not in str(error):
            raise
        time.sleep(WAIT)


def build(path: Path, kept: Kept, file: Path, header: dict[str, Any], workers: Workers) -> None:
    """Write the crops of all rows of a data set. Raises UserError when another process is writing this file."""
    count = len(Hdf5PoseDataset(path, labels=()))
    parts = [np.arange(start, min(start + ROWS_AT_ONCE, count)) for start in range(0, count, ROWS_AT_ONCE)]
    table, end = np.zeros(count, ENTRY), 0
    with whole_file(file) as temporary, temporary.open("wb") as output:
        with tqdm(total=count, unit=" faces", desc=file.name, dynamic_ncols=True) as bar:
            made = map_in_order(partial(_make, path.absolute(), kept), parts, seeing(workers, path))
            for rows, (crops, entries) in zip(parts, made):
                table[rows] = entries
                table["offset"][rows] += end
                output.write(crops)
                end += len(crops)
                bar.update(len(rows))
        tail = table.tobytes() + _encoded(header)
        output.write(tail)
        output.write(np.array((end, end + table.nbytes, zlib.crc32(tail), MAGIC), SEAL).tobytes())
    _opened.cache_clear()  # of this process, where it has no workers


def _make(path: Path, kept: Kept, rows: np.ndarray) -> tuple[bytes, np.ndarray]:
    """Crops of some rows, one after the other, and their entries (n,)."""
    member = Member("", _opened(path), rows, 1.0, ())
    labels = read_labels([member], np.stack([np.zeros_like(rows), rows], axis=1), None)
    boxes = crop_boxes(labels, kept.roi_override).numpy()
    crops, entries, end = [], np.zeros(len(rows), ENTRY), 0
    for place, (row, box) in enumerate(zip(rows, boxes)):
        try:
            made = keep(decode(member.dataset.images([row])[0], color=kept.color), box, kept)
        except (ImageDecodeError, SampleFormatError):
            continue  # training says what is wrong, if it comes to this row
        if made is not None:
            crop, entries[place] = made
            entries["offset"][place] = end
            crops.append(crop.tobytes())
            end += crop.size
    return b"".join(crops), entries


@lru_cache(maxsize=1)
def _opened(path: Path) -> Hdf5PoseDataset:
    """Once per worker."""
    return Hdf5PoseDataset(path)
