"""State dicts: tensors by name, whoever wrote them."""

import errno
import io
import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules import module as modules

from trackertraincode.errors import ModelFileError
from trackertraincode.files import whole_file
from trackertraincode.pickles import check_pickle

OLD_PICKLES = 5  # of files of before torch 1.6: magic number, protocol, machine, content, names of tensors
LARGEST_PICKLE = 2**26  # bytes; tensors lie beside it
MORE = 4  # times the bytes of a file may be made of it, since values can stand in it twice
MORE_BYTES = 2**20  # and these, for what is small
DEEPEST = 100  # dictionaries and lists in each other
DTYPES = {
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.bool,
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
}  # of tensors
NETWORK_BYTES = 2**28  # that a network may have beyond its weights, such as tables of places


def read_plain(path: Path) -> Any:
    """What torch saved, on the CPU; plain values and tensors alone. Raises ModelFileError for anything else."""
    if not path.is_file():
        raise ModelFileError(f"{path}: no such file; give a .ckpt of this library.")
    if path.suffix.lower() == ".onnx":
        raise ModelFileError(
            f"{path}: is an ONNX file, whose weights aren't read here; give the .ckpt that it was made of."
        )
    try:
        _check_pickles(path)
        with warnings.catch_warnings(action="ignore"):  # about kinds of tensors that are refused, of several lines
            content = torch.load(path, map_location="cpu", weights_only=True)
        made, size = _measure(content, {}), path.stat().st_size
        if made > MORE * size + MORE_BYTES:
            raise pickle.UnpicklingError(f"it makes {made:,} bytes of {size:,}")
        return content
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


@contextmanager
def no_larger_than(weights: int) -> Iterator[None]:
    """Inside, a network that is built from a file's configuration may have so many bytes, and some more.

    Raises ModelFileError before a parameter beyond that has values: most of them are made without.
    """
    left = MORE * weights + NETWORK_BYTES

    def count(_module: Any, _name: str, tensor: Tensor | None) -> None:
        nonlocal left
        left -= 0 if tensor is None else tensor.numel() * tensor.element_size()
        if left < 0:
            raise ModelFileError(f"it would be much larger than its weights, which have {weights:,} bytes")

    with ExitStack() as stack:
        stack.callback(modules.register_module_parameter_registration_hook(count).remove)
        stack.callback(modules.register_module_buffer_registration_hook(count).remove)
        yield


def bytes_of(state: Any) -> int:
    """Of the tensors of a state dict."""
    values = state.values() if isinstance(state, dict) else ()
    return sum(value.numel() * value.element_size() for value in values if isinstance(value, Tensor))


def _measure(value: Any, known: dict[int, int], depth: int = 0) -> int:
    """About how many bytes a value of a file has, where whatever stands in it twice counts twice. known: by id.

    Raises pickle.UnpicklingError for values that no network has.
    """
    if depth > DEEPEST:
        raise pickle.UnpicklingError(f"it has more than {DEEPEST} lists in each other")
    if isinstance(value, Tensor):
        if value.layout != torch.strided or value.dtype not in DTYPES:
            raise pickle.UnpicklingError(f"it has a sparse or quantised tensor, or one of {value.dtype}")
        return 1 + value.numel() * value.element_size()
    if isinstance(value, (str, bytes)):
        return 1 + len(value)
    if not isinstance(value, (dict, list, tuple, set)):
        return 1
    if id(value) not in known:
        known[id(value)] = 2**62  # of one that holds itself
        inner = [*value, *value.values()] if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_measure(item, known, depth + 1) for item in inner)
    return known[id(value)]


def _check_pickles(path: Path) -> None:
    """Raise pickle.UnpicklingError where torch would not come to an end, or make more of a file than it has."""
    with path.open("rb") as file:
        if not zipfile.is_zipfile(file):
            file.seek(0)
            for _ in range(OLD_PICKLES):
                check_pickle(file)
            return
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            if any(member.compress_type != zipfile.ZIP_STORED for member in members):
                raise pickle.UnpicklingError("it is compressed, which torch's files aren't")
            if sum(member.file_size for member in members) > path.stat().st_size:
                raise pickle.UnpicklingError("its members overlap")
            for member in (member for member in members if member.filename.endswith(".pkl")):
                if member.file_size > LARGEST_PICKLE:
                    raise pickle.UnpicklingError(f"{member.filename} has {member.file_size:,} bytes")
                check_pickle(io.BytesIO(archive.read(member)))


def tensors_of(path: Path, content: Any) -> dict[str, Tensor]:
    """The tensors of a state dict, which may lie in an entry of its own and be prefixed by wrappers' names."""
    for key in ("state_dict", "model_state_dict", "model"):
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
