"""State dicts: tensors by name, whoever wrote them."""

import errno
import io
import os
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trackertraincode.errors import ModelFileError
from trackertraincode.files import whole_file
from trackertraincode.pickles import check_pickle

OLD_PICKLES = 5  # of files of before torch 1.6: magic number, protocol, machine, content, names of tensors
LARGEST_PICKLE = 2**26  # bytes; tensors lie beside it


def read_plain(path: Path) -> Any:
    """What torch saved, on the CPU; plain values and tensors alone. Raises ModelFileError for anything else."""
    if not path.is_file():
        raise ModelFileError(f"{path}: no such file; give a .ckpt of this library.")
    try:
        _check_pickles(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can raise anything
        reason = (str(error).splitlines() or ["damaged"])[0]
        raise ModelFileError(
            f"{path}: not a readable checkpoint ({reason[:120]}); copy it again or train anew."
        ) from error


def save_plain(path: Path, content: Any) -> None:
    """The file has its name only when it is complete. Raises OSError when the disk is full."""
    with whole_file(path) as temporary:
        try:
            torch.save(content, temporary)
        except RuntimeError as error:
            if "inline_container" not in str(error) and "PytorchStreamWriter" not in str(error):
                raise
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error  # torch doesn't say so


def _check_pickles(path: Path) -> None:
    """Raise pickle.UnpicklingError where torch's unpickler would not come to an end."""
    with path.open("rb") as file:
        if not zipfile.is_zipfile(file):
            file.seek(0)
            for _ in range(OLD_PICKLES):
                check_pickle(file)
            return
        with zipfile.ZipFile(file) as archive:
            for member in archive.infolist():
                if member.filename.endswith(".pkl"):
                    if member.file_size > LARGEST_PICKLE:
                        raise pickle.UnpicklingError(f"{member.filename} has {member.file_size:,} bytes")
                    check_pickle(io.BytesIO(archive.read(member)))


def tensors_of(path: Path, content: Any) -> dict[str, Tensor]:
    """The tensors of a state dict, which may lie in an entry of its own and be prefixed by wrappers' names."""
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise ModelFileError(f"{path}: holds no weights; give a .ckpt of this library, or a .pth with a state dict.")
    return {re.sub(r"^(module|_model)\.", "", str(name)): value for name, value in content.items()}


def in_order(own: dict[str, Tensor], given: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of the same network under other names; what comes behind it, such as a classifier, is left out."""
    pairs = list(zip(own, given.items()))
    same = len(pairs) == len(own) and all(a.rpartition(".")[2] == b.rpartition(".")[2] for a, (b, _) in pairs)
    return {name: value for name, (_, value) in pairs} if same else {}
