"""What kind of archive a file is, by its bytes: those that are read, and what to do with the others.

.tgz, .tar.bz2, .tar.xz --unpacked--> .tar beside the destination     .rar, .7z, web pages, parts --> one line
"""

import bz2
import gzip
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from trackertraincode.errors import ArchiveError, UserError
from trackertraincode.files import whole_file

MAX_RATIO = 200  # unpacked to packed; deflate reaches 1,000 on zeros, images and labels stay below 20

_COMPRESSED: dict[bytes, Callable[..., IO[bytes]]] = {
    b"\x1f\x8b": gzip.open,  # type: ignore[dict-item]
    b"BZh": bz2.open,  # type: ignore[dict-item]
    b"\xfd7zXZ": lzma.open,
    b"]\0\0": lzma.open,
}
_FIRST_PART = b"PK\x07\x08"
_UNPACK = "which isn't read here; unpack it and give the folder"
_FOREIGN = {  # first bytes -> what it is, and what to do
    b"Rar!": f"is a RAR archive, {_UNPACK}",
    b"7z\xbc\xaf\x27\x1c": f"is a 7-Zip archive, {_UNPACK}",
    b"\x28\xb5\x2f\xfd": f"is packed with Zstandard, {_UNPACK}",
    b"\x1f\x9d": f"is packed with compress, {_UNPACK}",
    b"\x04\x22\x4d\x18": f"is packed with LZ4, {_UNPACK}",
    b"\xd0\xcf\x11\xe0": "is a workbook or document of old Office; tables are read as CSV: save it as that",
    _FIRST_PART: "is a part of a split zip file; join the parts first: zip -s 0 NAME.zip --out WHOLE.zip",
    b"version https://git-lfs": "is a pointer of Git LFS; fetch the file itself: git lfs pull",
}


def refuse_foreign(path: Path, start: bytes) -> None:
    """Raise ArchiveError when the first bytes are those of something that isn't read, but has a name."""
    for first, what in _FOREIGN.items():
        if start.startswith(first):
            raise ArchiveError(f"{path}: {what}.")
    refuse_web_page(path, start)


def refuse_web_page(path: Path, start: bytes) -> None:
    """Raise ArchiveError when the first bytes are those of a page that was saved instead of the file."""
    start = start[:512].lower()
    if b"<!doctype html" in start or b"<html" in start:
        raise ArchiveError(
            f"{path}: is a web page; its server wants a login or allows no more downloads now: download it "
            "again in a browser."
        )


def is_tar_header(start: bytes) -> bool:
    """Whether the first 512 bytes are the header of a member; the oldest kind has no mark, only its sum."""
    try:
        tarfile.TarInfo.frombuf(start, "utf-8", "surrogateescape")
    except tarfile.HeaderError:  # type: ignore[attr-defined]
        return start[257:262] == b"ustar"
    return True


def refuse_last_part(path: Path) -> None:
    """Raise ArchiveError when the end of a zip file says that it began in another one (APPNOTE 4.3.16)."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 2**16 - 22))
        end = file.read()
    place = end.rfind(b"PK\5\6")
    if place >= 0 and end[place + 4 : place + 6] not in (b"\0\0", b"\xff\xff"):
        raise ArchiveError(f"{path}: {_FOREIGN[_FIRST_PART]}.")


def why_unreadable(path: Path, start: bytes, error: Exception) -> str:
    """In words, for a file that begins so and could be opened neither as a tar nor as a zip file."""
    if path.suffix == ".001":
        return "is a part of a split archive; join the parts first"
    if any(start.startswith(first) for first in _COMPRESSED):
        return "is compressed twice; unpack it once and give what comes out"
    kind = "tar" if is_tar_header(start) else "zip"
    if kind == "tar" or start.startswith(b"PK") or not start.strip(b"\0"):
        return f"not a complete {kind} file ({error}); download it again"
    return (
        "not a complete zip file, nor another archive that is read (.tar, .tgz, .tar.bz2, .tar.xz): "
        f"begins with {str(start[:30])[1:]}"
    )


@contextmanager
def unpacked(source: Path, destination: Path) -> Iterator[Path]:
    """What to read: the source, or the tar file that a compressed one was unpacked to for as long as this is open.

    It lies beside the destination, since it may be large, and members of a compressed file can't be read in any order.
    Raises ArchiveError when the source is damaged or a bomb.
    """
    opener = None
    if source.is_file():
        with source.open("rb") as file:
            start = file.read(8)
        opener = next((opener for first, opener in _COMPRESSED.items() if start.startswith(first)), None)
    if opener is None:
        yield source
        return
    name = source.name.removesuffix(source.suffix).removesuffix(".tar")
    with whole_file(destination.with_name(f"{destination.name}.{name}.tar")) as tar:
        print(f"{source}: is unpacked first, to {tar}")
        limit = MAX_RATIO * source.stat().st_size
        try:
            with opener(source) as packed, tar.open("wb") as file:
                while block := _next_block(packed, file.tell()):
                    if file.tell() > limit:
                        raise ArchiveError(f"{source}: unpacks to {MAX_RATIO} times its size; refused.")
                    file.write(block)
        except (EOFError, zlib.error, lzma.LZMAError, OSError) as error:
            if getattr(error, "errno", None) is not None:  # of the disk
                raise
            raise ArchiveError(f"{source}: not a complete file ({error}); download it again.") from error
        try:
            yield tar
        except UserError as error:
            error.args = (str(error).replace(str(tar), str(source)),)  # users know the one they gave
            raise
        finally:
            tar.unlink()  # instead of getting its name


def _next_block(packed: Any, done: int) -> bytes:
    """Up to a megabyte; nothing where only bytes follow that belong to no compressed part, as gzip itself does."""
    try:
        return packed.read1(2**20)  # which has what comes before a fault
    except gzip.BadGzipFile as error:
        if done and "Not a gzipped file" in str(error):  # parts before were whole, with their check sums
            return b""
        raise
