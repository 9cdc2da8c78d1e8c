"""Archives for converter tests: written from members, converted in this process, damaged at random."""

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from trackertraincode.commands import run
from trackertraincode.datasets.checks import check_file
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.errors import UserError
from trackertraincode.sample.images import decode

Members = dict[str, bytes]


def write_zip(path: Path, members: Members) -> Path:
    """A zip file with these members."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def write_folder(folder: Path, members: Members) -> Path:
    """The members as files."""
    for name, data in members.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def tagged_jpeg(tag: int, image: np.ndarray | None = None) -> bytes:
    """A JPEG file with an orientation tag. image: (H, W, 3), by default 40 × 20 pixels, left half dark."""
    if image is None:
        image = np.repeat(np.repeat([30, 220], 20)[None, :, None], 20, axis=0).repeat(3, axis=2).astype(np.uint8)
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = tag
    Image.fromarray(image).save(buffer, "JPEG", quality=95, exif=exif)
    return buffer.getvalue()


def convert(script: str, *arguments: object) -> None:
    """Run a converter in this process. Raises what it raises."""
    name = script.removeprefix("dsprocess_").removesuffix(".py")
    assert run(["convert", name, "--workers", "0", *map(str, arguments)]) == 0


def damage_count(usual: int) -> int:
    """How many damaged archives a test makes: TRACKERTRAINCODE_DAMAGE when that is set."""
    return int(os.environ.get("TRACKERTRAINCODE_DAMAGE", usual))


def check_damage(
    script: str,
    members: Members,
    build: Callable[[Path, Members], Path],
    tmp_path: Path,
    *,
    count: int = 20,
    options: tuple[object, ...] = (),
) -> None:
    """Convert `count` randomly damaged archives: an error or a skip names a file, and no unfinished file is left.

    What is written is what the sample format says (`dscheck`). TRACKERTRAINCODE_DAMAGE overrides the count.
    Zip files have checksums, so what is converted from a damaged one must be undamaged samples.
    """
    count = damage_count(count)
    outcomes = set()
    whole = tmp_path / "whole.h5"
    convert(script, build(tmp_path / "whole", members), whole, *options)
    whole_rows = label_rows(whole)
    for seed in range(count):
        rng = np.random.default_rng(seed)
        changed = _damage_members(members, rng) if seed % 2 else dict(members)
        source = build(tmp_path / f"{seed}", changed)
        if seed % 2 == 0:
            _damage_file(source, rng)
        destination = tmp_path / f"{seed}.h5"
        try:
            convert(script, source, destination, *options)
        except UserError as error:
            message = str(error)
        else:
            message = ""
        outcomes.add(bool(message))
        if message:
            names = [source.name, *(name.rsplit("/", 1)[-1] for name in members)]
            assert any(name in message for name in names), message
            assert not destination.exists()
        else:
            rows = label_rows(destination)
            assert all(is_part(row, whole_rows) for row in rows) or seed % 2 or source.is_dir()
            assert list(check_file(destination)) == []
        assert not list(tmp_path.glob("*.tmp"))
        assert not list(tmp_path.glob("*.parts"))
    assert False in outcomes  # few archives are beyond repair, most lose a sample
    assert True in outcomes or source.is_dir()


def is_part(row: bytes, whole_rows: set[bytes]) -> bool:
    """Whether a sample is one of the undamaged ones, or lacks some of its labels: files of some aren't needed."""
    values = np.frombuffer(row, np.float32)
    there = ~np.isnan(values)
    return row in whole_rows or any(
        np.array_equal(values[there], np.frombuffer(whole, np.float32)[there]) for whole in whole_rows
    )


def label_rows(path: Path) -> set[bytes]:
    """All labels of each sample, after its image was decoded."""
    with Hdf5PoseDataset(path) as data:
        assert all(decode(sample.image).size for sample in data)
        columns = [data.labels[name].astype(np.float32).reshape(len(data), -1) for name in sorted(data.labels)]
        assert all((np.isfinite(column) | np.isnan(column)).all() for column in columns)
        return {row.tobytes() for row in np.concatenate(columns, axis=1)}


def _damage_members(members: Members, rng: np.random.Generator) -> Members:
    """One member missing, cut, with flipped bytes, or swapped with another."""
    names = list(members)
    victim, other = (names[i] for i in rng.choice(len(names), 2, replace=False))
    kind = rng.integers(4)
    if kind == 0:
        return {name: data for name, data in members.items() if name != victim}
    if kind == 1:
        return members | {victim: members[victim][: rng.integers(len(members[victim]))]}
    if kind == 2:
        return members | {victim: _flip(members[victim], rng)}
    return members | {victim: members[other], other: members[victim]}


def _damage_file(source: Path, rng: np.random.Generator) -> None:
    """One file of the source cut or with flipped bytes."""
    files = sorted(p for p in source.rglob("*") if p.is_file()) if source.is_dir() else [source]
    path = files[rng.integers(len(files))]
    data = path.read_bytes()
    path.write_bytes(_flip(data, rng) if rng.integers(2) else data[: rng.integers(len(data))])


def _flip(data: bytes, rng: np.random.Generator) -> bytes:
    flipped = bytearray(data)
    for place in rng.integers(len(flipped), size=3):
        flipped[place] ^= int(rng.integers(1, 256))
    return bytes(flipped)
