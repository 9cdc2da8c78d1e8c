"""What kind of archive a file is, by its bytes: those that are read, and what to do with the others.

.tgz, .tar.bz2, .tar.xz --unpacked--> .tar beside the destination     .rar, .7z, web pages, parts --> one line
"""

import bz2
import gzip
import lzma
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from trackertraincode.errors import ArchiveError, UserError
from trackertraincode.files import whole_file
from trackertraincode.signatures import kind_of

MAX_RATIO = 200  # unpacked to packed; deflate reaches 1,000 on zeros, images and labels stay below 20

_COMPRESSED: dict[str | None, Callable[..., IO[bytes]]] = {
    "gzip": gzip.open,  # type: ignore[dict-item]
    "bzip2": bz2.open,  # type: ignore[dict-item]
    "xz": lzma.open,
}
_UNPACK = "which isn't read here; unpack it and give the folder"
_FOREIGN = {  # kind -> what it is, and what to do
    "rar": f"is a RAR archive, {_UNPACK}",
    "7z": f"is a 7-Zip archive, {_UNPACK}",
    "zstandard": f"is packed with Zstandard, {_UNPACK}",
    "compress": f"is packed with compress, {_UNPACK}",
    "lz4": f"is packed with LZ4, {_UNPACK}",
    "office": "is a workbook or document of old Office; tables are read as CSV: save it as that",
    "split zip": "is a part of a split zip file; join the parts first: zip -s 0 NAME.zip --out WHOLE.zip",
    "git lfs": "is a pointer of Git LFS; fetch the file itself: git lfs pull",
    "web page": (
        "is a web page; its server wants a login or allows no more downloads now: download it again in a browser"
    ),
}


PART = "is a part of a split archive; join the parts first: cat NAME.* > NAME"
_PART = re.compile(r"\.(zip|tar|tgz|tbz2?|txz|gz|bz2|xz)\.(\d{2,3}|(?!gz|bz|xz)[a-z]{2}|part-?\w{1,3})$", re.IGNORECASE)


def is_part(path: Path) -> bool:
    """Whether its name is one that programs give to parts of an archive."""
    return _PART.search(path.name) is not None


def refuse_foreign(path: Path, start: bytes) -> None:
    """Raise ArchiveError when the first bytes are those of something that isn't read, but has a name."""
    kind = kind_of(start)
    if kind in _FOREIGN:
        raise ArchiveError(f"{path}: {_FOREIGN[kind]}.")


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
        raise ArchiveError(f"{path}: {_FOREIGN['split zip']}.")


def why_unreadable(path: Path, start: bytes, error: Exception) -> str:
    """In words, for a file that begins so and could be opened neither as a tar nor as a zip file."""
    if is_part(path):
        return PART
    if kind_of(start) in _COMPRESSED:
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
            opener = _COMPRESSED.get(kind_of(file.read(8)))
    if opener is None:
        yield source
        return
    name = source.name.removesuffix(source.suffix).removesuffix(".tar")
    with whole_file(destination.with_name(f"{destination.name}.{name}.tar")) as tar:
        print(f"{source}: is unpacked first, to {tar}")
        _unpack(source, opener, tar)
        try:
            yield tar
        except UserError as error:
            error.args = (str(error).replace(str(tar), str(source)),)  # users know the one they gave
            raise
        finally:
            tar.unlink()  # instead of getting its name


def _unpack(source: Path, opener: Callable[[Path], Any], tar: Path) -> None:
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
        why = PART if is_part(source) else f"not a complete file ({error}); download it again"
        raise ArchiveError(f"{source}: {why}.") from error
    with tar.open("rb") as file:
        start = file.read(512)
    if not is_tar_header(start) and start.isascii() and start.strip(b"\0"):
        begins = start[:30].decode("ascii")
        raise ArchiveError(f"{source}: holds no archive, but text ({begins!r}); unpack it and give the file in it.")


def _next_block(packed: Any, done: int) -> bytes:
    """Up to a megabyte; nothing where only bytes follow that belong to no compressed part, as gzip itself does."""
    try:
        return packed.read1(2**20)  # which has what comes before a fault
    except gzip.BadGzipFile as error:
        if done and "Not a gzipped file" in str(error):  # parts before were whole, with their check sums
            return b""
        raise
