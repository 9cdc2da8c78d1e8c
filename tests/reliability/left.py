"""What a command left: files under final and temporary names, and what a reader gets from them."""

import csv
import hashlib
import json
import re
import zipfile
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import cv2
import h5py
import numpy as np
import onnx
import torch


def files(outputs: Path) -> dict[str, Path]:
    """All that is below a folder."""
    return {path.relative_to(outputs).as_posix(): path for path in sorted(outputs.rglob("*")) if not path.is_dir()}


def temporary(outputs: Path) -> list[str]:
    """Files and folders that no user asked for."""
    names = [path.relative_to(outputs).as_posix() for path in outputs.rglob("*")]
    return [name for name in names if re.search(r"\.(tmp|parts|unfinished|lock)(/|$)|(^|/)lock$", name)]


def final(outputs: Path) -> dict[str, Path]:
    """Files under names that a user asked for."""
    return {name: path for name, path in files(outputs).items() if name not in temporary(outputs)}


def content(path: Path) -> str:
    """A digest of what a reader gets from a file. Raises whatever a reader of a file that isn't whole raises."""
    match path.suffix:
        case ".h5":
            return _content_of_hdf5(path)
        case ".zip" | ".npz":
            with zipfile.ZipFile(path) as archive:
                assert archive.testzip() is None
        case ".ckpt":
            return hashlib.sha256(b"".join(_parts(torch.load(path, weights_only=True)))).hexdigest()
        case ".png" | ".jpg":
            image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            assert image is not None
            if "drawn" in (path.stem, path.parent.name):  # with the frame rate, which is never the same
                return str(image.shape)
        case ".avi" | ".mp4":
            return f"{_frames(path)} frames"
        case ".json":
            values = json.loads(path.read_text())
            if "command" in values:  # which says --resume
                return repr({key: value for key, value in values.items() if key != "command"})
        case ".onnx":
            onnx.checker.check_model(onnx.load(path))
        case ".csv":
            with path.open(newline="") as file:
                rows = list(csv.reader(file))
            assert len({len(row) for row in rows}) == 1
            assert path.read_text().endswith("\n")
        case ".html":
            HTMLParser().feed(text := path.read_text())
            assert text.rstrip().endswith("</html>")
        case ".pdf":
            assert path.read_bytes().rstrip().endswith(b"%%EOF")
    assert path.suffix == ".txt" or path.stat().st_size > 0
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _parts(value: object) -> Iterator[bytes]:
    """Of what torch saved; the same values can be other bytes in a pickle."""
    if isinstance(value, torch.Tensor):
        yield value.numpy().tobytes()
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield repr(key).encode()
            yield from _parts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _parts(inner)
    else:
        yield repr(value).encode()


def _content_of_hdf5(path: Path) -> str:
    digest = hashlib.sha256()
    with h5py.File(path, "r") as file:
        assert "source" in file.attrs  # written last
        for name in sorted(file):
            for row in file[name][:]:
                digest.update(np.asarray(row).tobytes())
    return digest.hexdigest()


def _frames(path: Path) -> int:
    capture, count = cv2.VideoCapture(str(path)), 0
    while capture.grab():
        count += 1
    assert count > 0
    return count


def not_whole(outputs: Path) -> list[str]:
    """Files under a final name that can't be read."""
    found = []
    for name, path in final(outputs).items():
        try:
            content(path)
        except Exception as error:
            found.append(f"{name} ({type(error).__name__} {str(error)[:60]})")
    return found


def contents(outputs: Path) -> dict[str, str]:
    """Digests of all files."""
    return {name: content(path) for name, path in final(outputs).items()}
