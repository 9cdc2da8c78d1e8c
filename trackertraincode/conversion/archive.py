"""One view of downloaded data, zipped or unpacked: names with forward slashes, bytes by name, dangers refused."""

import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from trackertraincode.errors import ArchiveError
from trackertraincode.sample.images import ImageDecodeError

MAX_MEMBER_BYTES = 512 * 2**20
MAX_RATIO = 200  # unpacked to packed; deflate reaches 1,000 on zeros, pictures and labels stay below 20
SMALL_BYTES = 64 * 2**10  # whose ratio doesn't matter
VIDEO_EXTENSIONS = (".avi", ".mp4", ".mov", ".mkv", ".webm")

_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError)


class Archive:
    """Members of a zip file or of a folder. Separators are normalised; macOS entries are left out."""

    def __init__(self, path: Path) -> None:
        """Raises ArchiveError when there is nothing at the path, or it is damaged or dangerous."""
        self.path = path
        self._zip: zipfile.ZipFile | None = None
        self._members: dict[str, zipfile.ZipInfo | Path] = {}
        if path.is_dir():
            self._members = {p.relative_to(path).as_posix(): p for p in sorted(path.rglob("*")) if p.is_file()}
        elif path.is_file():
            self._open_zip()
        else:
            raise ArchiveError(f"{path}: no such archive or folder; check the path.")
        self._members = {name: member for name, member in self._members.items() if not is_junk(name)}

    def _open_zip(self) -> None:
        try:
            self._zip = zipfile.ZipFile(self.path)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise ArchiveError(f"{self.path}: not a complete zip file ({error}); download it again.") from error
        for info in self._zip.infolist():
            name = info.filename.replace("\\", "/")
            check_name(self.path, name)
            if not name.endswith("/"):
                self._members[name] = info

    @property
    def names(self) -> list[str]:
        """All members."""
        return list(self._members)

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def size(self, name: str) -> int:
        """Bytes of a member when unpacked."""
        member = self._members[name]
        return member.stat().st_size if isinstance(member, Path) else member.file_size

    def read(self, name: str) -> bytes:
        """A member's bytes. Raises ArchiveError naming it when it is missing, damaged or a bomb."""
        member = self._members.get(name)
        if member is None:
            raise ArchiveError(f"{self.path}: member '{name}' is missing.")
        if isinstance(member, Path):
            self._check_size(name, member.stat().st_size, None)
            return member.read_bytes()
        self._check_size(name, member.file_size, member.compress_size)
        assert self._zip is not None
        try:
            return self._zip.read(member)
        except _DAMAGE as error:
            raise ArchiveError(f"{self.path}: member '{name}' is damaged ({error}); download it again.") from error

    def _check_size(self, name: str, size: int, packed: int | None) -> None:
        if name.lower().endswith(VIDEO_EXTENSIONS):
            return
        if size > MAX_MEMBER_BYTES:
            raise ArchiveError(f"{self.path}: member '{name}' unpacks to {size >> 20} MB, which none does; refused.")
        if packed is not None and size > SMALL_BYTES and size > MAX_RATIO * max(packed, 1):
            times = size // max(packed, 1)
            raise ArchiveError(f"{self.path}: member '{name}' unpacks to {times} times its size; refused.")


def check_name(path: Path, name: str) -> None:
    """Raise ArchiveError for a member that points outside the archive."""
    if name.startswith("/") or ".." in name.split("/") or name[1:2] == ":":
        raise ArchiveError(f"{path}: member '{name}' points outside the archive; refused.")


def is_junk(name: str) -> bool:
    """What macOS and Windows add to archives."""
    parts = name.split("/")
    return "__MACOSX" in parts or parts[-1].startswith("._") or parts[-1] in (".DS_Store", "Thumbs.db")


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Turn the ImageDecodeError of what is done inside into an ArchiveError that begins with the name."""
    try:
        yield
    except ImageDecodeError as error:
        raise ArchiveError(f"{name}: {error}") from error


def open_archive(path: Path) -> Archive:
    """The archive, opened once per process: a forked one must not share its parent's position in the file."""
    return _open_for_process(path, os.getpid())


@cache
def _open_for_process(path: Path, _process: int) -> Archive:
    return Archive(path)
