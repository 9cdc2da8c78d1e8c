"""What HDF5 keeps on its global heap: texts and arrays of variable length, each stored as a reference to there.

    reference (length, address, index) --> collection "GCOL" at the address --> object `index`: size, bytes

HDF5 trusts these numbers: wrong ones let it write beyond its memory, ask for gigabytes, or search for ever. So they are
compared with the file's bytes before it follows them. Everything here raises ValueError for what doesn't fit.
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO

import h5py
import numpy as np

REFERENCE = np.dtype([("length", "<u4"), ("address", "<u8"), ("index", "<u4")])
COLLECTION, OBJECT = struct.Struct("<4sB3xQ"), struct.Struct("<HH4xQ")  # signature, version, bytes; index, uses, bytes
ATTRIBUTE, CONTINUATION = 12, 16  # kinds of messages of an object's header
BLOCK = 4096  # bytes of most collections


def check_references(file: BinaryIO, size: int, references: np.ndarray, unit: int, base: int = 0) -> None:
    """Compare references (n,) REFERENCE, whose lengths count `unit` bytes, with a file of `size` bytes from `base` on."""
    known: dict[int, dict[int, int]] = {}
    for length, address, index in references.tolist():
        if not address:
            continue  # nothing was stored
        if address not in known:
            known[address] = _sizes_in_collection(file, size, base + address)
        if known[address].get(index) != length * unit:
            raise ValueError(f"{length * unit:,} bytes are claimed where {known[address].get(index, 0):,} are stored")


def _sizes_in_collection(file: BinaryIO, size: int, place: int) -> dict[int, int]:
    """Bytes of its objects by index."""
    start = _read(file, size, place, min(BLOCK, size - place))
    signature, version, length = COLLECTION.unpack_from(start)
    if signature != b"GCOL" or version != 1 or place + length > size:
        raise ValueError(f"no whole heap at byte {place:,}")
    sizes: dict[int, int] = {}
    position = COLLECTION.size
    while position + OBJECT.size <= length:
        inside = position + OBJECT.size <= len(start)
        header = (
            start[position : position + OBJECT.size] if inside else _read(file, size, place + position, OBJECT.size)
        )
        index, _, count = OBJECT.unpack(header)
        step = OBJECT.size + (count + 7) // 8 * 8 if index else count  # what is free counts its header
        if step < OBJECT.size or position + step > length or (index and index in sizes):
            raise ValueError(f"a damaged heap at byte {place:,}")
        sizes[index] = count
        position += step
    sizes.pop(0, None)
    return sizes


def check_attribute(file: BinaryIO, size: int, owner: h5py.Dataset | h5py.Group, name: str) -> None:
    """Compare a text attribute of variable length with the file's bytes."""
    kind = owner.attrs.get_id(name).get_type()
    if not isinstance(kind, h5py.h5t.TypeStringID):
        if isinstance(
            kind, h5py.h5t.TypeVlenID | h5py.h5t.TypeCompoundID | h5py.h5t.TypeArrayID | h5py.h5t.TypeReferenceID
        ):
            raise ValueError(f"it is neither text nor a number but {type(kind).__name__}")
        return
    if not kind.is_variable_str():
        return
    base = owner.file.userblock_size
    for message in _messages(file, size, base + h5py.h5o.get_info(owner.id).addr, base):
        references = _references_of(message, name.encode())
        if references is not None:
            check_references(file, size, references, 1, base)
            return
    raise ValueError("it isn't kept beside its owner; h5repack writes it anew")


def _messages(file: BinaryIO, size: int, place: int, base: int) -> Iterator[bytes]:
    """Attributes in the header of an object, as they are stored."""
    start = _read(file, size, place, 32)
    if start[:4] == b"OHDR":
        flags = start[5]
        begin = 6 + (16 if flags & 32 else 0) + (4 if flags & 16 else 0)
        width = 1 << (flags & 3)
        blocks = [(place + begin + width, int.from_bytes(start[begin : begin + width], "little"))]
        head, extra = struct.Struct("<BHB"), 2 if flags & 4 else 0
    else:
        blocks, flags = [(place + 16, int.from_bytes(start[8:12], "little"))], -1
        head, extra = struct.Struct("<HHB"), 3
    seen = 0
    while seen < len(blocks):
        block = _read(file, size, *blocks[seen])
        seen += 1
        position = 4 if flags >= 0 and seen > 1 else 0  # "OCHK"
        while position + head.size + extra <= len(block):
            kind, length, _ = head.unpack_from(block, position)
            position += head.size + extra
            message = block[position : position + length]
            position += length
            if kind == CONTINUATION and len(message) >= 16 and len(blocks) < 1000:
                address, count = struct.unpack_from("<QQ", message)
                blocks.append((base + address, count))
            elif kind == ATTRIBUTE:
                yield message


def _references_of(message: bytes, name: bytes) -> np.ndarray | None:
    """(n,) REFERENCE of an attribute with this name; None for others."""
    version, _, *lengths = struct.unpack_from("<BBHHH", message.ljust(9, b"\0"))
    start = 9 if version == 3 else 8
    if message[start : start + lengths[0]].split(b"\0")[0] != name:
        return None
    if version == 1:
        lengths = [(length + 7) // 8 * 8 for length in lengths]
    data = message[start + sum(lengths) :]
    return np.frombuffer(data[: len(data) // REFERENCE.itemsize * REFERENCE.itemsize], REFERENCE)


def _read(file: BinaryIO, size: int, place: int, count: int) -> bytes:
    if not 0 <= place <= place + count <= size:
        raise ValueError(f"bytes {place:,} to {place + count:,} in a file of {size:,}")
    file.seek(place)
    data = file.read(count)
    if len(data) < count:
        raise ValueError(f"the file ends before byte {place + count:,}")
    return data
