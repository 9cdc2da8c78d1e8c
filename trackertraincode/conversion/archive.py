"""One view of downloaded data, packed or unpacked: names with forward slashes, bytes by name, dangers refused.

folder, .zip or .tar --Archive--> names, bytes     .tgz, .tar.bz2, .tar.xz --unpacked--> .tar beside the destination
"""

import os
import posixpath
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, cached_property
from pathlib import Path
from typing import Any, BinaryIO, TypeVar
from urllib.parse import unquote

from trackertraincode.conversion.archive_kinds import (
    MAX_RATIO,
    is_tar_header,
    refuse_foreign,
    refuse_last_part,
    why_unreadable,
)
from trackertraincode.errors import ArchiveError
from trackertraincode.files import is_stream
from trackertraincode.sample.images import IMAGE_EXTENSIONS, ImageDecodeError, ImageEncodeError
from trackertraincode.spelling import any_spelling, normal_name

MAX_MEMBER_BYTES = 512 * 2**20
MOST_LINKS = 40  # one leading to the next, as systems have it
SMALL_BYTES = 64 * 2**10  # whose ratio doesn't matter
VIDEO_EXTENSIONS = (".avi", ".mp4", ".mov", ".mkv", ".webm", ".m4v", ".3gp", ".mpg", ".mpeg", ".mts", ".wmv")
ARCHIVE_EXTENSIONS = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".rar", ".7z")
JUNK_FOLDERS = {  # copies and thumbnails, as are all folders whose names begin with a dot
    "__MACOSX", "@eaDir", "@Recycle", "#recycle", "#snapshot", "$RECYCLE.BIN", "RECYCLER", "System Volume Information",
    "lost+found",
}  # fmt: skip

_UTF8 = 0x800  # flag of names in it (APPNOTE 4.4.4)
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError)

Key = TypeVar("Key", bound=Hashable)


class Archive:
    """Members of a zip file, a tar file or a folder. Names are normalised; what systems add is left out.

    A member is found under another spelling, too: capitals, composed letters and percent signs make no difference.
    """

    def __init__(self, path: Path) -> None:
        """Raises ArchiveError when there is nothing at the path, or it is damaged or dangerous."""
        self.path = path
        self._zip: zipfile.ZipFile | None = None
        found: Iterable[tuple[str, Any]]
        if path.is_dir():
            found = ((p.relative_to(path).as_posix(), p) for p in sorted(files_below(path)) if p.is_file())
        elif path.is_file():
            found = self._open_file()
        elif is_stream(path):
            raise ArchiveError(f"{path}: is a device or a pipe; give an archive or a folder.")
        else:
            raise ArchiveError(f"{path}: no such archive or folder; check the path.")
        self._members: dict[str, zipfile.ZipInfo | tarfile.TarInfo | Path] = {}
        for name, member in found:
            name = normal_name(name)
            check_name(path, name)
            if not is_junk(name):
                self._members[name] = member

    def _open_file(self) -> Iterable[tuple[str, Any]]:
        with self.path.open("rb") as file:
            start = file.read(512)
        refuse_foreign(self.path, start)
        is_tar = is_tar_header(start)
        try:
            if is_tar:
                with tarfile.open(self.path, "r:") as tar:
                    files = regular_members(tar.getmembers())
                if any(member.size < 0 for member in files.values()):
                    raise EOFError("a negative size")
                with self.path.open("rb") as file:
                    file.seek(-512, os.SEEK_END)
                    if file.read().strip(b"\0"):
                        raise EOFError("no end mark")
                return files.items()
            self._zip = zipfile.ZipFile(self.path)
            if any(info.header_offset < 0 for info in self._zip.infolist()):
                raise EOFError("its beginning is missing")
        except (tarfile.TarError, *_DAMAGE) as error:
            raise ArchiveError(f"{self.path}: {why_unreadable(self.path, start, error)}.") from error
        refuse_last_part(self.path)
        return ((_name_of(info), info) for info in self._zip.infolist() if not info.filename.endswith("/"))

    @property
    def names(self) -> list[str]:
        """All members."""
        return list(self._members)

    def __contains__(self, name: str) -> bool:
        return self._find(name) is not None

    def _find(self, name: str) -> zipfile.ZipInfo | tarfile.TarInfo | Path | None:
        return self._members.get(name) or self._any_case.get(any_spelling(name))

    @cached_property
    def _any_case(self) -> dict[str, Any]:
        return {any_spelling(name): member for name, member in reversed(self._members.items())}

    def file(self, name: str) -> Path | None:
        """Where a member lies on the disk, None in a packed archive."""
        member = self._find(name)
        return member if isinstance(member, Path) else None

    def read(self, name: str) -> bytes:
        """A member's bytes. Raises ArchiveError naming it when it is missing, damaged or a bomb."""
        member = self._find(name)
        if member is None:
            raise ArchiveError(f"{self.path}: member '{name}' is missing.")
        if isinstance(member, Path):
            self._check_size(name, member.stat().st_size, None)
            return member.read_bytes()
        if isinstance(member, tarfile.TarInfo):
            return self._read_tar(name, member)
        self._check_size(name, member.file_size, member.compress_size)
        if member.flag_bits & 1:
            raise ArchiveError(f"{self.path}: member '{name}' is encrypted; unpack it and give the folder.")
        if member.compress_type not in _METHODS:
            method = "Deflate64" if member.compress_type == 9 else f"method {member.compress_type}"
            raise ArchiveError(
                f"{self.path}: member '{name}' is packed with {method}, which isn't read here; unpack the archive with "
                "another program and give the folder."
            )
        assert self._zip is not None
        try:
            return self._zip.read(member)
        except _DAMAGE as error:
            raise ArchiveError(f"{self.path}: member '{name}' is damaged ({error}); download it again.") from error

    def _read_tar(self, name: str, member: tarfile.TarInfo) -> bytes:
        self._check_size(name, member.size, None)
        with self.path.open("rb") as file:  # not kept open: Windows wouldn't let it be removed
            data = _read_sparse(file, member) if member.issparse() else _read_at(file, member)
        if len(data) < member.size:
            raise ArchiveError(f"{self.path}: member '{name}' is damaged (the file ends in it); download it again.")
        return data

    def _check_size(self, name: str, size: int, packed: int | None) -> None:
        if name.lower().endswith(VIDEO_EXTENSIONS):
            return
        if size > MAX_MEMBER_BYTES:
            raise ArchiveError(
                f"{self.path}: member '{name}' unpacks to {size >> 20} MB, more than any real one; refused."
            )
        if packed is not None and size > SMALL_BYTES and size > MAX_RATIO * max(packed, 1):
            times = size // max(packed, 1)
            raise ArchiveError(f"{self.path}: member '{name}' unpacks to {times} times its size; refused.")


def _read_at(file: BinaryIO, member: tarfile.TarInfo) -> bytes:
    """As much as there is of it."""
    file.seek(member.offset_data)
    return file.read(member.size)


def _read_sparse(file: BinaryIO, member: tarfile.TarInfo) -> bytes:
    """Of one whose holes aren't in the archive; nothing where that is damaged."""
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            opened = archive.extractfile(member)
            return b"" if opened is None else opened.read()
    except (tarfile.TarError, *_DAMAGE):
        return b""


def _name_of(info: zipfile.ZipInfo) -> str:
    """macOS writes names in UTF-8 without the flag that says so, and Python reads such as cp437."""
    if info.filename.isascii() or info.flag_bits & _UTF8:
        return info.filename
    try:
        return info.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.filename


def files_below(folder: Path) -> Iterator[Path]:
    """All files, also in folders that are links, but each folder once and none that the given one lies in."""
    above = Path(os.path.realpath(folder)).parents
    known = set(map(str, above))
    waiting = [folder]
    while waiting:
        links: list[Path] = []
        for top in waiting:
            for place, folders, files in os.walk(top):
                real = os.path.realpath(place)
                if real in known:
                    folders.clear()
                    continue
                known.add(real)
                links += [path for name in folders if (path := Path(place, name)).is_symlink()]
                yield from (Path(place, name) for name in files)
        waiting = sorted(links)


def regular_members(members: Iterable[tarfile.TarInfo]) -> dict[str, tarfile.TarInfo]:
    """Name -> file with its bytes. Links stand for the files that they lead to, as tar writes those of several names."""
    known = {posixpath.normpath(member.name): member for member in members}
    found = {}
    for first in known.values():
        member: tarfile.TarInfo | None = first
        for _ in range(MOST_LINKS):
            if member is None or not (member.islnk() or member.issym()):
                break
            folder = posixpath.dirname(member.name) if member.issym() else ""
            member = known.get(posixpath.normpath(posixpath.join(folder, member.linkname)))
        if member is not None and member.isreg():
            found[first.name] = member
    return found


def check_name(path: Path, name: str) -> None:
    """Raise ArchiveError for a member that points outside the archive."""
    if name.startswith("/") or ".." in unquote(name).split("/") or name[1:2] == ":":
        raise ArchiveError(f"{path}: member '{name}' points outside the archive; refused.")


def is_junk(name: str) -> bool:
    """What macOS, Windows, notebooks and disk stations add to folders and archives."""
    *folders, last = name.split("/")
    return (
        not JUNK_FOLDERS.isdisjoint(folders)
        or any(folder.startswith(".") for folder in folders)
        or last.startswith("._")
        or last in (".DS_Store", "Thumbs.db", "desktop.ini")
    )


def one_of_each(
    names: Iterable[str],
    key: Callable[[str], Key | None],
    is_labelled: Callable[[str], bool] = lambda _: True,
) -> tuple[dict[Key, str], tuple[str, ...]]:
    """Members by what they show, and a note on those that show it again.

    One with labels is kept, then the one in the fewest folders, then the one whose folder has most, then the one with the
    shortest name. key: what a member shows, None when it isn't of the set.
    """
    found: dict[Key, str] = {}
    copies = []
    shown_by = {name: shown for name in names if (shown := key(name)) is not None}
    size_of = Counter(name.rpartition("/")[0] for name in shown_by)

    def rank(name: str) -> tuple[bool, int, int, int, str]:
        return not is_labelled(name), name.count("/"), -size_of[name.rpartition("/")[0]], len(name), name

    for name in sorted(shown_by, key=rank):
        shown = shown_by[name]
        if found.setdefault(shown, name) != name:
            copies.append(name)
    note = f"{len(copies)} images are there again in other folders, such as {copies[0]}: left out" if copies else ""
    return found, (note,) if note else ()


def unknown_images(archive: Archive, is_known: Callable[[str], object]) -> tuple[str, ...]:
    """A note on images whose names tell nothing about what they show."""
    unknown = [n for n in archive.names if n.lower().endswith(IMAGE_EXTENSIONS) and not is_known(n)]
    return (
        (f"{len(unknown)} images have names that aren't of this set, such as {unknown[0]}: left out",)
        if unknown
        else ()
    )


@contextmanager
def naming_archives_in(path: Path) -> Iterator[None]:
    """Let an ArchiveError that is raised inside name an archive in the archive: that one may be meant."""
    try:
        yield
    except ArchiveError as error:
        inner: list[str] = []
        with suppress(ArchiveError):
            inner = [name for name in open_archive(path).names if name.lower().endswith(ARCHIVE_EXTENSIONS)]
        if inner:
            raise ArchiveError(f"{error} There is {inner[0]} in it: unpack that, and give its folder.") from error
        raise


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Turn the error about an image of what is done inside into an ArchiveError that begins with the name."""
    try:
        yield
    except (ImageDecodeError, ImageEncodeError) as error:
        raise ArchiveError(f"{name}: {error}") from error


def open_archive(path: Path) -> Archive:
    """The archive, opened once per process: a forked one must not share its parent's position in the file."""
    return _open_for_process(path, os.getpid())


@cache
def _open_for_process(path: Path, _process: int) -> Archive:
    return Archive(path)
