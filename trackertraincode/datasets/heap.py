"""What HDF5 keeps on its global heap: texts and arrays of variable length, each stored as a reference to there.

    reference (length, address, index) --> collection "GCOL" at the address --> object `index`: size, bytes

HDF5 trusts these numbers: wrong ones let it write beyond its memory, ask for gigabytes, or search for ever. So they are
compared with the file's bytes before it follows them. Everything here raises ValueError for what doesn't fit.
"""

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO
from weakref import WeakKeyDictionary

import h5py
import numpy as np

REFERENCE = np.dtype([("length", "<u4"), ("address", "<u8"), ("index", "<u4")])
COLLECTION, OBJECT = struct.Struct("<4sB3xQ"), struct.Struct("<HH4xQ")  # signature, version, bytes; index, uses, bytes
FIRST = np.dtype(  # a collection and its first object, which mostly is the only one
    [
        ("signature", "S4"),
        ("version", "u1"),
        ("", "V3"),
        ("bytes", "<u8"),
        ("index", "<u2"),
        ("", "V6"),
        ("count", "<u8"),
    ]
)
ATTRIBUTE, CONTINUATION = 12, 16  # kinds of messages of an object's header
BLOCK = 4096  # bytes of most collections


class Unread(ValueError):
    """Nothing is wrong, but this program doesn't read it; the message tells what to do."""


@dataclass
class _Compared:
    """What of an open data set was compared with the file's bytes, so that it is done once."""

    attributes: set[str] = field(default_factory=set)
    references: list[tuple[int, np.ndarray]] | None = None  # unit of lengths in bytes, (N,) REFERENCE
    rows: np.ndarray = field(default_factory=lambda: np.empty(0, bool))  # (N,)


_COMPARED: "WeakKeyDictionary[h5py.Dataset | h5py.File, _Compared]" = WeakKeyDictionary()


def check_references(file: BinaryIO, size: int, references: np.ndarray, unit: int, base: int) -> None:
    """Compare references (n,) REFERENCE, whose lengths count `unit` bytes, with a file of `size` bytes from `base` on."""
    known: dict[int, dict[int, tuple[int, int]]] = {}
    for length, address, index in references.tolist():
        if not address:
            continue  # nothing was stored
        if address not in known:
            known[address] = _objects_in_collection(file, size, base + address, _start(file, size, base + address))
        _compare(length * unit, known[address].get(index, (0, 0))[1])


def _compare(claimed: int, stored: int) -> None:
    if claimed != stored:
        raise ValueError(f"{claimed:,} bytes are claimed where {stored:,} are stored")


def _start(file: BinaryIO, size: int, place: int) -> bytes:
    return _read(file, size, place, min(BLOCK, size - place))


def _objects_in_collection(
    file: BinaryIO, size: int, place: int, start: bytes | memoryview
) -> dict[int, tuple[int, int]]:
    """First byte and bytes of its objects by index. start: the first bytes of the collection, to read less often."""
    if len(start) < COLLECTION.size:
        raise ValueError(f"no whole heap at byte {place:,}")
    signature, version, length = COLLECTION.unpack_from(start)
    if signature != b"GCOL" or version != 1 or place + length > size:
        raise ValueError(f"no whole heap at byte {place:,}")
    objects: dict[int, tuple[int, int]] = {}
    position = COLLECTION.size
    while position + OBJECT.size <= length:
        inside = position + OBJECT.size <= len(start)
        header = (
            start[position : position + OBJECT.size] if inside else _read(file, size, place + position, OBJECT.size)
        )
        index, _, count = OBJECT.unpack(header)
        step = OBJECT.size + (count + 7) // 8 * 8 if index else count  # what is free counts its header
        if step < OBJECT.size or position + step > length or (index and index in objects):
            raise ValueError(f"a damaged heap at byte {place:,}")
        objects[index] = (place + position + OBJECT.size, count)
        position += step
    objects.pop(0, None)
    return objects


def read_objects(file: BinaryIO, pages: np.ndarray, references: np.ndarray) -> list[bytes]:
    """What (n,) REFERENCE refer to, whose lengths count bytes, in their order; read in the order of the file.

    pages: all bytes of the file, mapped, in which collections are looked at; the map isn't read ahead, objects are.
    """
    result = [b""] * len(references)
    wanted, size = references.tolist(), len(pages)
    first = _are_first(pages, references).tolist()
    for number in np.argsort(references["address"], kind="stable").tolist():
        length, address, index = wanted[number]
        if not address:
            continue  # nothing was stored
        place, count = address + FIRST.itemsize, length
        if not first[number]:
            place, count = _objects_in_collection(file, size, address, pages.data[address:]).get(index, (0, 0))
        _compare(length, count)
        result[number] = _read(file, size, place, count)
    return result


def _are_first(pages: np.ndarray, references: np.ndarray) -> np.ndarray:
    """(n,) REFERENCE -> (n,) bool: which refer to the first object of their collection; all are looked at together."""
    address, size = references["address"], len(pages)
    inside = address + FIRST.itemsize <= size
    inside &= address < size  # the sum may be beyond 64 bits
    places = np.where(inside, address, 0).astype(np.int64)
    if not inside.any():
        return inside
    heads = pages[places[:, None] + np.arange(FIRST.itemsize)].view(FIRST)[:, 0]
    fits = (heads["bytes"] <= size - places) & (
        heads["bytes"] >= FIRST.itemsize + references["length"].astype(np.int64)
    )
    same = (heads["index"] == references["index"]) & (heads["count"] == references["length"]) & (heads["index"] > 0)
    whole: np.ndarray = inside & fits & same & (heads["signature"] == b"GCOL") & (heads["version"] == 1)
    return whole


def check_attribute(path: Path, owner: h5py.Dataset | h5py.File, name: str) -> None:
    """Compare a text attribute of variable length, where there is one, with the file's bytes, once. Raises ValueError."""
    compared = _COMPARED.setdefault(owner, _Compared()).attributes
    if name not in compared and name in owner.attrs:
        with path.open("rb") as file:
            _check_attribute(file, path.stat().st_size, owner, name)
        compared.add(name)


def _check_attribute(file: BinaryIO, size: int, owner: h5py.Dataset | h5py.Group, name: str) -> None:
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
    raise Unread("it isn't kept beside its owner, where this program reads it; h5repack writes it there")


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


def check_rows(path: Path, dataset: h5py.Dataset, rows: np.ndarray) -> None:
    """Compare what rows (n,) of variable length refer to with the file's bytes. Raises ValueError."""
    known = _COMPARED.setdefault(dataset, _Compared())
    if known.references == [] or (known.references and known.rows[rows].all()):
        return
    base = dataset.file.userblock_size
    with path.open("rb", buffering=0) as file:
        if known.references is None:
            places = places_of_lengths(dataset.id.get_type())
            references = [(unit, np.zeros(len(dataset), REFERENCE)) for unit in places.values()]
            for start, table in _stored_rows(file, dataset) if places else ():
                for place, (_, found) in zip(places, references):
                    part = np.ascontiguousarray(table[:, place : place + REFERENCE.itemsize])
                    found[start : start + len(part)] = part.view(REFERENCE)[:, 0]
            known.references, known.rows = references, np.zeros(len(dataset) if places else 0, bool)
        for unit, found in known.references:
            check_references(file, os.fstat(file.fileno()).st_size, found[rows], unit, base)
    if known.references:
        known.rows[rows] = True


def _stored_rows(file: BinaryIO, dataset: h5py.Dataset) -> Iterator[tuple[int, np.ndarray]]:
    """First row and (n, bytes of a row) uint8, chunk by chunk, as they lie in the file, without what was never written."""
    plan = dataset.id.get_create_plist()
    if dataset.ndim != 1 or plan.get_layout() == h5py.h5d.COMPACT:
        raise ValueError("it isn't one row after the other")
    blocks: list[tuple[int, int, int]] = []  # first row, position, bytes
    rows = len(dataset) if dataset.chunks is None else dataset.chunks[0]
    if dataset.chunks is None:
        blocks.append((0, dataset.id.get_offset() or 0, dataset.id.get_storage_size()))
    else:
        dataset.id.chunk_iter(lambda c: blocks.append((c.chunk_offset[0], c.byte_offset, c.size)))
    for start, place, count in blocks:
        if not count or start >= len(dataset):
            continue
        file.seek(place)
        data = _unfiltered(dataset, start, plan) if plan.get_nfilters() else file.read(count)
        if len(data) < count and not plan.get_nfilters():
            raise ValueError(f"the file ends before byte {place + count:,}")
        yield start, np.frombuffer(data, np.uint8).reshape(rows, -1)[: len(dataset) - start]


def _unfiltered(dataset: h5py.Dataset, start: int, plan: h5py.h5p.PropDCID) -> bytes:
    """A chunk of elements of variable length as it was before HDF5's filters, which skip some chunks."""
    mask, data = dataset.id.read_direct_chunk((start,))
    for place in reversed(range(plan.get_nfilters())):
        kind, _, values, name = plan.get_filter(place)
        if mask >> place & 1:
            continue
        if kind == h5py.h5z.FILTER_DEFLATE:
            most = dataset.chunks[0] * max(REFERENCE.itemsize, dataset.id.get_type().get_size())
            data = zlib.decompressobj().decompress(data, most)
        elif kind == h5py.h5z.FILTER_SHUFFLE:
            data = np.frombuffer(data, np.uint8).reshape(values[0], -1).T.tobytes()
        else:
            raise Unread(
                f"it is packed by {name.decode(errors='replace')}, which isn't read here; h5repack -f GZIP=4 packs it anew"
            )
    return bytes(data)


def places_of_lengths(kind: h5py.h5t.TypeID) -> dict[int, int]:
    """Byte offsets in a stored element where a reference to the heap stands, and the unit of its length in bytes.

    Raises ValueError for kinds of elements that no sample file has.
    """
    if isinstance(kind, h5py.h5t.TypeStringID):
        return {0: 1} if kind.is_variable_str() else {}
    if isinstance(kind, h5py.h5t.TypeVlenID) and isinstance(
        kind.get_super(), h5py.h5t.TypeIntegerID | h5py.h5t.TypeFloatID
    ):
        return {0: kind.get_super().get_size()}
    if isinstance(kind, h5py.h5t.TypeCompoundID):
        members = [(kind.get_member_offset(i), kind.get_member_type(i)) for i in range(kind.get_nmembers())]
        return {start + p: unit for start, member in members for p, unit in places_of_lengths(member).items()}
    if kind.dtype.hasobject:
        raise ValueError(f"elements of type {kind.dtype}")
    return {}
